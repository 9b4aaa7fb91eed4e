"""The One-Euro filter: what passes, what is smoothed, how far it lags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.tracking.one_euro import OneEuroFilter

FRAME_NS = 33_333_333


def _run(smooth: OneEuroFilter, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([smooth(sample, index * FRAME_NS) for index, sample in enumerate(samples)])


def test_a_constant_passes_unchanged() -> None:
    samples = np.tile(np.array([[3.0, -7.0, 1e3]], np.float32), (50, 4, 1))
    np.testing.assert_allclose(_run(OneEuroFilter(1.0, 5.0), samples), samples, rtol=1e-6)


def test_a_step_is_approached_without_overshoot() -> None:
    samples = np.concatenate([np.zeros((5, 1)), np.full((120, 1), 10.0)]).astype(np.float32)
    result = _run(OneEuroFilter(1.0, 0.01), samples)
    assert (np.diff(result[5:, 0]) >= 0).all()
    assert result[5, 0] < 5.0
    assert 9.9 < result[-1, 0] <= 10.0


def test_noise_of_a_still_point_is_reduced() -> None:
    noise = np.random.default_rng(0).normal(0, 1.0, (300, 20, 3)).astype(np.float32)
    result = _run(OneEuroFilter(1.0, 0.001), noise)
    assert result[30:].std() < 0.4 * noise[30:].std()


def _lag_frames(speed_px_s: float) -> float:
    """How many frames the result is behind a point that moves evenly."""
    path = (np.arange(60)[:, None, None] * speed_px_s / 30.0 * np.ones((1, 1, 2))).astype(np.float32)
    result = _run(OneEuroFilter(1.0, 10.0), path)
    return float((path - result)[-1, 0, 0] / (speed_px_s / 30.0))


def test_faster_motion_lags_less() -> None:
    lags = [_lag_frames(speed) for speed in (0.02, 0.5, 5.0)]
    assert lags[0] > 2 * lags[1] > 4 * lags[2]
    assert lags[2] < 0.2


def test_speed_counts_in_units() -> None:
    """A picture twice as large, with a unit twice as large, is filtered alike."""
    path = np.cumsum(np.random.default_rng(1).normal(0, 3, (80, 5, 2)), axis=0).astype(np.float32)
    small, large = OneEuroFilter(1.0, 4.0), OneEuroFilter(1.0, 4.0)
    for index, sample in enumerate(path):
        one = small(sample, index * FRAME_NS, unit=100.0)
        two = large(2 * sample, index * FRAME_NS, unit=200.0)
        np.testing.assert_allclose(2 * one, two, rtol=1e-4, atol=1e-3)


def test_a_repeated_instant_changes_nothing() -> None:
    smooth = OneEuroFilter(1.0, 1.0)
    smooth(np.zeros(2, np.float32), 0)
    before = smooth(np.ones(2, np.float32), FRAME_NS)
    again = smooth(np.full(2, 99.0, np.float32), FRAME_NS)
    np.testing.assert_array_equal(again, before)


def test_time_running_backwards_starts_afresh() -> None:
    smooth = OneEuroFilter(0.5, 0.0)
    for index in range(10):
        smooth(np.zeros(2, np.float32), index * FRAME_NS)
    fresh = smooth(np.full(2, 50.0, np.float32), 0)
    np.testing.assert_array_equal(fresh, np.full(2, 50.0))


def test_another_shape_starts_afresh_and_results_are_not_shared() -> None:
    smooth = OneEuroFilter(0.5, 0.0)
    smooth(np.zeros(2, np.float32), 0)
    result = smooth(np.full(3, 5.0, np.float32), FRAME_NS)
    result[:] = -1.0
    np.testing.assert_array_equal(smooth(np.full(3, 5.0, np.float32), 2 * FRAME_NS), np.full(3, 5.0))


def test_reset_forgets() -> None:
    smooth = OneEuroFilter(0.5, 0.0)
    smooth(np.zeros(2, np.float32), 0)
    smooth.reset()
    np.testing.assert_array_equal(smooth(np.full(2, 8.0, np.float32), FRAME_NS), np.full(2, 8.0))
