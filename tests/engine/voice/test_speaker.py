"""Lips for what is heard: in pieces as whole, and after a fit in the person's own way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.voice.base import AFTER, LIP_NUMBERS, PRESSED, SHAPES, Base
from engine.voice.features import LOUDNESS, ROW, ROWS_HZ
from engine.voice.idle import Habits
from engine.voice.motion_code import LIP_GAP
from engine.voice.own import OwnVoice, voice_arrays, voice_of
from engine.voice.speaker import Speaker, SpeakerFit, at_rows, fit_speaker


def heard(count: int, seed: int = 0) -> FloatArray:
    """Rows of a sound that changes at the pace of speech; a few voices in it, many bands."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count + 4, 6))
    smooth = sum(noise[k : k + count] for k in range(5)) / np.sqrt(5)
    bands = np.random.default_rng(7).normal(size=(6, ROW)) / np.sqrt(6)
    rows = smooth @ bands + 0.1 * rng.normal(size=(count, ROW))
    rows[:, LOUDNESS] += 2.0
    return np.asarray(rows, np.float32)


def way(rows: FloatArray, seed: int) -> FloatArray:
    """Somebody's lips: some mixture of what is heard, with shut lips below a threshold."""
    mixture = np.random.default_rng(seed).normal(size=(ROW, LIP_NUMBERS)) / np.sqrt(ROW)
    lips = 0.1 * rows @ mixture
    lips[:, LIP_GAP] = np.maximum(lips[:, LIP_GAP], 0.0)
    return np.asarray(lips, np.float32)


def correlation(a: FloatArray, b: FloatArray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_in_pieces_as_whole() -> None:
    rows = heard(120)
    speaker = Speaker(fit_speaker(rows, way(rows, 1)))
    stream = speaker.stream()
    pieces = [stream.push(rows[at : at + 7]) for at in range(0, len(rows), 7)]
    assert sum(map(len, pieces)) == len(rows) - AFTER
    together = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_allclose(together, speaker.predict(rows), atol=1e-5)
    assert len(speaker.predict(rows[:0])) == len(speaker.stream().finish()) == 0


def test_a_fit_speaks_as_its_person_and_not_as_another() -> None:
    rows, later = heard(400), heard(300, seed=9)
    own, other = (Speaker(fit_speaker(rows, way(rows, seed))) for seed in (1, 2))
    truth = way(later, 1)[:, LIP_GAP]
    told = own.predict(later)[:, LIP_GAP]
    assert correlation(told, truth) > 0.5
    assert correlation(told, truth) > correlation(other.predict(later)[:, LIP_GAP], truth) + 0.3
    assert 0.7 < told.std() / truth.std() < 1.4
    assert np.mean(told < 0.005) == pytest.approx(np.mean(truth < 0.005), abs=0.15)  # lips that shut


class Pressed(Base):
    """Says of nothing but the fourth row of each ten that lips are pressed on each other."""

    def __init__(self) -> None:
        super().__init__(
            {"mean": EMPTY, "scale": EMPTY} | {f"{n}.{p}": EMPTY for n in range(3) for p in PARTS}
        )

    def __call__(self, heard: FloatArray) -> tuple[FloatArray, FloatArray]:
        shapes = np.zeros((len(heard), SHAPES), np.float32)
        shapes[3::10, PRESSED] = 1.5
        return np.zeros((len(heard), LIP_NUMBERS), np.float32), shapes


EMPTY, PARTS = np.zeros((1, 1), np.float32), ("weight", "bias")


def test_pressed_lips_meet_and_no_others() -> None:
    rows = heard(400)
    lips = way(rows, 1)
    lips[:, LIP_GAP] += 0.1  # somebody whose film never shows shut lips
    fit = fit_speaker(rows, lips, base_network=Pressed())
    gap = Speaker(fit, Pressed()).predict(rows)[:, LIP_GAP]
    assert np.mean(gap[3::10] < 0.001) > 0.8
    assert np.delete(gap, np.s_[3::10]).min() > 0.09


def test_lips_never_cross() -> None:
    rows = heard(200)
    assert Speaker(fit_speaker(rows, way(rows, 1))).predict(rows)[:, LIP_GAP].min() >= 0.0
    assert Speaker().predict(rows)[:, LIP_GAP].min() >= 0.0


def test_frames_without_a_face_are_left_out() -> None:
    rows = heard(300)
    lips = way(rows, 1)
    lost = np.zeros(300, bool)
    lost[50:120] = True
    broken = np.where(lost[:, None], 50.0, lips).astype(np.float32)
    gap = Speaker(fit_speaker(rows, broken, ~lost)).predict(rows)[:, LIP_GAP]
    assert gap.max() < 2.0 * lips[:, LIP_GAP].max()


def test_too_little_speech_is_refused() -> None:
    rows = heard(90)
    with pytest.raises(FootageError, match=r"3\.6 s .* 4 s are wanted"):
        fit_speaker(rows, way(rows, 1))


def test_a_fit_is_kept_as_arrays() -> None:
    rows = heard(120)
    fit = fit_speaker(rows, way(rows, 1))
    again = SpeakerFit.of(fit.arrays())
    np.testing.assert_array_equal(Speaker(again).predict(rows), Speaker(fit).predict(rows))
    with pytest.raises(ValueError, match="no gain"):
        SpeakerFit.of({name: value for name, value in fit.arrays().items() if name != "gain"})
    with pytest.raises(ValueError, match="rows"):
        SpeakerFit.of(fit.arrays() | {"rows": np.zeros((3, 3), np.float32)})


def test_a_fit_to_what_is_not_heard_any_more_is_left_out() -> None:
    rows = heard(120)
    now = fit_speaker(rows, way(rows, 1))
    before = replace(now, hearing=now.hearing + 1)
    kept, lost = (voice_of(voice_arrays(OwnVoice(Habits(), fit))).fit for fit in (now, before))
    assert kept is not None
    assert lost is None


def test_codes_are_taken_at_the_time_of_rows() -> None:
    times = np.arange(60) / 30.0
    codes = np.stack([times, -times], 1).astype(np.float32)
    rows = at_rows(codes, times.astype(np.float32), 40)
    np.testing.assert_allclose(rows[:, 0], np.arange(40) / ROWS_HZ, atol=1e-5)
