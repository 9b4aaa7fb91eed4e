"""The README's animation: drivers beside the avatars that follow them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import picture
from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.errors import SettingsError
from engine.media.video import read_frames
from tests.support.places import PRESENTER


def make(out: Path, *words: str) -> int:
    return main(["bench", "picture", *words, "--out", str(out)])


def test_driver_and_avatar_move_side_by_side(tmp_path: Path) -> None:
    out = tmp_path / "pairs.webp"
    pair = ("--pair", "theo", str(PRESENTER))
    assert make(out, *pair, *pair, "--start", "1", "--seconds", "0.8", "--fps", "5") == 0
    side = load_avatar("theo").size
    with Image.open(out) as animation:
        assert (animation.format, animation.size, animation.info["loop"]) == (
            "WEBP",
            (4 * side + 16, side),
            0,
        )
        shown = []
        for index in range(4):
            animation.seek(index)
            shown.append(np.asarray(animation.convert("RGBA")).astype(float))
    frames = list(read_frames(PRESENTER))
    for index, rgba in enumerate(shown):
        assert rgba[:, 2 * side : 2 * side + 16, 3].max() == 0
        assert rgba[:, : 2 * side, 3].min() == 255
        driver = cv2.resize(frames[15 + 3 * index].rgb, (side, side))
        assert np.abs(rgba[:, :side, :3] - driver).mean() < 6
        assert np.abs(rgba[:, : 2 * side] - rgba[:, 2 * side + 16 :]).mean() < 3
    assert np.abs(shown[0][:, side : 2 * side] - shown[3][:, side : 2 * side]).mean() > 1


def test_a_clip_that_ends_early_is_played_back() -> None:
    assert [picture._to_and_fro(index, 4) for index in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]
    assert picture._to_and_fro(7, 1) == 0


@pytest.mark.parametrize(
    ("words", "flaw"),
    [
        (("--pair", "theo", "missing.mp4"), "missing.mp4: no such file"),
        (("--pair", "nobody", str(PRESENTER)), "nobody: no such file; wanted an .avatar file"),
        (("--pair", "theo", str(PRESENTER), "--seconds", "0"), "wanted a start from 0 on"),
    ],
)
def test_what_is_refused_leaves_no_file(
    words: tuple[str, ...],
    flaw: str,
    tmp_path: Path,
    error_line: Callable[[], str],
) -> None:
    assert make(tmp_path / "pairs.webp", *words) == 1
    assert flaw in error_line()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pairs.png", "nowhere/pairs.webp"])
def test_where_nothing_can_be_written_is_told_before_anything_is_read(
    name: str, tmp_path: Path, error_line: Callable[[], str]
) -> None:
    assert make(tmp_path / name, "--pair", "theo", "missing.mp4") == 1
    assert "wanted NAME.webp in a folder that is there" in error_line()


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MAX_BYTES", 1000)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    with pytest.raises(SettingsError, match="wanted at most 1000"):
        picture.encode([noise, noise], 5.0)
