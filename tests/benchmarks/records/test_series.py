"""The interval around a ratio covers the truth about as often as it says, and knows when it cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.records.series import Ratio, paired_ratio, ratio_of_medians


def wandering(rng: np.random.Generator, seconds: int, level: float) -> list[float]:
    """A per-second figure whose neighbours resemble each other."""
    noise = rng.normal(size=seconds + 2)
    return [float(value) for value in level + 2.0 * (noise[2:] + noise[1:-1] + noise[:-2])]


def test_equal_machines_are_within_noise_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    told = [
        ratio_of_medians(wandering(rng, 60, 64.0), wandering(rng, 60, 64.0)).within_noise for _ in range(60)
    ]
    assert sum(map(bool, told)) >= 53  # 57 expected; values taken one by one, without blocks, give 50


def test_a_real_change_is_seen() -> None:
    rng = np.random.default_rng(4)
    ratio = ratio_of_medians(wandering(rng, 60, 80.0), wandering(rng, 60, 64.0))
    assert ratio.value == pytest.approx(1.25, rel=0.05)
    assert ratio.within_noise is False
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.value < ratio.high


@given(st.lists(st.floats(1.0, 1e4), min_size=1, max_size=30), st.floats(0.1, 10.0))
def test_a_series_against_itself_scaled(series: list[float], factor: float) -> None:
    ratio = ratio_of_medians([value * factor for value in series], series)
    assert ratio.value == pytest.approx(factor)
    if len(series) < 3:
        assert ratio.within_noise is None
    else:
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.low <= ratio.value * 1.0001
        assert ratio.high >= ratio.value * 0.9999


def test_what_slows_both_of_a_pair_cancels() -> None:
    ours = [10.0, 11.0, 30.0, 10.0, 12.0, 40.0]
    ratio = paired_ratio([150.0 * ms for ms in ours], ours)
    assert ratio.as_json() == {"value": 150.0, "low": 150.0, "high": 150.0}


def test_three_values_each_give_about_their_extremes() -> None:
    ratio = ratio_of_medians([20.0, 24.0, 22.0], [10.0, 11.0, 9.0], block=1)
    assert ratio.low == pytest.approx(20 / 11, rel=0.05)
    assert ratio.high == pytest.approx(24 / 9, rel=0.05)


def test_few_values_have_no_interval() -> None:
    assert ratio_of_medians([2.0, 2.0], [1.0, 1.0]) == Ratio(2.0)
    assert Ratio(2.0).as_json() == {"value": 2.0, "low": None, "high": None}
