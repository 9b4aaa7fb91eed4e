"""Rows of what is heard: the same in any pieces, on the clock of the sound, indifferent to its level."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.voice.features import LOOK_AHEAD_S, LOUDNESS, MEL, ROW, ROWS_HZ, VoiceFeatures, features_of
from engine.voice.mel import SAMPLE_RATE_HZ


def bursts(seconds: float = 3.0) -> FloatArray:
    """A voice of sorts: noise that comes and goes four times a second, over quiet noise."""
    rng = np.random.default_rng(1)
    at = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    loud = (np.sin(2 * np.pi * 4 * at) > 0) * 0.1 + 0.001
    return np.asarray(loud * rng.normal(size=len(at)), np.float32)


@pytest.mark.parametrize("piece", [160, 333, 5000])
def test_rows_do_not_depend_on_the_pieces(piece: int) -> None:
    sound = bursts()
    stream = VoiceFeatures()
    rows = np.concatenate([stream.push(sound[at : at + piece]) for at in range(0, len(sound), piece)])
    whole = features_of(sound)
    assert rows.shape[1] == ROW
    assert len(rows) > len(whole) - 5
    np.testing.assert_allclose(rows, whole[: len(rows)], atol=1e-4)


def test_a_row_is_known_when_the_look_ahead_has_come() -> None:
    sound = bursts()
    stream = VoiceFeatures()
    due = round((1.0 + LOOK_AHEAD_S) * SAMPLE_RATE_HZ)
    known = len(stream.push(sound[: due - 1]))
    known += len(stream.push(sound[due - 1 : due + 1]))
    assert known == ROWS_HZ + 1  # those of 0 s to 1 s


def test_what_comes_after_the_look_ahead_changes_nothing() -> None:
    sound = bursts()
    other = sound.copy()
    other[int((1.0 + LOOK_AHEAD_S) * SAMPLE_RATE_HZ) + 1 :] = 0.3
    rows = ROWS_HZ + 1
    np.testing.assert_array_equal(features_of(sound)[:rows], features_of(other)[:rows])


def test_a_sound_is_heard_when_it_is() -> None:
    sound = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    sound[SAMPLE_RATE_HZ - 400 : SAMPLE_RATE_HZ + 400] = 0.3 * np.random.default_rng(0).normal(size=800)
    assert features_of(sound)[:, MEL].mean(1).argmax() == ROWS_HZ


def test_level_is_taken_out_and_loudness_kept() -> None:
    loud, quiet = features_of(bursts(6.0)), features_of(bursts(6.0) * np.float32(0.2))
    later = slice(4 * ROWS_HZ, None)
    apart = np.abs(loud[later, MEL] - quiet[later, MEL])
    assert np.median(apart) < 0.2  # they came 14 dB apart, which is 1.1
    assert np.ptp(loud[later, LOUDNESS]) > 1.0


def test_nothing_and_silence_are_heard_as_such() -> None:
    assert VoiceFeatures().push(np.zeros(0, np.float32)).shape == (0, ROW)
    silence = features_of(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert silence.shape == (ROWS_HZ, ROW)
    assert np.isfinite(silence).all()
    assert abs(silence[:, LOUDNESS]).max() < 0.5
