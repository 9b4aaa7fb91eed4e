"""Fixtures that more than one test file needs: a tiny made-up avatar and its file."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from engine.avatar import KeyFrame, save_avatar
from engine.landmarks import FACE_POINTS, HAND_POINTS, POSE_POINTS, Landmarks

SIZE_PX = 64

settings.register_profile("busy", deadline=None)  # a machine that renders beside the tests is no failure
settings.load_profile("busy")


def _landmarks(rng: np.random.Generator) -> Landmarks:
    return Landmarks(
        width=SIZE_PX,
        height=SIZE_PX,
        face=rng.uniform(0, SIZE_PX, (FACE_POINTS, 3)).astype(np.float32),
        face_confidence=1.0,
        pose=rng.uniform(0, SIZE_PX, (POSE_POINTS, 3)).astype(np.float32),
        pose_confidence=rng.uniform(0, 1, POSE_POINTS).astype(np.float32),
        hands=rng.uniform(0, SIZE_PX, (2, HAND_POINTS, 3)).astype(np.float32),
        hand_confidence=np.array([1.0, 0.0], np.float32),
    )


@pytest.fixture
def avatar_fields() -> dict[str, Any]:
    """The arguments of save_avatar for a made-up person of noise, 64 px; a fresh copy for each test."""
    rng = np.random.default_rng(7)

    def image(channels: int) -> Any:
        return rng.integers(0, 256, (SIZE_PX, SIZE_PX, channels), np.uint8)

    preview = BytesIO()
    Image.fromarray(image(3)).save(preview, "JPEG")
    return {
        "name": "noise",
        "size": SIZE_PX,
        "fps": 25.0,
        "neutral": {"face": rng.normal(size=(FACE_POINTS, 3)).astype(np.float32)},
        "keyframes": [KeyFrame(image(3), image(1)[..., 0], _landmarks(rng)) for _ in range(2)],
        "plate": image(3),
        "models": {"denoiser-fp32.onnx": b"not a network"},
        "consent": {
            "who": "nobody: noise",
            "statement": "made for tests",
            "date": "2024-05-01",
            "person": "synthetic",
        },
        "report": {"held_out": None},
        "preview_jpeg": preview.getvalue(),
        "training": {"minutes": 0.0},
        "variants": {"denoiser-fp32.onnx": {"precision": "fp32", "steps": 1}},
    }


@pytest.fixture
def avatar_file(tmp_path: Path, avatar_fields: dict[str, Any]) -> Path:
    """A well-formed `.avatar` of that person."""
    path = tmp_path / "noise.avatar"
    save_avatar(path, **avatar_fields)
    return path


@pytest.fixture
def error_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What went to standard error since the last call, which must be one line."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return read
