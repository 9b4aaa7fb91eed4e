"""Says of a file whether avatarcast made it, and by which layers that shows: what holds, what is broken.

What is not found proves nothing: every layer can be taken off. See TRUST.md.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from engine.arrays import U8Image
from engine.avatar.avatar_file import load_avatar
from engine.errors import FileError, VideoError
from engine.media.disclosure import COMMENT, SOURCE_TYPE
from engine.media.film import open_film
from engine.media.invisible_mark import find_bits
from engine.media.label_finder import find_label
from engine.media.pictures import UNREADABLE
from engine.media.video import sampled_frames
from engine.provenance.chain import BROKEN as BROKEN_CHAIN
from engine.provenance.credentials import (
    INVALID,
    TRUSTED,
    TYPES,
    read_credentials,
    read_sidecar,
    sidecar,
    unavailable,
)
from engine.provenance.keys import key_ring
from engine.provenance.mark_bits import MarkBits, avatar_bits, installation_bits

FOUND, ABSENT, DAMAGED, UNKNOWN = "found", "absent", "broken", "not looked for"
GENERATED, NOTHING, CONTRADICTED = "made by avatarcast", "nothing found", "broken"
PICTURES = 24  # of a film that are looked at
MAX_PICTURE_PX = 40_000_000
CAVEAT = "What is not found proves nothing: every layer can be taken off. No layer says that a person agreed."
_KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_READ_Z, _CERTAIN_Z = 3.5, 5.0  # of the faintest byte: from there on it is likely, and as good as certain


@dataclass(frozen=True, slots=True)
class Layer:
    """One way by which a file may say what it is."""

    name: str
    state: str  # FOUND, ABSENT, DAMAGED or UNKNOWN
    words: str
    certainty: str = ""  # "proven", "1 - P" with its bound, "a hint"; of what was found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a file."""

    kind: str  # "avatar", "film" or "picture"
    layers: tuple[Layer, ...]

    @property
    def summary(self) -> str:
        """GENERATED, NOTHING or CONTRADICTED: a broken layer outweighs what others say."""
        states = [layer.state for layer in self.layers]
        if DAMAGED in states:
            return CONTRADICTED
        return GENERATED if FOUND in states else NOTHING

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        layers = [asdict(layer) for layer in self.layers]
        return {"verdict": self.summary, "kind": self.kind, "layers": layers, "caveat": CAVEAT}


def verify(path: Path) -> Verdict:
    """Looks at an avatar, a film or a picture. Raises PackageError, VideoError, FileError."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}): check its name and mode") from error
    if head[:2] == b"PK" and zipfile.is_zipfile(path):
        return Verdict("avatar", (_package(path),))
    try:
        picture, kind = _picture(path)
    except UNREADABLE:
        return _film(path)
    return Verdict("picture", (*_seen([picture]), _credentials(path, kind)))


def own_mark(path: Path) -> str:
    """The bits of this installation's own mark in a film or picture, in hexadecimal; empty where it has none.

    Raises VideoError.
    """
    try:
        pictures = [_picture(path)[0]]
    except UNREADABLE:
        pictures = [frame.rgb for frame in _of_one_size(path)]
    found = find_bits(pictures)
    bits = None if found is None or min(found.byte_z) < _READ_Z else MarkBits.read(found.data)
    own = installation_bits(key_ring().own)
    return found.data.hex() if found and bits and own and bits.installation == own else ""


def _package(path: Path) -> Layer:
    name = "package signature"
    avatar = load_avatar(path, even_withdrawn=True)
    assert avatar.stored is not None
    found = avatar.stored.standing
    withdrawn = f"; consent withdrawn on {found.withdrawn}" if found.withdrawn else ""
    if found.state == BROKEN_CHAIN:
        return Layer(name, DAMAGED, found.words)
    if not found.records:
        return Layer(name, ABSENT, f"an avatar, {found.words}{withdrawn}")
    certainty = "proven, by a key that is known here" if found.is_vouched else "proven, of an unknown key"
    return Layer(name, FOUND, f"an avatar, {found.words}{withdrawn}", certainty)


def _film(path: Path) -> Verdict:
    kind = TYPES.get(path.suffix.lower()) or ("video/mp4" if _is_mp4(path) else "")
    credentials = _credentials(path, kind) if path.stat().st_size else Layer("", ABSENT, "")
    try:
        pictures = [frame.rgb for frame in _of_one_size(path)]
        if not pictures:
            raise VideoError(f"{path}: no picture could be read; give a film, a picture or an .avatar")
        return Verdict("film", (*_seen(pictures), credentials, _metadata(path)))
    except VideoError as error:
        if credentials.state != DAMAGED:
            raise
        unseen = Layer("pictures", UNKNOWN, f"they cannot be read: {error}")
        return Verdict("film", (unseen, credentials))


def _of_one_size(path: Path) -> Iterator[Any]:
    first: tuple[int, ...] | None = None
    try:
        for frame in sampled_frames(path, PICTURES, 0.08):
            first = first or frame.rgb.shape
            if frame.rgb.shape == first:
                yield frame
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be read ({error}); copy it again") from error


def _picture(path: Path) -> tuple[U8Image, str]:
    """RGB and content type. Raises what UNREADABLE lists."""
    with Image.open(path, formats=tuple(_KINDS)) as image:
        if image.width * image.height > MAX_PICTURE_PX:
            raise ValueError(f"{image.width}x{image.height}; wanted at most {MAX_PICTURE_PX} pixels")
        return np.array(image.convert("RGB"), np.uint8), _KINDS[str(image.format)]


def _seen(pictures: Sequence[U8Image]) -> tuple[Layer, Layer]:
    """The layers that are in the picture itself."""
    return _bits(pictures), _label(pictures)


def _bits(pictures: Sequence[U8Image]) -> Layer:
    name = "invisible mark"
    found = find_bits(pictures)
    if found is None:
        return Layer(name, ABSENT, f"not in {len(pictures)} picture(s)")
    certainty = f"wrong in {found.false_alarm:.0e} of pictures without, at most"
    bits = MarkBits.read(found.data)
    if bits is None or min(found.byte_z) < _READ_Z:
        return Layer(name, FOUND, "it is there, too faint to read what it says", certainty)
    here = bits.installation and bits.installation == installation_bits(key_ring().own)
    where = "this installation" if here else f"installation {bits.installation:03x}"
    turned = ", mirrored" if found.mirrored else ""
    faint = "" if min(found.byte_z) >= _CERTAIN_Z else "probably "
    return Layer(
        name, FOUND, f"{faint}avatar {bits.avatar:03x}, {where}, from {bits.date}{turned}", certainty
    )


def _label(pictures: Sequence[U8Image]) -> Layer:
    label = find_label(pictures)
    if not label.is_likely:
        return Layer("visible mark", ABSENT, "not read in the corners")
    return Layer(
        "visible mark",
        FOUND,
        f"read at the {label.corner} ({label.score:.2f})",
        "a hint: anybody can write it",
    )


def _credentials(path: Path, kind: str) -> Layer:
    name = "Content Credentials"
    if reason := unavailable():
        return Layer(name, UNKNOWN, reason)
    found = None
    if kind:
        with path.open("rb") as file:
            found = read_credentials(file, kind)
    beside = ""
    if found is None and (found := read_sidecar(path)) is not None:
        beside = f", in {sidecar(path).name} beside it"
    if found is None:
        return Layer(name, ABSENT, "none in the file or beside it" if kind else "none beside the file")
    if found.state == INVALID:
        return Layer(name, DAMAGED, f"they do not hold{beside}: {', '.join(found.flaws)[:200]}")
    generated = found.source_type == SOURCE_TYPE and found.generator == "avatarcast"
    if not generated:
        return Layer(
            name, ABSENT, f"they hold, of {found.generator[:40] or 'something else'}, and name no avatar"
        )
    digest = str(found.avatar.get("digest", ""))
    avatar = f", of avatar {avatar_bits(digest):03x}" if _is_digest(digest) else ""
    by = (
        "this installation"
        if found.state == TRUSTED
        else f"{found.signer[:60]!r}, whom nothing here vouches for"
    )
    certainty = "proven" if found.state == TRUSTED else "unchanged since it was signed; by whom is not known"
    return Layer(name, FOUND, f"created by a trained model{avatar}; signed by {by}{beside}", certainty)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _metadata(path: Path) -> Layer:
    with open_film(path) as film:
        said = {str(value) for value in film.metadata.values()}
    if COMMENT in said or SOURCE_TYPE in said:
        return Layer("metadata", FOUND, COMMENT, "a hint: anybody can write it")
    return Layer("metadata", ABSENT, "no word of it")


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp"
