"""Whether somebody laughs: a row of even bursts that sound alike, with a gap after each.

Laughter comes in bouts of short calls, about five a second, of much the same vowel (Bachorowski, Smoski and
Owren, J. Acoust. Soc. Am. 110, 2001). Syllables come as fast, but neither so evenly nor so alike. A rule, no
network: who laughs without such calls is not noticed.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from engine.arrays import FloatArray
from engine.voice.mel import SAMPLE_RATE_HZ

CALLS = 4  # in a row
EVERY_S = (0.11, 0.34)  # from call to call
UNEVEN = 0.22  # standard deviation of those, as a share of their mean
ALIKE = 0.92  # correlation of the spectra of neighbouring calls
DEPTH_DB = 9.0  # between calls it is quieter by that, on both sides
_HOP = SAMPLE_RATE_HZ // 100
_SMOOTH = 3  # hops
_SPECTRUM = 512  # samples of which a call's is taken, where it is loudest
_BANDS = np.unique(np.geomspace(3, _SPECTRUM // 2, 20).astype(int))  # edges, from 90 Hz on
_FLOOR_DB, _LOUD_DB = -70.0, -45.0  # of full scale; a call is louder than the second


class Laughter:
    """One voice."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)
        self._levels: deque[float] = deque([_FLOOR_DB] * _SMOOTH, maxlen=_SMOOTH)
        self._hops = 0
        self._peak = self._valley = _FLOOR_DB  # loudest since the last gap, quietest since the last call
        self._peak_hop = 0
        self._rising = True
        self._recent = np.zeros(_SPECTRUM, np.float32)
        self._spectrum: FloatArray | None = None  # at the loudest
        self._calls: deque[tuple[int, FloatArray]] = deque(maxlen=CALLS)  # when it was loudest, its spectrum

    def push(self, samples: FloatArray) -> bool:
        """samples: (n,) float32, -1..1, 16 kHz. Whether a bout was heard to be going on in them."""
        self._samples = np.concatenate([self._samples, samples])
        count = len(self._samples) // _HOP
        hops = self._samples[: count * _HOP].reshape(count, _HOP)
        self._samples = self._samples[count * _HOP :]
        levels = 10.0 * np.log10(np.square(hops, dtype=np.float64).mean(1) + 1e-12)
        heard = [
            self._laughs(max(float(level), _FLOOR_DB), hop) for level, hop in zip(levels, hops, strict=True)
        ]
        return any(heard)

    def _laughs(self, level_db: float, samples: FloatArray) -> bool:
        """A call is done once it is quieter by DEPTH_DB; the next begins once it is louder by as much."""
        self._recent = np.concatenate([self._recent[_HOP:], samples])
        self._levels.append(level_db)
        smooth = float(np.mean(self._levels))
        self._hops += 1
        if self._rising:
            if smooth > self._peak:
                self._peak, self._peak_hop, self._spectrum = smooth, self._hops, None
            if self._hops == self._peak_hop + 1:  # the loudest so far is in the middle of what is kept
                self._spectrum = _bands(self._recent)
            if smooth < self._peak - DEPTH_DB:
                self._rising, self._valley = False, smooth
                if self._peak < _LOUD_DB or self._spectrum is None:
                    self._calls.clear()
                    return False
                self._calls.append((self._peak_hop, self._spectrum))
                return self._is_bout()
        else:
            self._valley = min(self._valley, smooth)
            if smooth > self._valley + DEPTH_DB:
                self._rising, self._peak, self._peak_hop = True, smooth, self._hops
        return False

    def _is_bout(self) -> bool:
        if len(self._calls) < CALLS:
            return False
        every_s = np.diff([hop for hop, _ in self._calls]) * (_HOP / SAMPLE_RATE_HZ)
        even = float(every_s.std()) <= UNEVEN * float(every_s.mean())
        if not even or every_s.min() < EVERY_S[0] or every_s.max() > EVERY_S[1]:
            return False
        spectra = [spectrum for _, spectrum in self._calls]
        return all(float(np.corrcoef(a, b)[0, 1]) >= ALIKE for a, b in pairwise(spectra))


def _bands(samples: FloatArray) -> FloatArray:
    """(B,) dB in bands that grow wider upwards."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    sums = np.add.reduceat(power, _BANDS)[:-1]
    return np.asarray(10.0 * np.log10(sums + 1e-9), np.float32)
