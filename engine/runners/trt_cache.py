"""TensorRT engines on disk, each with what it was built from: one that does not fit is refused, never run.

An engine belongs to one network, one kind of GPU and one version of the library. Its file is one line of
JSON, which says all that, then the engine; it is replaced only by a whole one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.avatar.avatar import Avatar
from engine.avatar.members import person_arrays
from engine.errors import RunnerError
from engine.files import private_folder, write_file
from engine.user_folders import CACHE_VARIABLE, cache_folder

ANY_GPU = "any of its compute capability"
_MAX_HEADER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TrtEngineKey:
    """All that an engine depends on."""

    target: str  # tensorrt or tensorrt-rtx
    library: str  # its version
    model_sha256: str
    precision: str
    shapes: str  # of inputs and outputs
    compute_capability: str  # "8.9"
    gpu: str  # its name, or ANY_GPU

    def differences(self, wanted: TrtEngineKey) -> list[str]:
        """What differs, in words."""
        return [
            f"{field.name} is {getattr(self, field.name):.40}, wanted {getattr(wanted, field.name):.40}"
            for field in fields(TrtEngineKey)
            if getattr(self, field.name) != getattr(wanted, field.name)
        ]


@dataclass(frozen=True, slots=True)
class StoredTrtEngine:
    """An engine as it lies in the cache."""

    key: TrtEngineKey
    facts: dict[str, Any]  # when and with what it was built
    engine: bytes


def trt_engine_path(avatar: Avatar, target: str, compute_capability: str) -> Path:
    """The file of that engine; an avatar that was renamed or exported again keeps it."""
    return engine_file(avatar, f"{target}-sm{compute_capability.replace('.', '')}.engine")


def engine_file(avatar: Avatar, name: str) -> Path:
    """The file of that name among what is kept of the avatar."""
    return cache_folder() / f"{_person(avatar)}-{name}"


def files_of(avatar: Avatar) -> list[Path]:
    """All that is kept of the avatar."""
    return sorted(cache_folder().glob(f"{_person(avatar)}-*"))


def trt_engines_of(avatar: Avatar, target: str) -> list[Path]:
    """The files of the engines of the avatar's network, for whatever GPU."""
    return sorted(cache_folder().glob(f"{_person(avatar)}-{target}-sm*.engine"))


def _person(avatar: Avatar) -> str:
    digest = hashlib.sha256()
    person = person_arrays(avatar.neutral, avatar.support, avatar.torso)
    for name, values in sorted(person.items()):
        digest.update(name.encode() + b"\0" + values.tobytes())
    return digest.hexdigest()[:16]


def save_trt_engine(path: Path, key: TrtEngineKey, engine: bytes, facts: Mapping[str, Any]) -> None:
    """Writes the engine, all or nothing. Raises FileError."""
    header = {"key": asdict(key), "facts": dict(facts), "sha256": hashlib.sha256(engine).hexdigest()}
    cure = f"make room there, or name another folder with {CACHE_VARIABLE}"
    if not path.parent.exists():
        private_folder(path.parent, cure)
    write_file(path, json.dumps(header).encode() + b"\n" + engine, cure=cure)


def read_trt_engine(path: Path, rebuild: str) -> StoredTrtEngine:
    """The engine, verified. rebuild: the command that makes it, for the message.

    Raises RunnerError when there is none or the file is damaged.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(_MAX_HEADER_BYTES))
            engine = file.read()
        stored = StoredTrtEngine(TrtEngineKey(**header["key"]), dict(header["facts"]), engine)
        whole = header["sha256"] == hashlib.sha256(engine).hexdigest()
    except FileNotFoundError:
        raise RunnerError(f"there is no engine for this GPU yet: {rebuild}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunnerError(f"{path}: not a readable engine ({error}): {rebuild}") from error
    if not whole:
        raise RunnerError(f"{path}: damaged, its sha256 differs from what was written: {rebuild}")
    return stored


def load_trt_engine(path: Path, wanted: TrtEngineKey, rebuild: str) -> bytes:
    """The engine, if it was built from just what is wanted; else RunnerError that says what differs."""
    stored = read_trt_engine(path, rebuild)
    if differences := stored.key.differences(wanted):
        raise RunnerError(f"the engine is stale ({'; '.join(differences)}): {rebuild}")
    return stored.engine
