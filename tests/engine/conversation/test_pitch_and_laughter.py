"""How high a voice is, and whether it laughs, whatever pieces the sound comes in."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.conversation.laughter import Laughter
from engine.conversation.pitch import Pitch
from tests.support.sounds import hush

RATE = 16_000


def buzz(hz: float, seconds: float) -> FloatArray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(0.1 * sum(np.sin(2 * np.pi * hz * k * times) / k for k in range(1, 9)), np.float32)


@pytest.mark.parametrize("hz", [80.0, 130.0, 240.0])
def test_a_voice_is_as_high_as_it_is(hz: float) -> None:
    found = Pitch().push(buzz(hz, 0.5))
    assert len(found) == 25
    assert found[3:] == pytest.approx(hz, rel=0.03)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert (Pitch().push(noise) > 0).mean() < 0.1
    assert not Pitch().push(np.zeros(RATE, np.float32)).any()


def test_pieces_give_the_same_pitch() -> None:
    sound, pieces = buzz(110.0, 0.4), Pitch()
    found = [pieces.push(sound[at : at + 700]) for at in range(0, len(sound), 700)]
    assert np.array_equal(np.concatenate(found), Pitch().push(sound))


def calls(count: int, every_s: float, seed: int | None = None) -> FloatArray:
    """Bursts of a buzz; seed: unevenly, as syllables come."""
    random = np.random.default_rng(seed)
    sound = hush(0.5)
    for _ in range(count):
        length_s = 0.5 * every_s
        burst = buzz(180.0 if seed is None else random.uniform(100, 260), length_s)
        burst *= np.hanning(len(burst)).astype(np.float32)
        gap_s = every_s - length_s + (0.0 if seed is None else random.uniform(0.0, 1.5 * every_s))
        sound = np.concatenate([sound, burst, hush(gap_s)])
    return np.concatenate([sound, hush(0.5)])


def laughs(sound: FloatArray) -> bool:
    laughter = Laughter()
    return any(laughter.push(sound[at : at + 640]) for at in range(0, len(sound), 640))


@pytest.mark.parametrize("every_s", [0.16, 0.2, 0.28])
def test_even_bursts_that_sound_alike_are_laughter(every_s: float) -> None:
    assert laughs(calls(6, every_s))


def test_two_bursts_uneven_ones_slow_ones_and_silence_are_not() -> None:
    assert not laughs(calls(2, 0.2))
    assert not laughs(calls(8, 0.2, seed=1))
    assert not laughs(calls(6, 0.5))
    assert not laughs(hush(2.0))
