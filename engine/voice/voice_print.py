"""Whose voice it is: a print of a voice, and whether what is heard now is the voice of a print.

The network is Resemblyzer's (three LSTMs; Wan et al., "Generalized End-to-End Loss for Speaker Verification",
arXiv:1710.10467; see .ci/voice_print.py), run by ONNX Runtime. It maps 1.6 s of speech to 256 numbers that
point one way where the voice is the same. What that is worth, measured, stands in TRUST.md. No sound is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from engine.arrays import DoubleArray, FloatArray
from engine.voice.features import SAMPLES_A_ROW
from engine.voice.gate import SpeechGate
from engine.voice.mel import SAMPLE_RATE_HZ

NUMBERS = 256  # of a print, at least 0, of length 1
LEAST_S = 8.0  # of speech that a print is made of
# Cosine between a print and the mean of the last windows: below, it is another voice. Chosen on readers of
# LibriSpeech of whom no figure is quoted.
SAME = 0.65
WORDS = "voice print"  # what a consent says where one is kept

_WINDOW, _STEP = 25_840, 12_800  # samples: 160 mel frames, 0.8 s
_SPEAKS = 0.5  # of SpeechGate
_GOES_ON_ROWS = 4  # after speech
_LEVEL = 10 ** (-30 / 20)  # root mean square, of full scale, at which the network was shown speech
_HOP, _FRAME, _MELS = 160, 400, 40
_LAST, _FEWEST = 5, 3  # windows that a verdict is of: 4.8 s of speech, 3.2 s at first


class Whose(Enum):
    """What is known of a voice."""

    UNKNOWN = "unknown"  # too little was heard yet
    OWN = "own"
    OTHER = "other"


def consent_names_print(statement: str) -> bool:
    """Whether who agreed also agreed to a print of their voice: the statement says WORDS."""
    return WORDS in " ".join(statement.lower().replace("voiceprint", WORDS).split())


class SpeechWindows:
    """Cuts the speech of one sound, without its silences, into windows that overlap by half."""

    def __init__(self) -> None:
        self._gate = SpeechGate()
        # Led, since a row of the gate is of the 40 ms around its time.
        self._samples = np.zeros(SAMPLES_A_ROW // 2, np.float32)
        self._speech = np.zeros(0, np.float32)
        self._goes_on = 0  # rows

    def push(self, samples: FloatArray) -> list[FloatArray]:
        """samples: (n,) float32, -1..1, 16 kHz. The windows that are now full, each (_WINDOW,)."""
        spoken = self._gate.push(samples)
        self._samples = np.concatenate([self._samples, samples])
        rows = self._samples[: len(spoken) * SAMPLES_A_ROW].reshape(len(spoken), SAMPLES_A_ROW)
        self._samples = self._samples[len(spoken) * SAMPLES_A_ROW :]
        kept = []
        for row, share in zip(rows, spoken.tolist(), strict=True):
            self._goes_on = _GOES_ON_ROWS if share > _SPEAKS else self._goes_on - 1
            if self._goes_on >= 0:
                kept.append(row)
        self._speech = np.concatenate([self._speech, *kept])
        windows = []
        while len(self._speech) >= _WINDOW:
            windows.append(self._speech[:_WINDOW])
            self._speech = self._speech[_STEP:]
        return windows


def embedded(windows: Sequence[FloatArray]) -> FloatArray:
    """(n, NUMBERS) float32, each of length 1; 10 ms of work a window."""
    if not windows:
        return np.zeros((0, NUMBERS), np.float32)
    return np.concatenate(
        [_network().run(None, {"mels": _mels(window)[None]})[0] for window in windows], dtype=np.float32
    )


def print_of(sounds: Sequence[FloatArray]) -> FloatArray | None:
    """(NUMBERS,) float32 of one person's sounds, each (n,) as in `SpeechWindows`; None below LEAST_S."""
    windows = [window for samples in sounds for window in SpeechWindows().push(samples)]
    if len(windows) * _STEP < LEAST_S * SAMPLE_RATE_HZ:
        return None
    return mean_print(embedded(windows))


def mean_print(windows: FloatArray) -> FloatArray:
    """(NUMBERS,) of length 1; windows: as `embedded` gives them."""
    mean = windows.mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def likenesses(own: FloatArray, windows: FloatArray) -> DoubleArray:
    """(m,) cosines of a print with each run of as many windows as a verdict is of; see SAME."""
    runs = [mean_print(windows[at : at + _LAST]) for at in range(len(windows) - _LAST + 1)]
    return np.array([float(own @ run) for run in runs], np.float64)


class VoiceCheck:
    """Compares what is heard with a print. `push` is cheap; `judge` may be called in another thread."""

    def __init__(self, own: FloatArray) -> None:
        """own: (NUMBERS,), see `print_of`."""
        self.whose = Whose.UNKNOWN
        self.likeness = 0.0  # cosine, of the last verdict
        self._own = own
        self._windows = SpeechWindows()
        self._last: deque[FloatArray] = deque(maxlen=_LAST)

    def push(self, samples: FloatArray) -> list[FloatArray]:
        """samples: (n,) float32, -1..1, 16 kHz. What `judge` is to get, if there is anything."""
        return self._windows.push(samples)

    def judge(self, windows: Sequence[FloatArray]) -> None:
        """Takes these into account, in order."""
        self._last.extend(embedded(windows))
        if len(self._last) >= _FEWEST:
            self.likeness = float(self._own @ mean_print(np.stack(self._last)))
            self.whose = Whose.OWN if self.likeness >= SAME else Whose.OTHER


def _mels(window: FloatArray) -> FloatArray:
    """(160, 40) float32: power, not its logarithm, in bands of Slaney's scale, as the network knows it."""
    level = float(np.sqrt(np.square(window, dtype=np.float64).mean()))
    levelled = (window * (_LEVEL / max(level, 1e-9))).astype(np.float32)
    count = (len(levelled) - _FRAME) // _HOP + 1
    stride = levelled.strides[0]
    frames = np.lib.stride_tricks.as_strided(levelled, (count, _FRAME), (_HOP * stride, stride))
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FRAME) / _FRAME)
    bins = np.fft.rfft(frames * hann.astype(np.float32))
    return np.asarray((np.square(bins.real) + np.square(bins.imag)) @ _filters(), np.float32)


@cache
def _filters() -> FloatArray:
    """(201, 40): triangles of equal area, even below 1 kHz and logarithmic above (Slaney, 1998)."""
    first_log_hz, first_log, step = 1000.0, 15.0, np.log(6.4) / 27.0
    marks = np.linspace(0.0, first_log + np.log(SAMPLE_RATE_HZ / 2 / first_log_hz) / step, _MELS + 2)
    log_hz = first_log_hz * np.exp(step * (marks - first_log))
    edges = np.where(marks < first_log, marks * first_log_hz / first_log, log_hz)
    hz = np.arange(_FRAME // 2 + 1) * SAMPLE_RATE_HZ / _FRAME
    rising = (hz[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hz[:, None]) / np.diff(edges)[1:]
    triangles = np.maximum(np.minimum(rising, falling), 0.0)
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2])), np.float32)


@lru_cache(maxsize=1)
def _network() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = files("engine").joinpath("assets/voice/print.onnx").read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
