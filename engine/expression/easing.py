"""A value that goes towards another smoothly, whatever the rate of pictures."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray

_THERE = 1e-3  # nearer than that is there


class Eased:
    """Use: toward() for each picture. The first has nothing to ease from."""

    def __init__(self, constant_s: float) -> None:
        """constant_s: until all but a third of the way is gone."""
        self._constant_s = constant_s
        self._value: FloatArray | None = None
        self._seen_ns = 0

    def toward(self, goal: FloatArray, time_ns: int) -> FloatArray:
        """Where it is at this time, of the goal's shape."""
        if self._value is None:
            self._value = goal
        passed_s = max(time_ns - self._seen_ns, 0) * 1e-9
        self._seen_ns = time_ns
        way = 1.0 - float(np.exp(-passed_s / self._constant_s))
        value = self._value + (goal - self._value) * way
        self._value = np.where(np.abs(goal - value) < _THERE, goal, value)
        return self._value
