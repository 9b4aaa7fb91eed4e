"""The prepared file, NAME.prepared.npz: footage tracked and cut out, to be trained on whatever machine.

An npz without pickles: the arrays of `export.footage.prepared`, and `origin`, a JSON text with what the
avatar's manifest keeps of the footage. Needs neither torch nor LiteRT.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from engine.avatar.members import NPZ_ERRORS
from engine.errors import FootageError
from export.footage.framing import Framing
from export.footage.prepared import Prepared

FORMAT = 1  # of the file; another one is refused
_BLOCK_BYTES = 1 << 20
_LISTS = ("footage_sha256", "framings", "warnings")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where prepared footage comes from."""

    footage_sha256: tuple[str, ...]  # of each video file
    framings: tuple[str, ...]  # x,y,side in px of each clip: a video, or its part of one size
    warnings: tuple[str, ...]  # what could be filmed better
    prepared_by: str  # version of avatarcast
    sound: Mapping[str, Any] | None = None  # facts of export.footage.voice.FootageVoice; None: not asked

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for storing."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def origin_of(
    footage: Sequence[Path],
    framings: Sequence[Framing],
    warnings: Sequence[str],
    sound: Mapping[str, Any] | None = None,
) -> Origin:
    """Of videos that this avatarcast prepares."""
    return Origin(
        footage_sha256=tuple(sha256_of(path) for path in footage),
        framings=tuple(str(framing) for framing in framings),
        warnings=tuple(warnings),
        prepared_by=metadata.version("avatarcast"),
        sound=sound,
    )


def sha256_of(path: Path) -> str:
    """Of a file of whatever size."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def save_prepared(path: Path, prepared: Prepared, origin: Origin) -> None:
    """Writes the file, all or nothing. Raises FileError."""
    prepared.save(path, origin=np.array(json.dumps({"format": FORMAT, **origin.to_dict()})))


def load_prepared(path: Path) -> tuple[Prepared, Origin]:
    """Inverse of `save_prepared`. Raises FootageError for a file that is damaged or of another format."""
    return Prepared.load(path), _origin(path)


def _origin(path: Path) -> Origin:
    try:
        with np.load(path, allow_pickle=False) as data:
            if "origin" not in data.files:
                raise FootageError(f"{path}: prepared by an older avatarcast: prepare the footage again")
            values = json.loads(str(data["origin"]))
        found = values.pop("format")
        if found != FORMAT:
            raise FootageError(
                f"{path}: prepared file of format {found}; this avatarcast reads {FORMAT}: "
                "prepare the footage again, or use the avatarcast that prepared it"
            )
        lists = {name: tuple(map(str, values.pop(name))) for name in _LISTS}
        sound = values.pop("sound", None)
        if not isinstance(sound, dict | None):
            raise TypeError(f"sound is {type(sound).__name__}")
        return Origin(**lists, prepared_by=str(values.pop("prepared_by")), sound=sound)
    except (*NPZ_ERRORS, LookupError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise FootageError(f"{path}: damaged (origin: {reason}): prepare the footage again") from error
