"""Between two finds of a part: where it has moved meanwhile, and how far to trust it after it was lost."""

from __future__ import annotations

import math

import numpy as np

from engine.arrays import FloatArray

_STALE_NS = 400_000_000  # finds further apart than this tell no velocity
_HORIZON_S = 0.15  # a guess goes no further
_DAMPING_S = 0.06  # in this time the velocity falls to a third
_FALL_NS, _RISE_NS = 300e6, 100e6  # between no confidence and all of it


class Predictor:
    """Carries points on with their last velocity, which dies out: a wrong guess stays small.

    Slow drift is mostly noise of the finds, so speeds well below `noise_speed` are hardly carried on.
    """

    def __init__(self) -> None:
        self._points: FloatArray | None = None
        self._velocity: FloatArray | None = None  # per second
        self._time_ns = 0

    def reset(self) -> None:
        """Forget the past: the next find has no velocity."""
        self._points = self._velocity = None

    def found(self, points: FloatArray, time_ns: int, noise_speed: float) -> None:
        """points: (N, D) as found at `time_ns`; noise_speed: in their units per second."""
        elapsed_ns = time_ns - self._time_ns
        if self._points is None or not 0 < elapsed_ns <= _STALE_NS:
            self._velocity = np.zeros_like(points)
        else:
            velocity = (points - self._points) / np.float32(elapsed_ns * 1e-9)
            speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
            self._velocity = (velocity * (speed / (speed + noise_speed))).astype(np.float32)
        self._points, self._time_ns = points, time_ns

    @property
    def speed(self) -> float:
        """How fast the points move on average, in their units per second."""
        return 0.0 if self._velocity is None else float(np.linalg.norm(self._velocity, axis=-1).mean())

    def at(self, time_ns: int) -> FloatArray | None:
        """Where the points are at `time_ns`; None before the first find."""
        if self._points is None or self._velocity is None:
            return None
        ahead_s = min(max((time_ns - self._time_ns) * 1e-9, 0.0), _HORIZON_S)
        reach_s = _DAMPING_S * (1.0 - math.exp(-ahead_s / _DAMPING_S))
        return np.asarray(self._points + np.float32(reach_s) * self._velocity, np.float32)


class Fader:
    """Confidence: falls slowly when a part is lost, so that nothing blinks, rises quickly when it is back."""

    def __init__(self, count: int) -> None:
        self._value = np.zeros(count, np.float32)
        self._time_ns: int | None = None

    def reset(self) -> None:
        """Back to no confidence at all."""
        self._value[:] = 0.0
        self._time_ns = None

    def toward(self, target: FloatArray | float, time_ns: int) -> FloatArray:
        """One step to `target` (0..1); the very first one arrives at once. Returns a fresh array."""
        if self._time_ns is None:
            self._value[:] = target
        else:
            elapsed_ns = max(0, time_ns - self._time_ns)
            low, high = self._value - elapsed_ns / _FALL_NS, self._value + elapsed_ns / _RISE_NS
            self._value = np.clip(np.clip(target, low, high), 0.0, 1.0).astype(np.float32)
        self._time_ns = time_ns
        return self._value.copy()
