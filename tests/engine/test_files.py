"""Files written whole or not at all, privately, by one process at a time; leftovers of others are removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import save_avatar
from engine.errors import BusyError, FileError, VideoError
from engine.files import (
    LEFT_S,
    LOCK,
    FolderLock,
    Part,
    locked,
    private_folder,
    replacing,
    scratch,
    set_aside,
    sweep,
    write_file,
)
from engine.media.video import VideoWriter
from engine.runners import trt_cache
from engine.runners.trt_cache import TrtEngineKey

FullDisk = Callable[[int], AbstractContextManager[None]]
OTHER_PROCESS_LIMIT_S = 30


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def age(path: Path, seconds: float = LEFT_S + 1) -> None:
    """As if nothing had changed for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def other_process(code: str, folder: Path) -> subprocess.Popen[str]:
    """One that has run the code, with `folder` as a Path, and lives until it is killed."""
    lines = f"from pathlib import Path\nfolder = Path({str(folder)!r})\n{code}\nprint('ready', flush=True)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{lines}import time; time.sleep(60)"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=OTHER_PROCESS_LIMIT_S)
    assert process.returncode == -signal.SIGKILL


class TestWriting:
    def test_the_old_file_stays_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        write_file(path, b"old")
        with replacing(path) as part:
            part.file.write(b"new")
            part.file.flush()
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new"
        assert names(tmp_path) == ["x"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_whatever_is_raised_leaves_the_old_file_alone(
        self, tmp_path: Path, error: type[BaseException]
    ) -> None:
        path = tmp_path / "x"
        write_file(path, b"old")

        def fail() -> None:
            with replacing(path) as part:
                part.file.write(b"half")
                raise error

        with pytest.raises(error):
            fail()
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["x"]

    def test_two_at_once_do_not_meet(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        with replacing(path) as one:
            with replacing(path) as two:
                one.file.write(b"one")
                two.file.write(b"two, longer")
            assert path.read_bytes() == b"two, longer"
        assert path.read_bytes() == b"one"

    def test_a_name_as_long_as_names_may_be(self, tmp_path: Path) -> None:
        path = tmp_path / ("x" * 255)
        write_file(path, b"new")
        assert path.read_bytes() == b"new"

    def test_it_is_on_the_disk_before_it_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The order of the calls: what a power cut does cannot be had here."""
        calls: list[str] = []
        fsync, rename = os.fsync, Path.replace

        def synced(number: int) -> None:
            calls.append("folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file")  # noqa: PTH112
            fsync(number)

        def renamed(self: Path, target: Path) -> Path:
            calls.append("rename")
            return rename(self, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", renamed)
        write_file(tmp_path / "x", b"new")
        assert calls == ["file", "rename", "folder"]

    def test_only_its_owner_reads_it_unless_it_is_to_be_shared(self, tmp_path: Path) -> None:
        before = os.umask(0o022)
        try:
            with replacing(tmp_path / "private") as part:
                assert mode(part.path) == 0o600
            with replacing(tmp_path / "shared", shared=True) as part:
                assert mode(part.path) == 0o600  # until it is whole
        finally:
            os.umask(before)
        assert mode(tmp_path / "private") == 0o600
        assert mode(tmp_path / "shared") == 0o644

    def test_a_mode_that_somebody_chose_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        path.chmod(0o640)
        write_file(path, b"new")
        assert mode(path) == 0o640

    def test_an_avatar_is_private(self, avatar_file: Path) -> None:
        assert mode(avatar_file) == 0o600


class TestFullDisk:
    """Each writer of the product: one line, the file before as it was, nothing beside it."""

    def test_a_file(self, tmp_path: Path, full_disk: FullDisk) -> None:
        path = tmp_path / "x"
        write_file(path, b"old")
        with full_disk(1000), pytest.raises(FileError, match=r"x: cannot be written .*: buy a larger disk$"):
            write_file(path, bytes(2000), cure="buy a larger disk")
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["x"]

    def test_a_piece_at_its_place(self, tmp_path: Path, full_disk: FullDisk) -> None:
        """What fits of a piece goes again: the next try finds the end where it was."""
        part = Part(tmp_path)
        part.write_at(0, b"1" * 1000)
        with full_disk(1500), pytest.raises(OSError, match="File too large"):
            part.write_at(1000, b"2" * 1000)
        assert part.path.stat().st_size == 1000
        part.write_at(1000, b"2" * 1000)
        part.commit(tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == b"1" * 1000 + b"2" * 1000

    @pytest.mark.parametrize("size_bytes", [0, 1000, 50_000])
    def test_an_avatar(self, avatar_file: Path, noise: Avatar, full_disk: FullDisk, size_bytes: int) -> None:
        before = avatar_file.read_bytes()
        assert len(before) > 50_000
        with full_disk(size_bytes), pytest.raises(FileError, match=r"noise\.avatar: cannot be written"):
            save_avatar(avatar_file, noise)
        assert avatar_file.read_bytes() == before
        assert names(avatar_file.parent) == [avatar_file.name]

    def test_an_engine(self, tmp_path: Path, full_disk: FullDisk) -> None:
        key = TrtEngineKey("tensorrt", "10.8", "00", "fp16", "", "8.9", "")
        path = tmp_path / "cache" / "x.engine"
        trt_cache.save_trt_engine(path, key, b"an engine", {})
        assert (mode(path.parent), mode(path)) == (0o700, 0o600)
        with full_disk(1000), pytest.raises(FileError, match="AVATARCAST_CACHE"):
            trt_cache.save_trt_engine(path, key, bytes(5000), {})
        assert trt_cache.load_trt_engine(path, key, "") == b"an engine"
        assert names(path.parent) == [path.name]

    @pytest.mark.parametrize("size_bytes", [0, 1000, 20_000])
    @pytest.mark.parametrize("ending", [".mp4", ".mkv"])
    def test_a_film(self, tmp_path: Path, full_disk: FullDisk, size_bytes: int, ending: str) -> None:
        noise = np.random.default_rng(7).integers(0, 256, (40, 48, 64, 3), np.uint8)
        path = tmp_path / f"film{ending}"
        path.write_bytes(b"old")

        def write() -> None:
            with VideoWriter(path, 64, 48, Fraction(10)) as writer:
                for picture in noise:
                    writer.write(picture)

        with (
            full_disk(size_bytes),
            pytest.raises(VideoError, match=r"film\.m\w+: cannot be written .*make room"),
        ):
            write()
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == [path.name]
        write()
        assert path.stat().st_size > 20_000

    def test_a_checkpoint(self, tmp_path: Path, full_disk: FullDisk) -> None:
        torch = pytest.importorskip("torch", reason="needs torch")
        from export.training.checkpoint import load_state, save_state

        path, device = tmp_path / "checkpoint.pt", torch.device("cpu")
        save_state(path, {"shape": {}, "weights": torch.zeros(10)})
        assert mode(path) == 0o600
        with full_disk(20_000), pytest.raises(FileError, match=r"checkpoint\.pt: cannot be written"):
            save_state(path, {"shape": {}, "weights": torch.ones(10_000)})
        state = load_state(path, {}, device)
        assert state is not None
        assert not state["weights"].any()
        assert names(tmp_path) == ["checkpoint.pt"]


class TestFolders:
    def test_a_new_one_is_private_and_an_open_one_is_closed(self, tmp_path: Path) -> None:
        folder = tmp_path / "a" / "b"
        assert not private_folder(folder)
        assert mode(folder) == 0o700
        folder.chmod(0o755)
        assert private_folder(folder)
        assert mode(folder) == 0o700
        assert not private_folder(folder)

    def test_everybodys_folder_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        with pytest.raises(FileError, match=r"of mode 1777 .* wanted a folder of this user alone"):
            private_folder(tmp_path)
        assert tmp_path.stat().st_mode & 0o7777 == 0o1777

    def test_a_place_that_takes_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(FileError, match="cannot be written"):
            private_folder(tmp_path / "file" / "folder")


class TestLocks:
    def test_one_at_a_time(self, tmp_path: Path) -> None:
        with locked(tmp_path, "stop it first"):
            assert mode(tmp_path / LOCK) == 0o600
            refusal = rf"process {os.getpid()} is at work on it: stop it first"
            with pytest.raises(BusyError, match=refusal), locked(tmp_path, "stop it first"):
                pass
        with locked(tmp_path, ""):
            pass
        assert names(tmp_path) == []

    def test_that_of_a_killed_process_is_free(self, tmp_path: Path) -> None:
        process = other_process(
            "from engine.files import FolderLock\nlock = FolderLock(folder); assert lock.acquire()", tmp_path
        )
        lock = FolderLock(tmp_path)
        assert not lock.acquire()
        assert lock.holder() == f"process {process.pid}"
        kill(process)
        assert names(tmp_path) == [LOCK]
        assert lock.acquire()
        assert lock.acquire()
        lock.release()
        lock.release()
        assert names(tmp_path) == []

    def test_a_lock_whose_file_was_removed_is_no_lock(self, tmp_path: Path) -> None:
        one, two = FolderLock(tmp_path), FolderLock(tmp_path)
        assert one.acquire()
        (tmp_path / LOCK).unlink()
        assert two.acquire()
        assert not FolderLock(tmp_path).acquire()


class TestLeftovers:
    def test_an_old_part_that_nobody_writes_goes(self, tmp_path: Path) -> None:
        process = other_process(
            "from engine.files import Part\nleft = Part(folder), Part(folder, '.mp4')", tmp_path
        )
        for path in tmp_path.iterdir():
            age(path)
        assert sweep(tmp_path) == []  # it is being written
        kill(process)
        assert len(sweep(tmp_path)) == 2
        assert names(tmp_path) == []

    def test_young_ones_and_what_is_not_ours_stay(self, tmp_path: Path) -> None:
        process = other_process("from engine.files import Part\nleft = Part(folder)", tmp_path)
        kill(process)
        (young,) = names(tmp_path)
        for name in (".x.part", "avatarcast.part", f"{young}.txt.bak", ".avatarcast-12.part"):
            (tmp_path / name).write_text("somebody's")
            age(tmp_path / name)
        target = tmp_path / "target"
        target.write_text("somebody's")
        (tmp_path / ".avatarcast-0123456789abcdef.part").symlink_to(target)
        (tmp_path / ".avatarcast-0123456789abcdef.part.d").mkdir()
        before = names(tmp_path)
        assert sweep(tmp_path) == []
        assert names(tmp_path) == before

    def test_whoever_writes_into_a_folder_sweeps_it(self, tmp_path: Path) -> None:
        kill(other_process("from engine.files import Part\nleft = Part(folder)", tmp_path))
        for path in tmp_path.iterdir():
            age(path)
        write_file(tmp_path / "x", b"new")
        assert names(tmp_path) == ["x"]

    def test_scratch_folders_go_with_their_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.files.gettempdir", lambda: str(tmp_path))
        code = (
            "import tempfile; tempfile.tempdir = str(folder)\n"
            "from engine.files import scratch\nheld = scratch(); (held.__enter__() / 'x').write_text('x')"
        )
        process = other_process(code, tmp_path)
        (left,) = tmp_path.iterdir()
        age(left)
        monkeypatch.setattr("engine.files.mkdtemp", lambda prefix: _made(tmp_path / f"{prefix}mine"))
        with scratch():
            assert len(names(tmp_path)) == 2
        kill(process)
        with scratch() as mine:
            assert names(tmp_path) == [mine.name]
            assert mode(mine) == 0o700
            (mine / "y").write_text("y")
        assert names(tmp_path) == []


def _made(folder: Path) -> str:
    folder.mkdir(mode=0o700)
    return str(folder)


def test_what_is_set_aside_is_not_lost(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        path = tmp_path / "settings.json"
        path.write_text(text)
        aside = set_aside(path)
        assert aside.name.startswith("settings.json.broken-2")
        assert aside.read_text() == text
        assert not path.exists()
    assert len(names(tmp_path)) == 3
