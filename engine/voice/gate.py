"""Whether somebody speaks, from loudness alone: how far a sound stands above what is quiet in it. Causal."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import numpy as np

from engine.arrays import FloatArray
from engine.voice.features import ROWS_HZ, SAMPLES_A_ROW

QUIET_DB, LOUD_DB = 6.0, 12.0  # above the quiet: below the one nobody speaks, above the other somebody does
FLOOR_DB = -65.0  # of full scale: no room is believed to be quieter
_EXPECTED_DB = -45.0  # what is quiet is no louder than that before it was heard
_PATIENCE_S = 2.0  # until it is believed to be louder
_MEMORY_S = 6.0  # nobody speaks for longer without a gap
_GAPS = 10.0  # percent of the time


class SpeechGate:
    """One sound. Rows are as in `engine.voice.features`: each is of the 40 ms around its time."""

    def __init__(self) -> None:
        self._samples = np.zeros(SAMPLES_A_ROW // 2, np.float32)
        self._levels: deque[float] = deque()
        self._sorted: list[float] = []

    def push(self, samples: FloatArray) -> FloatArray:
        """samples: (n,) float32, -1..1, 16 kHz. (k,) float32 of the rows now known: 0 quiet, 1 speech."""
        self._samples = np.concatenate([self._samples, samples])
        count = len(self._samples) // SAMPLES_A_ROW
        rows = self._samples[: count * SAMPLES_A_ROW].reshape(count, SAMPLES_A_ROW)
        self._samples = self._samples[count * SAMPLES_A_ROW :]
        power = np.square(rows, dtype=np.float64).mean(axis=1)
        levels = np.maximum(10.0 * np.log10(power + 1e-12), FLOOR_DB)
        return np.array([self._openness(float(level)) for level in levels], np.float32)

    def _openness(self, level_db: float) -> float:
        self._levels.append(level_db)
        insort(self._sorted, level_db)
        if len(self._levels) > _MEMORY_S * ROWS_HZ:
            del self._sorted[bisect_left(self._sorted, self._levels.popleft())]
        quiet_db = self._sorted[round(_GAPS / 100.0 * (len(self._sorted) - 1))]
        if len(self._levels) < _PATIENCE_S * ROWS_HZ:
            quiet_db = min(quiet_db, _EXPECTED_DB)
        return min(max((level_db - quiet_db - QUIET_DB) / (LOUD_DB - QUIET_DB), 0.0), 1.0)
