"""Log-mel frames of speech, and their levelling: what is left when loudness and microphone are taken out.

Causal: a frame needs `FRAME_AHEAD_S` of sound after its own time, and its level only what came before.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.compiled import compiled

SAMPLE_RATE_HZ = 16_000
HOP = 160  # samples between frames: 100 Hz
WINDOW = 400  # samples, centred on the frame's time
MELS = 40
LEAD = WINDOW // 2 + HOP  # samples of silence, see `led`
FRAME_AHEAD_S = WINDOW / 2 / SAMPLE_RATE_HZ
_FFT = 512
_LOW_HZ, _HIGH_HZ = 60.0, 7600.0
_FLOOR = 1e-8  # of power: below the noise of 16-bit sound
LEVEL_SCALE = 3.0  # nats of log power that count as one

# Levelling: the mean of each band over what is loud, as it would be without any sound yet. LibriSpeech's.
_PRIOR_NATS = -9.0
_PRIOR_FRAMES = 8.0
_MEMORY_FRAMES = 500.0  # of loud ones
_LOUD_NATS = 4.0  # below the recent peak
_PEAK_FALL_NATS = 0.004  # a frame


@cache
def mel_filters() -> NDArray[np.float32]:
    """(257, 40) float32, triangles evenly spaced on the mel scale (O'Shaughnessy)."""
    mel = np.linspace(_to_mel(_LOW_HZ), _to_mel(_HIGH_HZ), MELS + 2)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    hz = np.arange(_FFT // 2 + 1) * SAMPLE_RATE_HZ / _FFT
    rising = (hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(np.minimum(rising, falling), 0.0)
    return np.asarray(filters / filters.sum(0), np.float32)


def _to_mel(hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hz / 700.0))


def led(samples: FloatArray) -> FloatArray:
    """A sound led by silence: frame 2 j + 1 of its `log_mel` is centred on 20 j ms of the sound."""
    return np.concatenate([np.zeros(LEAD, np.float32), samples])


def log_mel(samples: FloatArray) -> FloatArray:
    """(n, 40) float32 log power of every whole window; frame i is centred on sample WINDOW / 2 + i HOP.

    samples: (m,) float32, -1..1, 16 kHz.
    """
    count = max(0, (len(samples) - WINDOW) // HOP + 1)
    if count == 0:
        return np.zeros((0, MELS), np.float32)
    windows = np.lib.stride_tricks.as_strided(
        samples, (count, WINDOW), (HOP * samples.strides[0], samples.strides[0])
    )
    bins = np.fft.rfft(windows * _hann(), _FFT)
    power = (np.square(bins.real) + np.square(bins.imag)).astype(np.float32)
    return np.asarray(np.log(power @ _power_filters() + np.float32(_FLOOR)), np.float32)


@cache
def _hann() -> FloatArray:
    return np.hanning(WINDOW).astype(np.float32)


@cache
def _power_filters() -> FloatArray:
    return mel_filters() / np.float32(_FFT)


class Levelling:
    """Takes each band's running mean over loud frames out of log-mel frames, of a batch of sounds at once."""

    def __init__(self, *batch: int) -> None:
        """batch: leading dimensions of the frames that will come."""
        count = int(np.prod(batch, dtype=int))
        self._sum = np.full((count, MELS), _PRIOR_FRAMES * _PRIOR_NATS, np.float32)
        self._state = np.tile(np.array([_PRIOR_FRAMES, _PRIOR_NATS - _LOUD_NATS], np.float32), (count, 1))

    def push(self, frames: FloatArray) -> FloatArray:
        """frames: (..., n, 40) log power; the same levelled, in units of LEVEL_SCALE nats."""
        out = np.ascontiguousarray(frames, np.float32).copy()
        _level(out.reshape(-1, *frames.shape[-2:]), self._sum, self._state)
        return out


@compiled
def _level(frames: FloatArray, sums: FloatArray, states: FloatArray) -> None:  # pragma: no cover - compiled
    """In place. frames: (B, n, 40); sums: (B, 40) of loud ones; states: (B, 2) their count, the peak."""
    keep = np.float32(1.0 - 1.0 / _MEMORY_FRAMES)
    bands = np.float32(frames.shape[2])
    for sound in range(frames.shape[0]):
        total, (count, peak) = sums[sound], states[sound]
        for row in range(frames.shape[1]):
            frame = frames[sound, row]
            level = np.float32(0.0)
            for band in range(frame.shape[0]):
                level += frame[band]
            level /= bands
            peak = max(level, peak - np.float32(_PEAK_FALL_NATS))
            is_loud = level > peak - np.float32(_LOUD_NATS)
            if is_loud:
                count = keep * count + np.float32(1.0)
            for band in range(frame.shape[0]):
                if is_loud:
                    total[band] = keep * total[band] + frame[band]
                frame[band] = (frame[band] - total[band] / count) / np.float32(LEVEL_SCALE)
        states[sound, 0], states[sound, 1] = count, peak
