"""One-Euro filter (Casiez, Roussel, Vogel: CHI 2012) for whole arrays: steady when still, quick when moving.

The time of each sample is an argument.
"""

from __future__ import annotations

import math

import numpy as np

from engine.arrays import FloatArray


class OneEuroFilter:
    """A low-pass filter whose cut-off rises with speed: cutoff_hz = min_cutoff_hz + beta * speed / unit.

    `unit` (given with each sample) makes `beta` independent of resolution: with the size of the face in px as
    the unit, speed is in face sizes per second. The coordinates on the last axis of a (..., N, D) array share
    one speed, its Euclidean length, so that a point is smoothed alike in x, y and z.
    """

    def __init__(
        self, min_cutoff_hz: float = 1.0, beta: float = 0.0, derivative_cutoff_hz: float = 1.0
    ) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._derivative_cutoff_hz = derivative_cutoff_hz
        self._value: FloatArray | None = None
        self._speed: FloatArray | None = None  # per second
        self._time_ns = 0

    def reset(self) -> None:
        """Forget the past: the next sample passes unchanged."""
        self._value = self._speed = None

    def __call__(self, sample: FloatArray, time_ns: int, unit: float = 1.0) -> FloatArray:
        """The filtered sample, of the same shape, in a fresh array.

        A second sample of the same instant is ignored; time running backwards or another shape starts afresh.
        """
        sample = np.asarray(sample, np.float32)
        past, speed = self._value, self._speed
        if past is None or speed is None or past.shape != sample.shape or time_ns < self._time_ns:
            self._value, self._speed = sample.copy(), np.zeros_like(sample)
            self._time_ns = time_ns
            return sample.copy()
        dt_s = (time_ns - self._time_ns) * 1e-9
        if dt_s <= 0.0:
            return past.copy()
        self._time_ns = time_ns
        follow = np.float32(_alpha(self._derivative_cutoff_hz, dt_s))
        speed += follow * ((sample - past) / np.float32(dt_s) - speed)
        size = np.abs(speed) if speed.ndim < 2 else np.linalg.norm(speed, axis=-1, keepdims=True)
        cutoff_hz = self._min_cutoff_hz + self._beta * size / max(unit, 1e-6)
        gain = 1.0 / (1.0 + 1.0 / (2.0 * math.pi * dt_s * cutoff_hz))
        past += gain.astype(np.float32) * (sample - past)
        return past.copy()


def _alpha(cutoff_hz: float, dt_s: float) -> float:
    """Gain of a first-order low-pass step of `dt_s` seconds."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff_hz * dt_s))
