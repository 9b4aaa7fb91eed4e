"""`avatarcast export --steps 1`: the student takes the network's place, or nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest

from engine.avatar.avatar_file import load_avatar
from engine.avatar.beside import distillation_path
from engine.cli import main
from export import distill_avatar
from export.convert import gate
from export.footage.prepared import Prepared
from export.training.distill import Distiller, NetworkScore

COMMAND = ("--steps", "1", "--target", "onnx", "--minutes", "0.001")


@pytest.fixture
def footage(monkeypatch: pytest.MonkeyPatch, prepared: Prepared, tmp_path: Path) -> Path:
    """The puppet's footage, which no tracker would know for a person, as if it had been tracked."""
    monkeypatch.setattr(distill_avatar, "prepare_again", lambda *_: prepared)
    return tmp_path / "clip.mp4"


@pytest.fixture
def sharpens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a second of distillation does, it is said to have sharpened."""
    found: Iterator[NetworkScore] = chain([NetworkScore(28.0, 0.5)], repeat(NetworkScore(27.9, 0.6)))
    monkeypatch.setattr(Distiller, "_score", lambda *_: next(found))


def test_the_student_takes_the_networks_place_and_its_variants_tell(
    networked_file: Path, footage: Path, sharpens: None
) -> None:
    before = load_avatar(networked_file)
    assert main(["export", str(networked_file), *COMMAND, "--footage", str(footage)]) == 0
    after = load_avatar(networked_file)
    facts = after.variants["denoiser-fp32.onnx"]
    assert after.models["denoiser-fp32.onnx"] != before.models["denoiser-fp32.onnx"]
    assert facts["distillation"]["teacher"]["sharpness"] == 0.5
    assert facts["distillation"]["student"] == {"psnr_db": 27.9, "sharpness": 0.6}
    assert facts["held_out"]["loss_db"] < 0.3
    assert not distillation_path(networked_file).exists()
    assert main(["export", str(networked_file), "--target", "onnx-fp16"]) == 0
    half = load_avatar(networked_file).variants["denoiser-fp16.onnx"]
    assert half["distillation"] == facts["distillation"]


def test_a_student_that_the_gate_refuses_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    networked_file: Path,
    footage: Path,
    sharpens: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compared = gate.compared
    monkeypatch.setattr(gate, "compared", lambda *found: replace(compared(*found), loss_db=0.5))
    before = networked_file.read_bytes()
    assert main(["export", str(networked_file), *COMMAND, "--footage", str(footage)]) == 1
    assert "the new network loses 0.50 dB" in capsys.readouterr().err
    assert networked_file.read_bytes() == before
    assert distillation_path(networked_file).exists()  # more minutes may do


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "1"], "--steps 1: needs the footage"),
        (["--steps", "1", "--footage", "clip.mp4", "--minutes", "0"], "--minutes 0.0: must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    networked_file: Path, error_line: Callable[[], str], options: list[str], words: str
) -> None:
    before = networked_file.read_bytes()
    assert main(["export", str(networked_file), *options]) == 1
    assert words in error_line()
    assert networked_file.read_bytes() == before
