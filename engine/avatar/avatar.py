"""What an avatar is: one person, ready to be driven, with every part typed and checked where it was read.

`engine.avatar.avatar_file` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.arrays import U8Image
from engine.errors import SettingsError
from engine.media.disclosure import MarkStyle
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral
from engine.person.retarget import Support
from engine.person.torso import TorsoModel
from engine.provenance.chain import BY_PRESENTERS, Standing
from engine.provenance.mark_bits import bits_of
from engine.provenance.withdrawals import withdrawn
from engine.render.keyframes import KeyFrame
from engine.render.scene import Scene
from engine.voice.own import OwnVoice

MIN_SIZE_PX, MAX_SIZE_PX, SIZE_STEP_PX = 32, 1024, 8
MAX_FPS = 240.0
LOSSLESS_KEYFRAMES = 40  # are stored as PNG, the others as JPEG: a fifth of the size
MAX_KEYFRAMES = 64  # stored as PNG
MAX_MEMORY = 88  # key frames stored as JPEG
MAX_HELD_OUT = 32
MAX_PICTURE_BYTES = 256 * 1024 * 1024  # of all key frames and held-out frames in memory
MAX_NAME_CHARACTERS = 200
PERSONS = ("real", "synthetic")
NETWORKS = ("denoiser-fp32.onnx", "denoiser-fp16.onnx", "denoiser-int8.onnx")


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutFrame:
    """One frame of the footage that training never saw, on the avatar's canvas."""

    jpeg: bytes  # (S, S) px
    rgb: U8Image  # (S, S, 3), what the JPEG decodes to
    landmarks: Landmarks  # canvas px


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file says of itself."""

    format_version: int
    digest: str  # of everything in it
    tools: dict[str, str]  # tool -> version that it was written with
    member_bytes: dict[str, int]  # member -> its size
    likeness: str  # SHA-256 of the person's measures, by which consent is withdrawn
    standing: Standing  # what its signatures are worth here
    signatures: bytes | None = None  # its chain of them, not verified


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """One person, ready to be driven. S = `size`."""

    name: str
    size: int  # px, of the square canvas
    fps: float  # Hz, of the footage
    neutral: Neutral  # the person at rest
    support: Support  # the poses that the footage shows
    torso: TorsoModel  # how the chest follows the head
    keyframes: tuple[KeyFrame, ...]
    plate: U8Image  # (S, S, 3), the background without the person
    models: dict[str, bytes]  # of NETWORKS, as `engine.network.network_check` wrote them anew
    consent: dict[str, Any]
    report: dict[str, Any]  # as measured at enrolment; may say anything (see engine.avatar.records)
    preview_jpeg: bytes
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # by model: precision, parity, ...
    training: dict[str, Any] = field(default_factory=dict)  # how the networks came about
    held_out: tuple[HeldOutFrame, ...] = ()  # consecutive; what an export is judged by; may be none
    report_png: bytes = b""  # contact sheet and curves; empty where there is none
    bare_torso: U8Image | None = None  # (S, S, 4), the person of the first key frame without arms
    scene: Scene | None = None  # the room around the canvas; None: the footage showed none
    voice: OwnVoice | None = None  # how they speak and rest; None: nobody asked, as in older files
    stored: Stored | None = None  # the file it was loaded from; None for one that was made just now

    @property
    def wants_mark(self) -> bool:
        """Whether its pictures carry the marks: see `wants_mark`."""
        return wants_mark(self.consent, None if self.stored is None else self.stored.standing)

    def withdrawn(self) -> str:
        """Since when consent is known to be withdrawn by now, YYYY-MM-DD; reads files."""
        return "" if self.stored is None else _withdrawn(self.stored.likeness, self.stored.standing)

    def told(self) -> dict[str, Any]:
        """What files made of it say of it: its digest and its chain of signatures."""
        return {} if self.stored is None else _told(self.stored.digest, self.stored.standing)

    def marks(self, style: MarkStyle) -> MarkStyle | None:
        """What its pictures are marked with; None for none. Raises SettingsError, see `marks`."""
        standing, digest = (None, "") if self.stored is None else (self.stored.standing, self.stored.digest)
        return marks(style, self.name, self.consent, standing, digest)


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """What shows an avatar before it is loaded."""

    name: str
    size: int  # px, of the square canvas
    consent: dict[str, Any]
    preview_jpeg: bytes
    digest: str  # of everything in the file
    likeness: str  # see Stored
    standing: Standing  # what its signatures are worth here

    @property
    def wants_mark(self) -> bool:
        """Whether its pictures carry the marks: see `wants_mark`."""
        return wants_mark(self.consent, self.standing)

    def withdrawn(self) -> str:
        """As of the whole avatar."""
        return _withdrawn(self.likeness, self.standing)

    def told(self) -> dict[str, Any]:
        """As of the whole avatar."""
        return _told(self.digest, self.standing)

    def marks(self, style: MarkStyle) -> MarkStyle | None:
        """What its pictures are marked with; None for none. Raises SettingsError, see `marks`."""
        return marks(style, self.name, self.consent, self.standing, self.digest)


def _withdrawn(likeness: str, standing: Standing) -> str:
    return withdrawn(likeness, {record["key"] for record in standing.records})


def _told(digest: str, standing: Standing) -> dict[str, Any]:
    return {"digest": digest, "records": [dict(record) for record in standing.records]}


def wants_mark(consent: Mapping[str, Any], standing: Standing | None) -> bool:
    """Always, unless those who make the bundled presenters have signed that the person does not exist."""
    shown = standing is not None and standing.state == BY_PRESENTERS
    return not (shown and consent.get("person") == "synthetic")


def marks(
    style: MarkStyle, name: str, consent: Mapping[str, Any], standing: Standing | None, digest: str
) -> MarkStyle | None:
    """What pictures of such an avatar are marked with; None for none.

    Raises SettingsError where the visible mark is to be left off and somebody unknown had a hand in it.
    """
    if not wants_mark(consent, standing):
        return None
    if not style.visible and not (standing is not None and standing.is_vouched):
        raise SettingsError(
            f"no visible mark: {name} is {'of no file' if standing is None else standing.words}; only what is"
            " signed here, or by a key that is trusted here (avatarcast keys), may go without it"
        )
    return replace(style, bits=bits_of(digest))


def picture_bytes(size: int, keyframes: int, held_out: int) -> int:
    """What that many pictures of a `size` px canvas take in memory."""
    return (4 * keyframes + 3 * held_out) * size**2


def most_keyframes(size: int) -> int:
    """How many key frames an avatar of a `size` px canvas may have, whatever is held out: 40 at 1024 px."""
    return (MAX_PICTURE_BYTES - picture_bytes(size, 0, MAX_HELD_OUT)) // picture_bytes(size, 1, 0)
