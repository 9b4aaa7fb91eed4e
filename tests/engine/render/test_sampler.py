"""Denoising steps: levels, order, and what a step starts from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import FloatArray, U8Image
from engine.errors import SettingsError
from engine.render.planes import to_picture, to_planes
from engine.render.sampler import MAX_STEPS, START_LEVEL, STEADY_LEVEL, check_steps, noised, sample

SHAPE = (1, 3, 4, 4)


def array(seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def picture(seed: int) -> U8Image:
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)


def test_level_0_is_the_picture_and_level_1_the_noise() -> None:
    clean, noise = picture(0), array(1)
    assert np.array_equal(noised(clean, noise, 0.0)[0], to_planes(clean))
    assert noised(clean, noise, 1.0) == pytest.approx(noise, abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 1))
def test_in_between_it_is_straight(a: float, b: float) -> None:
    clean, noise = picture(0), array(1)
    middle = (noised(clean, noise, a) + noised(clean, noise, b)) / 2
    assert noised(clean, noise, (a + b) / 2) == pytest.approx(middle, abs=1e-5)
    assert noised(clean, noise, a).dtype == np.float32


class Recorder:
    """A denoiser that tells what it was asked, and always answers in the same array."""

    def __init__(self) -> None:
        self.asked: list[tuple[FloatArray, float]] = []
        self.answers: list[FloatArray] = []
        self._buffer = np.empty(SHAPE, np.float32)

    def __call__(self, noisy: FloatArray, level: float) -> FloatArray:
        self.asked.append((noisy.copy(), level))
        self._buffer[:] = 0.5 * noisy + len(self.asked)
        self.answers.append(self._buffer.copy())
        return self._buffer


@pytest.mark.parametrize("steps", [-1, 0, MAX_STEPS + 1])
def test_other_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(SettingsError, match=f"steps={steps}: must be 1 to {MAX_STEPS}"):
        check_steps(steps)
    with pytest.raises(SettingsError, match=f"steps={steps}"):
        sample(Recorder(), picture(0), array(1), steps, fresh=False)


@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_the_picture_is_the_mean_of_steps_that_all_begin_at_the_warm_start(steps: int) -> None:
    start, noise, denoise = picture(0), array(1), Recorder()
    result = sample(denoise, start, noise, steps, fresh=False)
    assert [level for _, level in denoise.asked] == [STEADY_LEVEL] * steps
    assert np.array_equal(denoise.asked[0][0], noised(start, noise, STEADY_LEVEL))
    assert result == pytest.approx(np.mean(denoise.answers, axis=0), abs=1e-5)


def test_every_step_has_its_own_draw_of_the_same_noise() -> None:
    noise, denoise = np.random.default_rng(2).standard_normal((1, 3, 64, 64), np.float32), Recorder()
    denoise._buffer = np.empty_like(noise)
    sample(denoise, np.full((64, 64, 3), 127, np.uint8), noise, MAX_STEPS, fresh=False)
    draws = [(noisy - (1 - STEADY_LEVEL) * (127 / 127.5 - 1)) / STEADY_LEVEL for noisy, _ in denoise.asked]
    for index, draw in enumerate(draws):
        assert np.sort(draw, axis=None) == pytest.approx(np.sort(noise, axis=None), abs=1e-5)
        for other in draws[:index]:
            assert abs(np.corrcoef(draw.ravel(), other.ravel())[0, 1]) < 0.05


def test_a_fresh_start_takes_a_step_from_pure_noise_first() -> None:
    start, noise, denoise = picture(0), array(1), Recorder()
    result = sample(denoise, start, noise, 1, fresh=True)
    assert [level for _, level in denoise.asked] == [START_LEVEL, STEADY_LEVEL]
    assert denoise.asked[0][0] == pytest.approx(noise, abs=1e-6)
    assert np.array_equal(denoise.asked[1][0], noised(to_picture(denoise.answers[0])[0], noise, STEADY_LEVEL))
    assert np.array_equal(result, denoise.answers[1])


@pytest.mark.parametrize("fresh", [False, True])
def test_a_perfect_denoiser_is_exact_with_any_steps(fresh: bool) -> None:
    truth = array(5)
    for steps in (1, 3, MAX_STEPS):
        assert sample(lambda *_: truth, picture(0), array(1), steps, fresh) == pytest.approx(truth, abs=1e-6)


def test_inputs_are_left_alone() -> None:
    start, noise = picture(0), array(1)
    kept = start.copy(), noise.copy()
    sample(Recorder(), start, noise, 3, fresh=True)
    assert np.array_equal(start, kept[0])
    assert np.array_equal(noise, kept[1])
