"""The instrument of wrinkles: slopes, and energy where there is detail."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pictures.wrinkles import ALIGNED_PX, energies, slope
from tests.support.puppet import Puppet


def test_a_slope_is_told_with_how_sure_it_is() -> None:
    strengths = np.linspace(0.0, 1.0, 40).astype(np.float32)
    noise = np.random.default_rng(0).normal(0.0, 0.1, 40).astype(np.float32)
    found, error = slope(strengths, 2.0 * strengths + noise)
    assert found == pytest.approx(2.0, abs=3 * error)
    assert 0.02 < error < 0.1
    flat, error = slope(strengths, noise)
    assert abs(flat) < 3 * error


def test_lines_on_a_forehead_are_energy_there_alone() -> None:
    landmarks = Puppet(ALIGNED_PX).landmarks()
    place = landmarks.face[:, :2].astype(np.float32)
    smooth = np.full((ALIGNED_PX, ALIGNED_PX, 3), 150, np.uint8)
    lined = smooth.copy()
    top, bottom = int(place[10, 1]), int(place[9, 1])
    for row in range(top, bottom, 6):
        lined[row : row + 2] = 110
    before, after = energies(smooth, landmarks, place), energies(lined, landmarks, place)
    assert max(before.values()) < 1e-3
    assert after["forehead"] > 0.03
    assert after["smile"] < 1e-3
