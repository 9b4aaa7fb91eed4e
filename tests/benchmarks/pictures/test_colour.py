"""Differences between colours, beside published values."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pictures.colour import de2000, lab


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [  # from the table of Sharma, Wu and Dalal
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_difference(one: tuple[float, ...], other: tuple[float, ...], apart: float) -> None:
    assert de2000(np.array(one, float), np.array(other, float)) == pytest.approx(apart, abs=1e-4)
    assert de2000(np.array(other, float), np.array(one, float)) == pytest.approx(apart, abs=1e-4)


def test_lab_of_known_colours() -> None:
    assert lab(np.full(3, 255.0)) == pytest.approx([100, 0, 0], abs=1e-6)
    assert lab(np.array([255.0, 0, 0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert lab(np.zeros(3)) == pytest.approx([0, 0, 0], abs=1e-6)
