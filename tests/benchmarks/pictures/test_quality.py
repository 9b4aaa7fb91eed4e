"""The quality tables of several avatars and drivers, from scripted evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pictures import quality
from benchmarks.pictures.clips import Labelled
from benchmarks.pictures.quality import describe, tables
from engine.errors import AvatarcastError, SettingsError


def evaluation(asked: list[list[str]]) -> Any:
    def evaluate(command: Sequence[str]) -> dict[str, Any]:
        asked.append(list(command))
        frame = 27.8 if command[1] == "a.avatar" else 25.0
        psnr_db = {"psnr_db": {"frame": frame}}
        return {"avatar": "ada", "held_out": psnr_db, "steps": {"1": {}}, "baselines": {}}

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


def test_every_avatar_has_its_table() -> None:
    asked: list[list[str]] = []
    found = tables([Labelled("Ada", "a.avatar"), Labelled("Bob", "b.avatar")], evaluation(asked))
    assert asked == [["evaluate", "a.avatar"], ["evaluate", "b.avatar"]]
    assert [avatar["label"] for avatar in found] == ["Ada", "Bob"]
    assert [avatar["held_out"]["psnr_db"]["frame"] for avatar in found] == [27.8, 25.0]
    assert describe({"avatars": found}) == "Ada: held-out tail 27.8 dB\nBob: held-out tail 25.0 dB"


def test_an_evaluation_that_fails_ends_the_run(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(AvatarcastError, match="avatarcast evaluate ended with status 1"):
        quality.main(["--avatar", str(tmp_path / "missing.avatar")])
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "no such file" in captured.err
