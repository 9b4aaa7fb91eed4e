"""The voice takes over 0.4 s after the face is gone, and gives back in 0.3 s."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.voice.takeover import AFTER_S, GIVES_S, TAKES_S, Takeover

STEP_S = 0.02


def shares(script: list[tuple[float, bool]]) -> tuple[FloatArray, FloatArray]:
    """Times and shares over stretches of (seconds, has a face)."""
    takeover, faces = Takeover(), [has for lasts_s, has in script for _ in range(round(lasts_s / STEP_S))]
    times = STEP_S * np.arange(len(faces))
    return times, np.array([takeover.share(time, has) for time, has in zip(times, faces, strict=True)])


def test_without_a_camera_the_voice_drives_from_the_start() -> None:
    assert (shares([(1.0, False)])[1] == 1.0).all()


def test_a_face_that_is_missed_for_a_moment_changes_nothing() -> None:
    times, found = shares([(1.0, True), (AFTER_S - STEP_S, False), (1.0, True)])
    assert (found[times > 0.5] == 0.0).all()


def test_the_voice_takes_over_after_two_fifths_of_a_second() -> None:
    times, found = shares([(1.0, True), (2.0, False)])
    lost_s = times[times < 1.0].max()
    assert times[found > 0.0][times[found > 0.0] > lost_s].min() == pytest.approx(lost_s + AFTER_S, abs=0.041)
    assert found[times < lost_s + AFTER_S + TAKES_S + 0.05].max() >= 0.99
    assert (found[times > lost_s + AFTER_S + TAKES_S + 0.05] == 1.0).all()


def test_the_camera_is_back_in_three_tenths_of_a_second() -> None:
    times, found = shares([(1.0, False), (2.0, True)])
    assert (found[times > 1.0 + GIVES_S] == 0.0).all()
    assert (found[(times > 1.0) & (times < 1.0 + GIVES_S - 0.05)] > 0.0).all()


def test_it_never_jumps_whatever_comes() -> None:
    coin = np.random.default_rng(1)
    script = [(float(coin.uniform(0.1, 1.0)), bool(coin.integers(2))) for _ in range(60)]
    times, found = shares(script)
    steps = np.abs(np.diff(found[times > 2.0]))
    assert 0.0 < steps.max() <= 1.5 * STEP_S / GIVES_S + 1e-9


def test_a_clock_that_begins_anew_does_not_hold_it_back() -> None:
    takeover = Takeover()
    for time_s in np.arange(100.0, 101.0, STEP_S):
        takeover.share(float(time_s), has_face=True)
    assert takeover.share(0.0, has_face=False) < 1.0
    assert [takeover.share(time_s, has_face=False) for time_s in (0.5, 1.1)][-1] == 1.0
