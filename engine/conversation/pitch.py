"""How high a voice is, as the sound comes in.

The autocorrelation of a window, divided by the window's own (Boersma, Proc. Institute of Phonetic Sciences
17, 1993), without his path search: one octave wrong now and then harms no percentile.
"""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray
from engine.voice.mel import SAMPLE_RATE_HZ

HOP_S = 0.02
LOW_HZ, HIGH_HZ = 65.0, 400.0
VOICED = 0.5  # of the correlation
OCTAVE = 0.04  # of the correlation: an octave lower must fit better by that
_HOP = round(HOP_S * SAMPLE_RATE_HZ)
_WINDOW = 640  # samples: two and a half periods of the lowest voice
_FFT = 2048
_QUIET = 1e-4  # of full scale


class Pitch:
    """One voice. A value is of the 40 ms before it was known."""

    def __init__(self) -> None:
        self._samples = np.zeros(_WINDOW - _HOP, np.float32)
        self._window = np.hanning(_WINDOW).astype(np.float32)
        own = np.fft.irfft(np.abs(np.fft.rfft(self._window, _FFT)) ** 2)
        self._lags = np.arange(int(SAMPLE_RATE_HZ / HIGH_HZ), int(SAMPLE_RATE_HZ / LOW_HZ) + 1)
        self._own = own[self._lags] / own[0]

    def push(self, samples: FloatArray) -> FloatArray:
        """samples: (n,) float32, -1..1, 16 kHz. (k,) float32 Hz, each HOP_S; 0 where nothing is voiced."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        count = max(0, (len(self._samples) - _WINDOW) // _HOP + 1)
        if not count:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, _WINDOW)[::_HOP][:count]
        power = np.abs(np.fft.rfft((windows - windows.mean(1, keepdims=True)) * self._window, _FFT)) ** 2
        correlation = np.fft.irfft(power)
        alike = correlation[:, self._lags] / np.maximum(correlation[:, :1], 1e-9) / self._own
        best = (alike - OCTAVE * np.log2(self._lags)).argmax(1)
        loud = np.sqrt(np.square(windows).mean(1)) > _QUIET
        voiced = loud & (alike[np.arange(count), best] >= VOICED)
        self._samples = self._samples[count * _HOP :]
        return np.where(voiced, SAMPLE_RATE_HZ / self._lags[best], 0.0).astype(np.float32)
