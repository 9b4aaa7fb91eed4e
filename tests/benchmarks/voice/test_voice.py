"""The instrument of voices: its measures on known numbers, and the whole of it on people made of numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.records.series import correlation
from benchmarks.voice import voice
from benchmarks.voice.baselines import alone, heard_by
from benchmarks.voice.clips import Clip
from benchmarks.voice.measures import (
    area_under_curve,
    closed_share,
    jerk,
    lip_error,
    quick_share,
    resampled,
    share_interval,
    width,
)
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.voice.features import ROW, ROWS_HZ
from engine.voice.motion_code import CODE, LIDS, LIP_GAP, LIPS
from engine.voice.speaker import Speaker
from tests.engine.voice.test_speaker import heard


def wave(hz: float, rows: int = 200) -> FloatArray:
    return np.asarray(np.sin(2 * np.pi * hz * np.arange(rows) / ROWS_HZ), np.float32)


def test_measures_of_known_curves() -> None:
    slow, quick = wave(1.0), wave(6.0)
    assert correlation(slow, 2 * slow + 1) == pytest.approx(1.0, abs=1e-5)
    assert abs(correlation(slow, quick)) < 0.05
    assert correlation(slow, np.zeros_like(slow)) == 0.0
    assert jerk(quick) > 20 * jerk(slow)
    assert quick_share(quick) > 0.95 > 0.05 > quick_share(slow)
    assert area_under_curve(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert area_under_curve(slow, slow) == pytest.approx(0.5, abs=0.01)


def test_lips_shut_where_they_do() -> None:
    gap = np.ones(100, np.float32)
    gap[[25, 50]] = 0.0
    assert closed_share(gap, [1.0, 2.0, 3.0], 0.25) == pytest.approx(2 / 3)
    assert np.isnan(closed_share(gap, [], 0.25))
    assert share_interval(0.5, 100) == pytest.approx((0.404, 0.596), abs=0.001)


def test_width_and_error_are_of_lips() -> None:
    lips = np.zeros((3, 22), np.float32)
    assert lip_error(lips, lips) == 0.0
    other = lips.copy()
    other[:, 0] = 0.1
    assert 5.0 < lip_error(other, lips) < 100.0
    assert np.abs(width(other)).max() > 1e-4


def test_an_interval_holds_the_figure() -> None:
    noise = np.random.default_rng(0).normal(1.0, 1.0, 400)
    low, high = resampled([400], lambda chosen: float(noise[chosen[0]].mean()))
    assert low < 1.0 < high
    assert 0.05 < high - low < 0.5


def person(label: str, seed: int, early_ms: int) -> Clip:
    """Somebody whose lips are the base's, in another scale and with some noise, and early."""
    rows = heard(600, seed)
    times_s = np.arange(600, dtype=np.float32) / ROWS_HZ
    codes = np.zeros((600, CODE), np.float32)
    codes[:, LIDS] = 1.0
    lips = Speaker().predict(rows)
    said = times_s + early_ms / 1000.0
    codes[:, LIPS] = np.stack([np.interp(said, times_s, column) for column in lips.T], 1)
    codes[:, LIP_GAP] += 0.2 * codes[:, LIP_GAP].std() * np.random.default_rng(seed).normal(size=600)
    noise = np.random.default_rng(seed).normal(0.0, 0.1, 600 * 640) * np.repeat(wave(0.5, 600) > 0, 640)
    return Clip(label, noise.astype(np.float32), rows, times_s, codes, 60.0)


def test_the_instrument_finds_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    people = {"one": person("one", 1, 120), "two": person("two", 2, 0)}
    monkeypatch.setattr(voice, "clip_of", lambda label, film, work: people[label])
    monkeypatch.setattr(voice, "MINUTES", 0.1)
    args = argparse.Namespace(film=["one=a.mp4", "two=b.mp4"], encoder=None, headaudio=None, work=None)
    figures = voice.measure(args)
    assert [film["offset_ms"] for film in figures["films"]] == pytest.approx([120, 0], abs=20)
    methods = figures["methods"]
    assert methods["own"]["correlation"] > 0.8
    assert methods["own"]["interval"][0] < methods["own"]["correlation"] < methods["own"]["interval"][1]
    assert methods["base"]["correlation"] > methods["loudness"]["correlation"] + 0.2
    assert abs(methods["rolled"]["correlation"]) < 0.4
    assert set(methods) == {*voice.METHODS, "log_mel", "loudness"}
    assert figures["closures"] is None
    assert figures["sync"]["base"]["area"]["true"] > 0.9  # their lips are the base's
    assert figures["sync"]["base"]["agrees"] == 1.0
    assert figures["minutes"]["one"]["spread"] == pytest.approx(1.0, abs=0.1)
    assert any("own fit above" in failure for failure in figures["failures"])  # they speak as the base does


def test_what_is_no_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no --film"):
        voice.measure(argparse.Namespace(film=None, encoder=None, headaudio=None, work=None))
    short = person("one", 1, 0)
    cut = Clip("one", short.samples, short.rows[:200], short.times_s[:200], short.codes[:200], 60.0)
    monkeypatch.setattr(voice, "clip_of", lambda label, film, work: cut)
    with pytest.raises(SettingsError, match=r"one: 8\.0 s; wanted 14 s"):
        voice.measure(argparse.Namespace(film=["one=a.mp4"], encoder=None, headaudio=None, work=Path()))


def test_a_baseline_is_heard_as_strongly_as_speech_and_alone() -> None:
    heard_ = np.random.default_rng(0).normal(3.0, 0.01, (200, 5)).astype(np.float32)
    rows = alone(heard_, slice(0, 100))
    assert rows[:100].var(0).sum() == pytest.approx(ROW, rel=1e-3)
    assert not rows[:, 5:].any()
    many = np.random.default_rng(1).normal(size=(200, 2 * ROW)).astype(np.float32)
    assert alone(many, slice(0, 100)).shape == (200, ROW)


def test_a_headaudio_that_is_not_there_is_said(tmp_path: Path) -> None:
    hears = heard_by(None, None, tmp_path / "nothing")["headaudio"]
    with pytest.raises(SettingsError, match=r"--headaudio: node is not|wanted the unpacked npm package"):
        hears(person("one", 1, 0))
