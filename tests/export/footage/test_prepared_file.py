"""Footage prepared on one machine and trained on another: the file, and which packages either end needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.errors import FileError, FootageError
from engine.render.scene import Scene
from export.footage.framing import Framing
from export.footage.prepared import Prepared
from export.footage.prepared_file import Origin, load_prepared, origin_of, save_prepared, sha256_of
from tests.support.places import PRESENTER
from tests.support.presenter_clip import write_presenter
from tests.support.puppet import Puppet, lively

CONSENT = "Nobody, a synthetic person made for tests"
FEW = 10  # frames: the network runs for each a hundred times
ORIGIN = Origin(("ab" * 32,), ("0,0,128",), ("only 3 s of usable footage",), "0.1.0")


@pytest.fixture
def file(prepared: Prepared, tmp_path: Path) -> Path:
    """The puppet's footage as a prepared file."""
    path = tmp_path / "puppet.prepared.npz"
    save_prepared(path, prepared, ORIGIN)
    return path


def run_without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on a machine that lacks the packages."""
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in packages)
    code = f"import sys; {blocked}from engine.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=900
    )


# The file


def test_it_keeps_footage_and_origin(file: Path, prepared: Prepared) -> None:
    again, origin = load_prepared(file)
    assert origin == ORIGIN
    assert np.array_equal(again.rgb, prepared.rgb)
    assert np.array_equal(again.landmarks[7].face, prepared.landmarks[7].face)


def test_it_keeps_the_room(tmp_path: Path, prepared: Prepared) -> None:
    path = tmp_path / "room.prepared.npz"
    rgb = np.random.default_rng(0).integers(0, 255, (150, 300, 3), np.uint8)
    save_prepared(path, replace(prepared, scene=Scene(rgb, 20, 50, 100)), ORIGIN)
    scene = load_prepared(path)[0].scene
    assert scene is not None
    assert np.array_equal(scene.rgb, rgb)
    assert (scene.left, scene.top, scene.side) == (20, 50, 100)
    put(path, scene_canvas=np.array([280, 50, 100], np.int32))
    with pytest.raises(FootageError, match="scene: the canvas is 100 px at 280, 50; wanted within"):
        load_prepared(path)


def test_the_origin_is_that_of_the_videos(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"abc")
    origin = origin_of([video], [Framing(1, -2, 300)], ["soft"])
    assert origin.footage_sha256 == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",)
    assert (origin.framings, origin.warnings) == (("1,-2,300",), ("soft",))


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_gets_through_as_anything_but_one_line(tmp_path: Path, seed: int) -> None:
    """Cut short, or bytes changed where the file describes its arrays."""
    path = tmp_path / "small.prepared.npz"
    rgb, matte, landmarks = Puppet(64).film(lively(10, seed=1))
    save_prepared(path, Prepared(10.0, rgb, matte, landmarks, np.zeros(10, np.int32)), ORIGIN)
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    if seed % 4 == 0:
        content = content[: int(rng.integers(len(content)))]
    else:
        at = content.index(b"NUMPY", int(rng.integers(len(content) // 2))) if seed % 4 < 3 else -1500
        for offset in rng.integers(0, 128, 6):
            content[at + int(offset)] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    with pytest.raises(FootageError) as caught:
        load_prepared(path)
    assert "\n" not in str(caught.value)
    assert "prepare the footage again" in str(caught.value)


def put(path: Path, **arrays: Any) -> None:
    """The same file with other arrays; None takes one out."""
    with np.load(path) as data:
        kept = {name: data[name] for name in data.files} | arrays
    np.savez(path, **{name: array for name, array in kept.items() if array is not None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"origin": None}, "prepared by an older avatarcast"),
        ({"origin": np.array('{"format": 2}')}, "of format 2; this avatarcast reads 1"),
        ({"origin": np.array('{"format": 1}')}, "damaged .origin"),
        ({"origin": np.array("[]")}, "damaged .origin"),
        ({"origin": np.zeros(3)}, "damaged .origin"),
        ({"matte": np.zeros((75, 128, 64), np.uint8)}, "damaged .matte is uint8"),
        ({"rgb": np.zeros((75, 128, 128, 3), np.float32)}, "damaged .rgb is float32"),
        ({"shot": np.zeros(74, np.int32)}, "damaged .shot"),
        ({"fps": np.array(np.nan)}, "damaged .nan frames per second"),
        ({"face": np.full((75, 478, 3), np.inf, np.float32)}, "damaged .face"),
        ({"pose": np.zeros((75, 12, 3), np.float32)}, "damaged .pose"),
        ({"hand_confidence": np.full((75, 2), 1.5, np.float32)}, "damaged .hand_confidence leaves 0..1"),
        ({"face": np.zeros((3, 478, 3), np.float32)}, "not prepared footage"),
        ({"chest": None}, "not prepared footage"),
    ],
)
def test_what_would_not_train_is_refused(file: Path, change: dict[str, Any], words: str) -> None:
    put(file, **change)
    with pytest.raises(FootageError, match=words):
        load_prepared(file)


def test_a_folder_that_takes_no_files(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        save_prepared(tmp_path / "nowhere" / "x.prepared.npz", prepared, ORIGIN)


def test_a_disk_that_fills_up_leaves_the_file_before(
    prepared: Prepared, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "x.prepared.npz"
    path.write_bytes(b"before")
    with full_disk(100_000), pytest.raises(FileError, match=r"cannot be written .File too large.: make room"):
        save_prepared(path, prepared, ORIGIN)
    assert [left.read_bytes() for left in tmp_path.iterdir()] == [b"before"]


# Preparing on one machine, training on another


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds of the presenter."""
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    return write_presenter(tmp_path_factory.mktemp("footage") / "presenter.mp4", 46, every=3)


def test_preparing_needs_no_torch(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "me.avatar"
    result = run_without(
        ("torch", "onnx", "onnxruntime", "aiortc"),
        *("enroll", str(clip), "--out", str(out), "--consent", CONSENT, "--size", "128", "--prepare-only"),
        *("--person", "synthetic"),
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["me.prepared.npz"]
    found, origin = load_prepared(tmp_path / "me.prepared.npz")
    assert 41 < len(found.rgb) < 46  # less those with a hand over the mouth
    assert found.rgb.shape[1:] == (128, 128, 3)
    assert found.fps == pytest.approx(5)
    assert origin.footage_sha256 == (sha256_of(clip),)
    assert any("only 9 s" in warning for warning in origin.warnings)
    command = f"avatarcast enroll {tmp_path / 'me.prepared.npz'} --out {out} --consent '{CONSENT}'"
    assert f"{command} --person synthetic" in result.stdout


def test_training_needs_no_litert(tmp_path: Path) -> None:
    """And the program that shows the progress gets it as lines of JSON."""
    pytest.importorskip("torch", reason="needs torch")
    rgb, matte, landmarks = Puppet(128).film(lively(FEW, seed=2, hands=True))
    file = tmp_path / "puppet.prepared.npz"
    save_prepared(file, Prepared(25.0, rgb, matte, landmarks, np.zeros(FEW, np.int32)), ORIGIN)
    out = tmp_path / "puppet.avatar"
    result = run_without(
        ("ai_edge_litert", "aiortc", "av"),
        *("enroll", str(file), "--out", str(out), "--consent", CONSENT, "--minutes", "0.05"),
        *("--device", "cpu", "--person", "synthetic", "--progress", "json", "--json"),
    )
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stderr.splitlines()]
    stages = [event["stage"] for event in events if event["event"] == "stage"]
    assert stages == ["building priors", "training", "exporting", "measuring", "quantising"]
    assert [event["text"] for event in events if event["event"] == "warning"][1:2] == list(ORIGIN.warnings)
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["out"] == str(out)
    assert report["held_out"]["psnr_db"]["frame"] > 10
    assert report["held_out"]["motion"] is None  # which takes a tracker
    avatar = load_avatar(out)
    training = avatar.training
    for name, value in ORIGIN.to_dict().items():
        assert training[name] == value
    assert avatar.consent["statement"] == CONSENT
    assert avatar.size == 128
    assert file.exists()  # it is the user's
    assert not list(tmp_path.glob("*.work"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "256"], "holds 128 px; leave --size out"),
        (["--framing", "head"], "cut out already"),
        (["--prepare-only"], "is prepared already"),
        (["--consent", " "], "--consent is empty"),
    ],
)
def test_contradictions_are_one_line(
    file: Path, tmp_path: Path, error_line: Callable[[], str], arguments: list[str], words: str
) -> None:
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    given = ["enroll", str(file), "--out", str(tmp_path / "new.avatar"), "--consent", CONSENT, *arguments]
    assert main(given) == 1
    assert words in error_line()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_one_prepared_file_at_a_time(file: Path, tmp_path: Path, error_line: Callable[[], str]) -> None:
    out = str(tmp_path / "new.avatar")
    assert main(["enroll", str(file), str(PRESENTER), "--out", out, "--consent", CONSENT]) == 1
    assert "give one prepared file alone" in error_line()


def test_a_prepared_file_is_not_replaced(file: Path, error_line: Callable[[], str]) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    out = file.with_name("puppet.avatar")
    assert main(["enroll", str(PRESENTER), "--out", str(out), "--consent", CONSENT, "--prepare-only"]) == 1
    assert f"{file}: exists already" in error_line()


def test_a_machine_without_torch_is_told_both_ways(file: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "new.avatar")
    result = run_without(("torch",), "enroll", str(file), "--out", out, "--consent", CONSENT)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "pip install 'avatarcast[train,cpu]'" in line
    assert "--prepare-only" in line


@pytest.mark.parametrize("arguments", [[], ["--prepare-only"]])
def test_a_machine_without_litert_is_told_both_ways(tmp_path: Path, arguments: list[str]) -> None:
    given = ["enroll", str(PRESENTER), "--out", str(tmp_path / "new.avatar"), "--consent", CONSENT]
    result = run_without(("ai_edge_litert",), *given, *arguments, "--progress", "json")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("avatarcast: error: tracking videos needs LiteRT: pip install ai-edge-litert, or")
    assert "NAME.prepared.npz" in line
    assert not list(tmp_path.iterdir())


def test_sizes_are_those_that_networks_take() -> None:
    """The rule is written twice, since preparing has no torch to ask."""
    pytest.importorskip("torch", reason="needs torch")
    from engine.errors import SettingsError
    from engine.network.denoiser import DenoiserConfig
    from export.enroll_options import EnrollOptions

    options = EnrollOptions((PRESENTER,), Path("x.avatar"), CONSENT)
    for size in (1, 64, 96, 128, 200, 256, 320, 512, 1024):
        verdicts = []
        for make in (lambda size=size: replace(options, size=size), lambda size=size: DenoiserConfig(size)):
            try:
                make()
                verdicts.append(True)
            except SettingsError:
                verdicts.append(False)
        assert verdicts[0] == verdicts[1], size
