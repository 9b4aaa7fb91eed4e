"""The held-out tables of several avatars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pictures import quality
from benchmarks.pictures.clips import Labelled
from engine.avatar.avatar import Avatar
from engine.errors import AvatarcastError, SettingsError


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


def test_every_avatar_has_its_table(monkeypatch: pytest.MonkeyPatch, noise: Avatar) -> None:
    reports = {
        name: replace(
            noise, name=name, report={"held_out": {"frames": len(name)}, "steps": {}, "baselines": {}}
        )
        for name in ("ada", "bobby")
    }
    monkeypatch.setattr(quality, "load_avatar", lambda file: reports[Path(file).stem])
    options = quality.main.options(["--avatar", "Ada=x/ada.avatar", "--avatar", "bobby.avatar"])
    found = quality.measure(options)["avatars"]
    assert [(one["label"], one["name"]) for one in found] == [("Ada", "ada"), ("bobby.avatar", "bobby")]
    assert [one["held_out"]["frames"] for one in found] == [3, 5]


def test_an_avatar_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AvatarcastError, match="no such file"):
        quality.main(["--avatar", str(tmp_path / "missing.avatar")])
