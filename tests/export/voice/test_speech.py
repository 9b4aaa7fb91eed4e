"""Recordings as they might have come: as long as they were, and not later."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.errors import SettingsError
from export.voice.phones import stretches
from export.voice.speech import LOUDEST, as_it_came, at_speed, clean_speech, speech_files, through_codec
from export.voice.teacher import FEATURES, HOP_S, at_rate


def speech(seconds: float = 2.0) -> FloatArray:
    """Noise that comes and goes."""
    at = np.arange(int(16_000 * seconds)) / 16_000
    loud = np.maximum(np.sin(2 * np.pi * 3 * at), 0.0)
    return np.asarray(0.3 * loud * np.random.default_rng(0).normal(size=len(at)), np.float32)


def lag(a: FloatArray, b: FloatArray) -> int:
    """Samples by which b is later."""
    spectrum = np.fft.rfft(a, 2 * len(a)).conj() * np.fft.rfft(b, 2 * len(b))
    best = int(np.fft.irfft(spectrum).argmax())
    return best if best < len(a) else best - 2 * len(a)


def test_a_codec_leaves_speech_where_it_was() -> None:
    clean = speech()
    heard = through_codec(clean, "libopus", "ogg", 24_000)
    assert heard.shape == clean.shape
    assert abs(lag(clean, heard)) <= 16  # 1 ms


@pytest.mark.parametrize("seed", range(4))
def test_whatever_it_came_through(seed: int) -> None:
    clean = speech()
    heard = as_it_came(clean, speech(1.0)[::-1].copy(), np.random.default_rng(seed))
    assert heard.shape == clean.shape
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1.0
    assert abs(lag(clean, heard)) <= 32
    assert np.abs(heard - clean).max() > 0.01


def test_speed_changes_length_and_pitch() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
    quick = at_speed(tone, 1.25)
    assert len(quick) == pytest.approx(12_800, abs=2)
    assert np.abs(np.fft.rfft(quick[:12_800])).argmax() * 16_000 / 12_800 == pytest.approx(250, abs=2)


def test_stretches_are_the_whole_and_cut_where_it_is_quiet() -> None:
    sound = speech(20.0) + np.float32(0.01) * np.sin(np.arange(320_000)).astype(np.float32)
    sound[int(4.5 * 16_000) : int(4.9 * 16_000)] = 0.0
    found = stretches(sound)
    assert found[0][0] == 0
    assert found[-1][1] == len(sound)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert 4.5 <= found[0][1] / 16_000 <= 4.9
    assert max(end - start for start, end in found) <= 7 * 16_000


def test_teacher_s_features_are_taken_at_the_student_s_time() -> None:
    middles = (np.arange(50) + 0.5) * HOP_S
    rows = at_rate(np.repeat(middles[:, None], FEATURES, 1).astype(np.float32), 40, 0.02)
    np.testing.assert_allclose(rows[2:, 0], np.arange(2, 40) * 0.02, atol=1e-5)


def test_recordings_are_found_and_levelled(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no \.flac or \.wav"):
        speech_files(tmp_path)
    path = tmp_path / "reader" / "a.wav"
    path.parent.mkdir()
    with av.open(path, "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000)
        stream.codec_context.layout = "mono"
        samples = (speech() * 5_000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert speech_files(tmp_path) == [path]
    clean = clean_speech(path)
    assert np.abs(clean).max() == pytest.approx(LOUDEST, abs=1e-3)
    assert len(clean) == pytest.approx(32_000, abs=100)
