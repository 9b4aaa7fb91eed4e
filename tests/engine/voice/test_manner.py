"""Face and head wander as those of a film: as far, as quickly, where it is loud more, by seed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Habits
from engine.voice.manner import MANNERS, Manner, Wander, fit_manner, strength_at
from engine.voice.own import OwnVoice, voice_arrays, voice_of

ROWS = 20 * ROWS_HZ


def film(loudness: FloatArray) -> FloatArray:
    """(ROWS, 16) codes of somebody who sways, quicker where they are louder."""
    random = np.random.default_rng(5)
    ways = np.zeros((ROWS, 3))
    for row in range(2, ROWS):
        ways[row] = 1.6 * ways[row - 1] - 0.7 * ways[row - 2] + loudness[row] * random.normal(0.0, 0.01, 3)
    return np.asarray(ways @ random.normal(size=(3, len(MANNERS))), np.float32)


LOUDNESS = np.where(np.arange(ROWS) // 50 % 2, 2.0, 0.5).astype(np.float32)
CODES = film(LOUDNESS)
SPEAKS = np.ones(ROWS, np.float32)


def learnt() -> Manner:
    manner = fit_manner(CODES, SPEAKS, LOUDNESS)
    assert manner is not None
    return manner


def jerk(codes: FloatArray) -> float:
    return float(np.abs(np.diff(codes, 3, axis=0)).mean() / codes.std())


def test_it_moves_as_far_and_as_quickly_as_the_film_for_minutes() -> None:
    wander = Wander(learnt(), 3, lambda row: 1.0)
    drawn = np.stack([wander.at(row) for row in (*range(1500), *range(13_500, 15_000))])
    first, tenth = drawn[:1500], drawn[1500:]
    for minute in (first, tenth):
        assert np.median(minute.std(0) / CODES.std(0)) == pytest.approx(1.0, abs=0.25)
        assert jerk(minute) / jerk(CODES) == pytest.approx(1.0, abs=0.3)
    assert abs(tenth.mean(0)).max() < CODES.std(0).max()


def test_a_seed_and_a_time_alone_say_where_it_is() -> None:
    manner = learnt()
    one, again, other = (Wander(manner, seed, lambda row: 1.0) for seed in (3, 3, 4))
    there = one.at(700.25)
    assert np.array_equal(np.stack([again.at(row) for row in (10.0, 900.0, 700.25)])[2], there)
    assert abs(other.at(700.25) - there).max() > 0.1 * manner.spread().max()


def test_where_it_is_loud_it_moves_more() -> None:
    manner = learnt()
    quiet, soft, loud = manner.strengths
    assert loud > 1.5 * soft
    assert quiet == 1.0  # nothing quiet was seen
    steady_soft = strength_at(manner, lambda row: (1.0, -9.0), 7)
    steady_loud = strength_at(manner, lambda row: (1.0, 9.0), 7)
    assert steady_loud / steady_soft == pytest.approx(loud / soft)
    assert 0.0 < strength_at(manner, lambda row: (0.0, 9.0), 7) < 0.5 * quiet


def test_the_head_is_quickest_near_loud_syllables() -> None:
    peaks = np.cumsum(np.random.default_rng(0).integers(15, 25, 60))  # row of each
    louder = {int(peak) + by: 1.0 - abs(by) for peak in peaks for by in (-2, -1, 0, 1, 2)}

    def said(row: int) -> tuple[float, float]:
        return 1.0, louder.get(row, -1.0)

    manner = learnt()
    wander = Wander(manner, 0, lambda row: strength_at(manner, said, row))
    drawn = np.stack([wander.at(row) for row in range(peaks[-1])])
    speed = np.square(np.diff(drawn, axis=0)).sum(1)
    near = np.zeros(len(speed), bool)
    near[(peaks[:-1, None] + np.arange(-1, 4)).ravel()] = True
    assert speed[near].mean() > 1.5 * speed[~near].mean()


def test_too_little_speech_tells_no_manner() -> None:
    assert fit_manner(CODES, np.where(np.arange(ROWS) < 90, 1.0, 0.0), LOUDNESS) is None


def test_an_avatar_keeps_it() -> None:
    manner = learnt()
    arrays = voice_arrays(OwnVoice(Habits(), manner=manner))
    kept = voice_of(arrays).manner
    assert kept is not None
    assert np.array_equal(
        Wander(kept, 1, lambda row: 1.0).at(3.0), Wander(manner, 1, lambda row: 1.0).at(3.0)
    )
    with pytest.raises(ValueError, match="no kernels"):
        voice_of({name: array for name, array in arrays.items() if name != "manner_kernels"})
    with pytest.raises(ValueError, match="ways"):
        voice_of(arrays | {"manner_ways": np.zeros((3, 2), np.float32)})
