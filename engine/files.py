"""What is kept on the disk: written whole or not at all, for its owner alone, by one process at a time.

A file is written beside its place under a hidden name of its own, brought to the disk and only then renamed,
and the folder after it: after a crash or on a full disk the file before is still there (Pillai et al., "All
file systems are not created equal", OSDI 2014, on why each step is needed). Locks are the kernel's (flock):
they end with their process, so none goes stale; Windows has none, there nothing is locked.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from threading import Lock

from engine.errors import BusyError, FileError

if sys.platform != "win32":
    import fcntl

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
LOCK = ".avatarcast.lock"
LEFT_S = 120.0  # without a change, after which what nobody holds is a leftover
CURE = "make room there, or choose another place"
_PART = re.compile(r"\.avatarcast-[0-9a-f]{16}\.part(\.\w{1,8})?")
_SCRATCH = "avatarcast-scratch-"
_TRIES = 100  # at a lock whose file its holder removes just then


class Part:
    """A file on its way to its place: hidden, private, and locked by who writes it.

    Use: write to `file` or to `path`, then commit() or discard(). All of it raises OSError.
    """

    def __init__(self, folder: Path, ending: str = "") -> None:
        """ending: such as ".mp4", for libraries that tell a file's kind by its name."""
        sweep(folder)
        self.path = folder / f".avatarcast-{secrets.token_hex(8)}.part{ending}"
        binary = getattr(os, "O_BINARY", 0)
        number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | binary, PRIVATE_FILE)
        self.file = os.fdopen(number, "w+b")
        self._using = (
            Lock()
        )  # a closed number may be another file's at once: no write may still be on its way
        with suppress(OSError):  # a file system without locks: then age alone tells leftovers
            _lock(number)

    def write_at(self, offset: int, data: bytes) -> None:
        """Puts these bytes there, unbuffered; where not all of them fit, the file ends at `offset` again."""
        with self._using:
            number, done = self.file.fileno(), 0
            try:
                while done < len(data):
                    done += os.pwrite(number, data[done:], offset + done)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(number, offset)
                raise

    def commit(self, target: Path, shared: bool = False) -> None:
        """Gives it its name, on the disk, and the mode of the file before; where none was, it is private.

        shared: then a new file is as the umask has it.
        """
        with self._using:
            self.file.flush()
            with suppress(PermissionError):  # a file system without modes
                self.path.chmod(_mode(target, shared))
            os.fsync(self.file.fileno())
            if sys.platform == "win32":
                self.file.close()
            self.path.replace(target)
            _sync_folder(target.parent)
            self.file.close()

    def discard(self) -> None:
        """Removes what was written; after commit() nothing."""
        with self._using, suppress(OSError):  # what could not be written is not wanted any more
            self.file.close()
        with suppress(OSError):
            self.path.unlink()


@contextmanager
def replacing(target: Path, *, shared: bool = False, cure: str = CURE) -> Iterator[Part]:
    """Write the file's new content to the part; at the end it stands in the place of the file before.

    shared: see Part.commit. Raises FileError, which ends in `cure`, where the disk refuses. Whatever is
    raised inside, the file is then as it was.
    """
    with in_one_line(target, cure):
        part = Part(target.parent)
        try:
            yield part
            part.commit(target, shared)
        finally:
            part.discard()


def write_file(target: Path, data: bytes, *, shared: bool = False, cure: str = CURE) -> None:
    """All of it or nothing. Raises FileError; see `replacing`."""
    with replacing(target, shared=shared, cure=cure) as part:
        part.file.write(data)


@contextmanager
def in_one_line(target: Path, cure: str = CURE, done: str = "written") -> Iterator[None]:
    """What the disk refuses inside becomes a FileError. done: what is tried."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{target}: cannot be {done} ({error.strerror or error}): {cure}") from error


def private_folder(folder: Path, cure: str = CURE) -> bool:
    """Makes the folder, for its owner alone; whether it was there and open to others, and had to be closed.

    Raises FileError, also where it is not one person's: of another owner, or everybody's as /tmp is.
    """
    with in_one_line(folder, cure):
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        found = folder.stat()
        if sys.platform == "win32" or not found.st_mode & 0o077:
            return False
        if found.st_mode & stat.S_ISVTX or found.st_uid != os.geteuid():
            raise FileError(
                f"{folder}: of mode {stat.S_IMODE(found.st_mode):o} and user {found.st_uid}; wanted a folder "
                f"of this user alone, as faces go into it: {cure}"
            )
        folder.chmod(PRIVATE_FOLDER)
        return True


class FolderLock:
    """Keeps a folder for one process. Use: acquire(), release()."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._number: int | None = None

    def acquire(self) -> bool:
        """Whether it is ours from now on; the folder must be there. Raises OSError."""
        if sys.platform == "win32":
            return True
        if self._number is not None and not _is_still(self._number, self.path):
            self.release()  # somebody removed the folder, or the file
        for _ in range(_TRIES if self._number is None else 0):
            number = os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            try:
                if not _lock(number):
                    break
                if _is_still(number, self.path):
                    self._number = number
                    with suppress(OSError):  # a full disk: then the holder has no name
                        os.ftruncate(number, 0)
                        os.write(number, str(os.getpid()).encode())
                    break
            finally:
                if self._number is None:
                    os.close(number)
        return self._number is not None

    def holder(self) -> str:
        """Who has it, in words."""
        with suppress(OSError, ValueError):
            return f"process {int(self.path.read_text())}"
        return "another process"

    def release(self) -> None:
        """The next may have it; a second call does nothing."""
        if self._number is not None:
            with suppress(OSError):
                if _is_still(self._number, self.path):
                    self.path.unlink()
            os.close(self._number)
            self._number = None


@contextmanager
def locked(folder: Path, cure: str) -> Iterator[None]:
    """The folder is this process's meanwhile. Raises BusyError, ending in `cure`, where it is another's."""
    lock = FolderLock(folder)
    with in_one_line(folder):
        ours = lock.acquire()
    if not ours:
        raise BusyError(f"{folder}: {lock.holder()} is at work on it: {cure}")
    try:
        yield
    finally:
        lock.release()


def set_aside(path: Path) -> Path:
    """Renames what cannot be read, out of the way and not lost; gives its new name. Raises OSError."""
    when = time.strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.broken-{when}")
    if aside.exists():
        aside = path.with_name(f"{aside.name}-{secrets.token_hex(4)}")
    path.rename(aside)
    return aside


def sweep(folder: Path) -> list[Path]:
    """Removes the parts in this folder that nobody writes any more; gives them."""
    removed = []
    for path in (path for path in _entries(folder) if _PART.fullmatch(path.name)):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            if stat.S_ISREG(path.lstat().st_mode) and is_left(path, path):
                path.unlink()
                removed.append(path)
    return removed


def is_left(path: Path, lock: Path) -> bool:
    """Whether it has not changed for LEFT_S, and no process holds that lock file. Raises OSError."""
    if time.time() - path.lstat().st_mtime < LEFT_S:
        return False
    try:
        number = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return True
    try:
        return _lock(number)
    finally:
        os.close(number)


@contextmanager
def scratch() -> Iterator[Path]:
    """A private folder among the temporary ones, which goes at the end, as do those of dead processes.

    Raises FileError where none can be made.
    """
    sweep_scratch()
    try:
        folder = Path(mkdtemp(prefix=_SCRATCH))
    except OSError as error:
        raise FileError(
            f"no temporary folder can be made ({error.strerror or error}): name one that can be written "
            "with TMPDIR"
        ) from error
    lock = FolderLock(folder)
    try:
        lock.acquire()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def sweep_scratch() -> None:
    """Removes the scratch folders of processes that died."""
    try:
        temporary = Path(gettempdir())
    except FileNotFoundError:  # nowhere can anything be written
        return
    for folder in (path for path in _entries(temporary) if path.name.startswith(_SCRATCH)):
        with suppress(OSError):
            if stat.S_ISDIR(folder.lstat().st_mode) and is_left(folder, folder / LOCK):
                shutil.rmtree(folder)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _lock(number: int) -> bool:
    """Takes the lock of an open file until it is closed; False where another has it. Raises OSError."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(number: int, path: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


def _mode(target: Path, shared: bool) -> int:
    """That of the file before; else as a new file has it, or private."""
    with suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    if not shared:
        return PRIVATE_FILE
    umask = os.umask(0o077)  # there is no other way to ask for it
    os.umask(umask)
    return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
