"""Removes an avatar with all that was made of it on this machine: consent may be withdrawn at any time.

Recordings of the studio are removed in stream.studio.folder.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.beside import files_beside, work_path
from engine.errors import FileError, PackageError
from engine.files import in_one_line, locked
from engine.provenance.withdrawals import withdraw
from engine.runners.trt_cache import files_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, in a word or two, and where it was."""

    what: str
    path: Path

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"what": self.what, "path": str(self.path)}


def forget_avatar(avatar: Path) -> list[Removed]:
    """The avatar, what lies beside it, and the TensorRT engines in this user's cache; says what it removed.

    The avatar's file goes last: as long as it is there, all else can still be found. The person is put on the
    list of withdrawals first. Raises BusyError while it is being made, FileError.
    """
    work = work_path(avatar)
    with ExitStack() as held:
        if work.is_dir():
            held.enter_context(locked(work, "wait for it, or stop it first"))
        loaded = _loaded(avatar)
        if loaded is not None:
            _withdraw(avatar, loaded)
        engines = [] if loaded is None else files_of(loaded)
        removed = [remove("engine", path) for path in engines]
        removed += [remove("work", path) for path in files_beside(avatar)]
        return [*removed, *([remove("avatar", avatar)] if avatar.exists() else [])]


def remove(what: str, path: Path) -> Removed:
    """A file or a folder; what is gone already is as good. Raises FileError."""
    with in_one_line(path, "check its owner and mode", done="removed"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return Removed(what, path)


def _loaded(avatar: Path) -> Avatar | None:
    """None where the file is damaged: which engines are its own, and who is shown, is then not known."""
    try:
        return load_avatar(avatar, even_withdrawn=True) if avatar.exists() else None
    except PackageError:
        return None


def _withdraw(path: Path, avatar: Avatar) -> None:
    """What cannot be put on a list is removed all the same."""
    assert avatar.stored is not None
    try:
        withdraw(avatar.stored.likeness)
    except FileError as error:
        logger.warning("%s: copies of it are not refused: %s", path, error)
