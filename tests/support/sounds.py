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
