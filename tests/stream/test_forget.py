"""`avatarcast forget`: what it removes, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.cli import main
from engine.files import FolderLock
from engine.media.disclosure import MarkStyle
from engine.pipeline import PipelineConfig
from engine.runners.trt_cache import TrtEngineKey, save_trt_engine, trt_engine_path
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars, served_file
from stream.sessions.registry import RegistryConfig, SessionRegistry
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom one test forgets, the next still knows."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A folder with Ada's recording and Bob's, each with a consent."""
    recordings = tmp_path / "studio" / "recordings"
    recordings.mkdir(parents=True, mode=0o700)
    for name in ("ada", "bob"):
        (recordings / f"{name}.webm").write_bytes(b"film")
        (recordings / f"{name}.json").write_text("{}")
    return recordings.parent


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], Path]:
    """Puts an engine of this avatar into a cache of its own."""
    monkeypatch.setenv("AVATARCAST_CACHE", str(tmp_path / "cache"))

    def build(avatar: Path) -> Path:
        path = trt_engine_path(load_avatar(avatar), "tensorrt", "8.9")
        save_trt_engine(path, TrtEngineKey("tensorrt", "10.8", "00", "fp16", "", "8.9", ""), b"engine", {})
        return path

    return build


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_somebody_of_the_studio(
    studio: Path,
    noise: Avatar,
    engine: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    avatar = studio / "ada.avatar"
    save_avatar(avatar, noise)
    built = engine(avatar)
    work = studio / "ada.avatar.work"
    work.mkdir()
    (work / "prepared.npz").write_bytes(b"faces")
    (studio / "ada.avatar.distill.pt").write_bytes(b"x")
    assert main(["forget", "ada", "--studio", str(studio)]) == 0
    assert files(studio) == {"recordings", "recordings/bob.webm", "recordings/bob.json"}
    assert not built.exists()
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [line.split() for line in captured.out.splitlines()]
    assert {what: Path(path).name for _, what, path in lines} == {
        "engine": built.name,
        "work": "ada.avatar.work",
        "avatar": "ada.avatar",
        "consent": "ada.json",
        "recording": "ada.webm",
    }


def test_a_recording_without_an_avatar(studio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "bob", "--studio", str(studio), "--json"]) == 0
    removed = json.loads(capsys.readouterr().out)["removed"]
    assert [item["what"] for item in removed] == ["consent", "recording"]
    assert files(studio) == {"recordings", "recordings/ada.webm", "recordings/ada.json"}


def test_beside_a_server_it_says_that_this_one_lets_go(
    studio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FolderLock(studio)
    assert server.acquire()
    assert main(["forget", "ada", "--studio", str(studio)]) == 0
    assert "the server that runs there (process" in capsys.readouterr().err
    assert not (studio / "recordings" / "ada.webm").exists()
    server.release()


def test_an_avatar_file(
    avatar_file: Path, engine: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    built = engine(avatar_file)
    (avatar_file.parent / "film.mp4").write_bytes(b"x")
    (avatar_file.parent / "noise.prepared.npz").write_bytes(b"x")
    assert main(["forget", str(avatar_file)]) == 0
    assert not avatar_file.exists()
    assert not built.exists()
    assert not (avatar_file.parent / "noise.prepared.npz").exists()
    assert (avatar_file.parent / "film.mp4").exists()
    assert "yours to remove: copies, and films it was enrolled from" in capsys.readouterr().err


async def test_a_running_server_lets_go_of_whoever_withdrew(
    avatar_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the file was named by --avatar, and was the first."""
    monkeypatch.setattr("stream.http.server.TIDY_PERIOD_S", 0.05)
    style = MarkStyle()
    avatars = Avatars([served_file(path, PipelineConfig(), style) for path in (avatar_file, "theo")])
    server = TestServer(LiveServer(SessionRegistry(avatars, RegistryConfig()), Access()).app())
    await server.start_server()
    assert [avatar.name for avatar in avatars] == [avatar_file.stem, "theo"]
    assert main(["forget", str(avatar_file)]) == 0
    await until(lambda: [avatar.name for avatar in avatars] == ["theo"])
    assert avatars.first.name == "theo"
    assert "was withdrawn: it is not offered any more" in caplog.text
    with pytest.raises(RequestRefused, match="there is no avatar"):
        avatars.find(avatar_file.stem)
    await server.close()


def test_a_damaged_file_goes_too(avatar_file: Path) -> None:
    avatar_file.write_bytes(b"damaged")
    assert main(["forget", str(avatar_file)]) == 0
    assert not avatar_file.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("theo", "theo comes with avatarcast and shows nobody: there is nothing to forget"),
        ("bundled", "bundled comes with avatarcast"),
        ("nobody", "found no such name in"),
        ("../ada", "found no such name in"),
        ("", "found no such name in"),
        ("nowhere.avatar", "there is no such file"),
    ],
)
def test_refusals_are_one_line(
    studio: Path, error_line: Callable[[], str], monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(studio.parent)
    before = files(studio)
    assert main(["forget", name, "--studio", str(studio)]) == 1
    assert words in error_line()
    assert files(studio) == before


def test_one_that_is_being_made_is_left_alone(studio: Path, error_line: Callable[[], str]) -> None:
    work = studio / "ada.avatar.work"
    work.mkdir()
    lock = FolderLock(work)
    assert lock.acquire()
    assert main(["forget", "ada", "--studio", str(studio)]) == 1
    assert "is at work on it: wait for it, or stop it first" in error_line()
    assert (studio / "recordings" / "ada.webm").exists()
    lock.release()
