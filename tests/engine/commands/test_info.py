"""What `avatarcast info` tells of a file, and what it does not let a file do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.cli import main
from tests.support.small_avatar import least_network


def test_the_bundled_avatar(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said, theo = capsys.readouterr().out, load_avatar("theo")
    assert said.startswith("avatar     theo, digest ")
    assert "synthetic; The avatarcast authors agreed on " in said
    assert "made of CC0 assets (not verified: nobody was heard or seen to say it)" in said
    assert "signature  signed by avatarcast\n" in said
    assert "mark       none: the presenters' key says nobody is shown" in said
    assert f"canvas     {theo.size} px" in said
    assert f", from footage at {theo.fps:g} frames/s" in said
    assert "denoiser-fp32.onnx, precision fp32, steps 1, " in said
    assert "PSNR in dB" in said
    assert "emotions   filmed: happy" in said
    assert "the nearest training frame" in said
    assert "mediapipe 0.10.21" in said


def test_json_says_the_same_and_more(capsys: pytest.CaptureFixture[str], avatar_file: Path) -> None:
    assert main(["info", str(avatar_file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "noise"
    assert found["consent"]["who"] == "nobody: noise"
    assert (found["size_px"], found["fps"], found["keyframes"]) == (64, 25.0, 2)
    assert found["models"] == [
        {"name": "denoiser-fp32.onnx", "bytes": len(least_network(64)), "precision": "fp32", "steps": 1}
    ]
    assert found["training"] == {"minutes": 0.0}
    assert (found["signed"], found["signature"], found["marked"]) == ("here", "signed here", True)
    assert [record["action"] for record in found["chain"]] == ["made"]
    assert found["held_out"] is None
    assert len(found["digest"]) == 64
    assert found["tools"]["avatarcast"]
    assert found["bytes"] > 10_000


@pytest.mark.parametrize(
    "report",
    [
        {"held_out": None},
        {},
        {"held_out": {"psnr_db": "good"}, "baselines": 3},
        {"held_out": {"psnr_db": {"face": None}}, "baselines": {"nearest_frame": []}},
    ],
)
def test_a_report_without_figures_says_so(
    report: dict[str, Any], noise: Avatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.avatar"
    save_avatar(path, replace(noise, report=report, models={}))
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "held out   not measured" in said
    assert "network    none" in said
    assert "nearest" not in said


def test_a_file_cannot_steer_the_terminal(
    noise: Avatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.avatar"
    consent = noise.consent | {"who": "Noé\x1b[2J\nroot", "statement": "\u202eevil"}
    save_avatar(path, replace(noise, consent=consent))
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "Noé\\x1b[2J\\nroot agreed" in said
    assert "\\u202eevil" in said
    assert not set("\x1b\u202e") & set(said)


def test_a_damaged_file_is_one_line(
    avatar_file: Path, error_line: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    avatar_file.write_bytes(avatar_file.read_bytes()[:-40])
    assert main(["info", str(avatar_file)]) == 1
    assert "noise.avatar" in error_line()
    assert capsys.readouterr().out == ""
