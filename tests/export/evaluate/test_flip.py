"""FLIP: as its authors' evaluator gives it, and what it must tell apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from export.evaluate.flip import flip_error


def picture() -> U8Image:
    rough = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8).astype(np.float32)
    smooth = cv2.resize(rough, (160, 120), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 255), np.uint8)


def plain(red: int, green: int, blue: int) -> U8Image:
    return np.full((40, 40, 3), (red, green, blue), np.uint8)


# What flip-evaluator 1.7 gives for these pictures.
KNOWN = [
    (cv2.GaussianBlur(picture(), (0, 0), 2), picture(), 0.3717263),
    (np.roll(picture(), 3, axis=1), picture(), 0.632641),
    (255 - picture(), picture(), 0.8901743),
    (plain(0, 0, 255), plain(0, 255, 0), 1.0),
    (plain(255, 255, 255), plain(0, 0, 0), 0.9673882),
]


@pytest.mark.parametrize(("made", "truth", "mean"), KNOWN)
def test_it_agrees_with_its_authors(made: U8Image, truth: U8Image, mean: float) -> None:
    assert flip_error(made, truth).mean() == pytest.approx(mean, abs=2e-5)


def test_pixel_by_pixel_where_their_package_is_at_hand() -> None:
    theirs = pytest.importorskip("flip_evaluator", reason="pip install flip-evaluator to compare every pixel")
    truth = picture()
    made = np.asarray(cv2.GaussianBlur(truth, (0, 0), 1.2), np.uint8)
    arrays = [(rgb / 255).astype(np.float32) for rgb in (truth, made)]
    wanted = theirs.evaluate(*arrays, "LDR", applyMagma=False)[0].squeeze()
    assert np.abs(flip_error(made, truth) - wanted).max() < 3e-3


def test_alike_is_nothing_and_what_differs_is_told_where() -> None:
    truth = picture()
    assert flip_error(truth, truth).max() == 0.0
    made = truth.copy()
    made[40:60, 70:100] = 255 - made[40:60, 70:100]
    error = flip_error(made, truth)
    assert error.shape == (120, 160)
    assert error[45:55, 75:95].mean() > 0.5
    assert error[:20].max() == pytest.approx(0.0, abs=1e-3)
