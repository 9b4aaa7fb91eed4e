"""Denoising steps: levels, order, and what a step starts from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.sampler import MAX_STEPS, START_LEVEL, STEADY_LEVEL, noise_levels, noised, sample

FloatArray = NDArray[np.float32]
SHAPE = (1, 3, 4, 4)


def array(seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def test_level_0_is_the_picture_and_level_1_the_noise() -> None:
    clean, noise = array(0), array(1)
    assert np.array_equal(noised(clean, noise, 0.0), clean)
    assert noised(clean, noise, 1.0) == pytest.approx(noise, abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 1))
def test_in_between_it_is_straight(a: float, b: float) -> None:
    clean, noise = array(0), array(1)
    middle = (noised(clean, noise, a) + noised(clean, noise, b)) / 2
    assert noised(clean, noise, (a + b) / 2) == pytest.approx(middle, abs=1e-5)
    assert noised(clean, noise, a).dtype == np.float32


@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_levels_fall_and_count(steps: int) -> None:
    steady, fresh = noise_levels(steps, fresh=False), noise_levels(steps, fresh=True)
    assert len(steady) == steps
    assert len(fresh) == max(2, steps)
    for levels in (steady, fresh):
        assert list(levels) == sorted(levels, reverse=True)
        assert len(set(levels)) == len(levels)
        assert all(0 < level <= 1 for level in levels)
    assert steady[0] == STEADY_LEVEL
    assert fresh[0] == START_LEVEL
    assert steady[1:] == fresh[1 : len(steady)]


@pytest.mark.parametrize("steps", [-1, 0, MAX_STEPS + 1])
@pytest.mark.parametrize("fresh", [False, True])
def test_other_numbers_of_steps_are_refused(steps: int, fresh: bool) -> None:
    with pytest.raises(SettingsError, match=f"steps={steps}: must be 1 to {MAX_STEPS}"):
        noise_levels(steps, fresh)


def test_every_step_starts_from_the_last_ones_picture() -> None:
    start, noise, outputs = array(0), array(1), [array(2), array(3), array(4)]
    seen: list[tuple[FloatArray, float]] = []

    def denoise(noisy: FloatArray, level: float) -> FloatArray:
        seen.append((noisy.copy(), level))
        return outputs[len(seen) - 1]

    result = sample(denoise, start, noise, (0.9, 0.5, 0.1))
    assert result is outputs[2]
    assert [level for _, level in seen] == [0.9, 0.5, 0.1]
    for (noisy, level), source in zip(seen, (start, *outputs[:2]), strict=True):
        assert np.array_equal(noisy, noised(source, noise, level))


def test_a_perfect_denoiser_is_exact_at_any_levels() -> None:
    truth = array(5)
    assert np.array_equal(sample(lambda *_: truth, array(0), array(1), noise_levels(3, True)), truth)


def test_inputs_are_left_alone() -> None:
    start, noise = array(0), array(1)
    kept = start.copy(), noise.copy()
    sample(lambda noisy, _: noisy, start, noise, (1.0, 0.5))
    assert np.array_equal(start, kept[0])
    assert np.array_equal(noise, kept[1])
