"""The quality tables of several avatars and drivers, from scripted evaluations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality
from benchmarks.quality import Labelled, describe, tables
from engine.errors import SettingsError


def evaluation(asked: list[list[str]]) -> Any:
    def evaluate(command: Sequence[str]) -> dict[str, Any]:
        asked.append(list(command))
        report: dict[str, Any] = {
            "avatar": "ada",
            "held_out": {"psnr_db": {"frame": 27.8}},
            "steps": {"1": {}},
            "baselines": {},
        }
        if "--driver" in command:
            part = {"correlation": 0.9 if "first.mp4" in command[3] else 0.5, "gain": 1.0}
            report |= {"motion": {"yaw": part, "wrists": None}, "motion_shuffled": {"yaw": part}}
        return report

    return evaluate


@pytest.mark.parametrize(
    ("text", "label", "file"),
    [
        ("phone=a/clip.mp4", "phone", "a/clip.mp4"),
        ("a/clip.mp4", "clip.mp4", "a/clip.mp4"),
        ("bundled", "bundled", "bundled"),
        ("f = 2=x.mp4", "f = 2", "x.mp4"),
    ],
)
def test_labels(text: str, label: str, file: str) -> None:
    assert Labelled.parse(text) == Labelled(label, file)


@pytest.mark.parametrize("text", ["", "phone=", "=clip.mp4"])
def test_half_a_label(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted LABEL=FILE"):
        Labelled.parse(text)


def test_every_avatar_meets_every_driver() -> None:
    asked: list[list[str]] = []
    drivers = [Labelled("one", "clips/first.mp4"), Labelled("two", "clips/second.mp4")]
    avatars = [Labelled("Ada", "a.avatar"), Labelled("Bob", "b.avatar")]
    found = tables(avatars, drivers, ["--steps", "2"], evaluation(asked))
    assert asked[1] == ["evaluate", "a.avatar", "--driver", "clips/second.mp4", "--steps", "2"]
    assert [avatar["label"] for avatar in found] == ["Ada", "Bob"]
    correlations = [driver["motion"]["yaw"]["correlation"] for driver in found[1]["drivers"]]
    assert correlations == [0.9, 0.5]
    assert found[0]["drivers"][0]["file"] == "first.mp4"
    assert "two (correlation/gain): yaw 0.50/1.00" in describe(found)


def test_without_drivers_the_held_out_table_alone() -> None:
    asked: list[list[str]] = []
    (found,) = tables([Labelled("Ada", "a.avatar")], [], [], evaluation(asked))
    assert asked == [["evaluate", "a.avatar"]]
    assert found["drivers"] == []
    assert found["held_out"]["psnr_db"]["frame"] == 27.8


def test_an_evaluation_that_fails_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", "--avatar", str(tmp_path / "missing.avatar")])
    assert quality.main() == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "no such file" in captured.err
