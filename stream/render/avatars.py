"""The avatars of one server: a table that may grow and shrink, looked up by name and never as a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.avatar.bundled import bundled_name
from engine.errors import SettingsError
from engine.provenance.consent import UNVERIFIED
from stream.refusal import RequestRefused

if TYPE_CHECKING:
    from engine.media.disclosure import MarkStyle
    from engine.pipeline import PipelineConfig
    from stream.render.render_loop import FramePipeline

MAX_NAME_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ServedAvatar:
    """What a server knows of an avatar: enough to show it and to build its pipelines."""

    name: str
    person: str  # "real" or "synthetic", as its consent record says
    size_px: int  # of the square canvas
    preview_jpeg: bytes  # empty: none
    mark_style: MarkStyle | None  # of the "AI-generated" in every picture; None for who does not exist
    build: Callable[[], FramePipeline]  # loads models: takes seconds, belongs in a worker thread
    signed: str = "unsigned"  # see engine.provenance.chain.Standing: state, and words for people
    signature: str = "unsigned"
    consent: str = UNVERIFIED  # what was seen of it, for people
    title: str = ""  # as the page writes it; empty: its name
    # What files that show it say: digest, signatures.
    told: Mapping[str, Any] = field(default_factory=dict, hash=False)
    withdrawn: Callable[[], str] = str  # asks since when consent is known to be withdrawn; empty: it is not


class Avatars:
    """At least one avatar, each under a name of its own. The first is what sessions start with.

    There may be none once consent to all of them was withdrawn.
    """

    def __init__(self, served: Sequence[ServedAvatar]) -> None:
        """Raises SettingsError where two share a name, or a name cannot stand in an address."""
        if not served:
            raise SettingsError("no avatar to serve; name at least one with --avatar")
        self._by_name: dict[str, ServedAvatar] = {}
        for avatar in served:
            self.add(avatar)

    def __iter__(self) -> Iterator[ServedAvatar]:
        return iter(list(self._by_name.values()))  # another thread may add one meanwhile

    @property
    def first(self) -> ServedAvatar:
        """Raises RequestRefused (503) where none is left."""
        for avatar in self:
            return avatar
        raise RequestRefused(503, "no avatar is left here: consent to all of them was withdrawn")

    def add(self, avatar: ServedAvatar) -> None:
        """One more, from now on. Raises SettingsError as above."""
        name = avatar.name
        if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or "/" in name:
            raise SettingsError(
                f"an avatar is named {name[:MAX_NAME_CHARACTERS]!r}; 1 to {MAX_NAME_CHARACTERS} printable"
                " characters without / are needed: enrol it under another name"
            )
        if name in self._by_name:
            raise SettingsError(f"two avatars are named {name!r}; enrol one of them under another name")
        self._by_name[name] = avatar

    def remove(self, avatar: ServedAvatar) -> None:
        """No longer one of them."""
        if self.has(avatar):
            del self._by_name[avatar.name]

    def withdrawn(self) -> list[ServedAvatar]:
        """Those to which consent was withdrawn meanwhile; reads files."""
        return [avatar for avatar in self if avatar.withdrawn()]

    def has(self, avatar: ServedAvatar) -> bool:
        """Whether it is this very one that is offered, and not a later one of its name."""
        return self._by_name.get(avatar.name) is avatar

    def find(self, name: str | None) -> ServedAvatar:
        """The avatar of this name, the first for None. Raises RequestRefused (404) where there is none."""
        if name is None:
            return self.first
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self._by_name)[:200]
            raise RequestRefused(404, f"there is no avatar {name[:40]!r} here; there are: {known}") from None


def served_file(path: str | Path, config: PipelineConfig, style: MarkStyle) -> ServedAvatar:
    """What to serve of an avatar file, or of a bundled presenter. Raises PackageError.

    Only the cover is read; key frames and networks are loaded when the avatar is first chosen, and kept.
    """
    from engine.avatar.avatar_file import load_avatar, load_cover
    from engine.pipeline import build_pipeline
    from engine.provenance.consent import clip_words

    cover = load_cover(path)
    load = cache(lambda: load_avatar(path))
    return ServedAvatar(
        name=cover.name,
        person=cover.consent["person"],
        size_px=cover.size,
        preview_jpeg=cover.preview_jpeg,
        mark_style=cover.marks(style),
        signed=cover.standing.state,
        signature=cover.standing.words,
        consent=clip_words(cover.consent, cover.standing),
        build=lambda: build_pipeline(load(), config),
        title=cover.name.capitalize() if bundled_name(path) else "",
        told=cover.told(),
        withdrawn=cover.withdrawn,
    )
