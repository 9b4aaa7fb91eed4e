"""Sounds made up for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from engine.arrays import FloatArray


def babble(seconds: float, rate_hz: int = 16_000, seed: int = 0) -> FloatArray:
    """(n,) float32: a buzz in syllables, as loud as speech and of its pitch; no words."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = 120.0 * times + 0.4 * np.sin(2.0 * np.pi * 0.7 * times)
    buzz = sum(np.sin(2.0 * np.pi * harmonic * pitch) / harmonic for harmonic in range(1, 20))
    syllables = np.maximum(np.sin(2.0 * np.pi * 4.0 * times), 0.05)
    return np.asarray(0.15 * buzz * syllables + 1e-4 * random.standard_normal(len(times)), np.float32)


def hush(seconds: float, rate_hz: int = 16_000) -> FloatArray:
    """(n,) float32: a quiet room."""
    count = round(seconds * rate_hz)
    return np.asarray(1e-4 * np.random.default_rng(1).standard_normal(count), np.float32)


def write_sound(path: Path, samples: FloatArray, rate_hz: int, codec: str, channels: int = 1) -> Path:
    """samples: (n,) float32, the same on all channels."""
    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(np.tile(samples, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        for whole in [*resampler.resample(frame), None]:
            out.mux(stream.encode(whole))
    return path


def vowel(seconds: float, pitch_hz: float, formants_hz: tuple[float, float, float]) -> FloatArray:
    """(n,) float32, 16 kHz: somebody's vowel in syllables; another pitch and mouth are another voice."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2.0 * np.pi * np.cumsum(pitch_hz * (1.0 + 0.05 * np.sin(2.0 * np.pi * 0.7 * times))) / 16_000
    sound = np.zeros(len(times))
    for harmonic in range(1, int(7_000 / pitch_hz)):
        near = [np.exp(-0.5 * ((harmonic * pitch_hz - formant) / 150.0) ** 2) for formant in formants_hz]
        sound += np.sin(harmonic * phase) * np.dot(near, (1.0, 0.6, 0.3)) / np.sqrt(harmonic)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(times))
    return np.asarray(0.1 * sound * np.maximum(np.sin(2.0 * np.pi * 4.0 * times), 0.05) + noise, np.float32)
