"""The held-out frames in an avatar's file: kept as they are, and every flaw refused."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.errors import PackageError
from export.convert.gate import held_out_frame
from tests.support.forged_package import forge


@pytest.fixture
def path(tmp_path: Path, noise: Avatar) -> Path:
    rng = np.random.default_rng(5)
    frames = [
        held_out_frame(rng.integers(0, 256, (64, 64, 3), np.uint8), key.landmarks) for key in noise.keyframes
    ]
    path = tmp_path / "held.avatar"
    save_avatar(path, replace(noise, held_out=tuple(frames)))
    return path


def test_frames_come_back(path: Path, noise: Avatar) -> None:
    frames = load_avatar(path).held_out
    assert len(frames) == 2
    for frame, key in zip(frames, noise.keyframes, strict=True):
        with Image.open(io.BytesIO(frame.jpeg)) as image:
            assert np.array_equal(frame.rgb, np.asarray(image))
        assert np.array_equal(frame.landmarks.face, key.landmarks.face)


def test_an_avatar_needs_none(avatar_file: Path) -> None:
    assert load_avatar(avatar_file).held_out == ()


def other_size() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"held_out/landmarks.npz": None}, r"member held_out/landmarks\.npz is missing"),
        ({"held_out/00.jpg": None, "held_out/01.jpg": None}, r"member held_out/00\.jpg is missing"),
        ({"held_out/00.jpg": None}, "without a gap"),
        (
            {"held_out/01.jpg": None},
            r"held_out/landmarks\.npz: array face is \(2, 478, 3\); wanted \(1, 478, 3\)",
        ),
        ({"held_out/00.jpg": b"no picture"}, r"held_out/00\.jpg is not a readable JPEG"),
        ({"held_out/00.jpg": other_size()}, r"held_out/00\.jpg is 32x32; wanted 64x64"),
        ({"held_out/landmarks.npz": b"PK"}, r"held_out/landmarks\.npz is not readable arrays"),
        ({"held_out/000.jpg": b""}, "has no meaning in this format"),
    ],
)
def test_flaws_are_refused(path: Path, changes: dict[str, bytes | None], complaint: str) -> None:
    forge(path, changes)
    with pytest.raises(PackageError, match=complaint):
        load_avatar(path)
