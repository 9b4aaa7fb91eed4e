"""What is heard, as 25 rows of numbers a second, while the sound comes in. Causal, the same in any pieces.

A row is of what was heard at `k / ROWS_HZ` s and is known LOOK_AHEAD_S later.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np

from engine.arrays import FloatArray
from engine.voice.mel import FRAME_AHEAD_S, HOP, LEAD, MELS, SAMPLE_RATE_HZ, WINDOW, Levelling, log_mel
from engine.voice.student import DELAY, FEATURES, STACK, STEP_S, Student

ROWS_HZ = 25
SAMPLES_A_ROW = SAMPLE_RATE_HZ // ROWS_HZ
_FRAMES_A_ROW = SAMPLES_A_ROW // HOP
_STEPS_A_ROW = _FRAMES_A_ROW // STACK
LOOK_AHEAD_S = DELAY * STEP_S + FRAME_AHEAD_S

# Columns of a row:
SPEECH = slice(0, FEATURES)  # the student's, each of variance about 1
MEL = slice(FEATURES, FEATURES + MELS)  # levelled log-mel around the row's time
LOUDNESS = FEATURES + MELS  # nats above the quiet that was heard, in units of LEVEL_SCALE; speech is above 1
ROW = FEATURES + MELS + 1
SPEAKS = 1.0  # of LOUDNESS: louder is speech

_QUIET_RISE = 0.001  # a frame: how quickly what is taken for quiet follows a louder room
_DIGITAL_SILENCE = -5.0  # of levelled loudness: no quieter room is believed


class VoiceFeatures:
    """Rows of one sound. Samples go in as they come; rows come out when they are known."""

    def __init__(self, weights: Mapping[str, FloatArray] | None = None) -> None:
        """weights: of the student, see `student_weights`, which is the default."""
        self._student = Student(student_weights() if weights is None else weights)
        self._levelling = Levelling()
        # So led, the last of each row's steps is that of its time.
        self._samples = np.zeros(LEAD + (_STEPS_A_ROW - 1) * STACK * HOP, np.float32)
        self._mels = np.zeros((0, MELS), np.float32)  # levelled, from the first of the next row on
        self._unheard_frames = _FRAMES_A_ROW // 2  # these are before the first row's
        self._unheard_rows = DELAY // _STEPS_A_ROW
        self._quiet = float("inf")

    def push(self, samples: FloatArray) -> FloatArray:
        """samples: (n,) float32, -1..1, 16 kHz. The (k, ROW) float32 rows that are now known, in order."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        count = ((len(self._samples) - WINDOW) // HOP + 1) // _FRAMES_A_ROW
        if count <= 0:
            return np.zeros((0, ROW), np.float32)
        frames = count * _FRAMES_A_ROW
        levelled = self._levelling.push(log_mel(self._samples[: WINDOW + (frames - 1) * HOP]))
        self._samples = self._samples[frames * HOP :]
        heard = self._student.push(levelled)[_STEPS_A_ROW - 1 :: _STEPS_A_ROW]
        self._mels = np.concatenate([self._mels, levelled[self._unheard_frames :]])
        self._unheard_frames = 0
        late = min(self._unheard_rows, count)
        self._unheard_rows -= late
        return self._rows(heard[late:])

    def _rows(self, heard: FloatArray) -> FloatArray:
        out = np.empty((len(heard), ROW), np.float32)
        frames = len(heard) * _FRAMES_A_ROW
        mels = self._mels[:frames].reshape(len(heard), _FRAMES_A_ROW, MELS)
        self._mels = self._mels[frames:]
        out[:, SPEECH] = heard
        out[:, MEL] = mels.mean(1)
        for row, loudness in enumerate(mels.mean(2).tolist()):
            out[row, LOUDNESS] = self._above_quiet(loudness)
        return out

    def _above_quiet(self, loudness: list[float]) -> float:
        """Mean of a row's frames above the running minimum, which rises slowly."""
        for value in loudness:
            self._quiet = min(max(value, _DIGITAL_SILENCE), self._quiet + _QUIET_RISE)
        return sum(loudness) / len(loudness) - self._quiet


def features_of(samples: FloatArray, weights: Mapping[str, FloatArray] | None = None) -> FloatArray:
    """(ceil(n / SAMPLES_A_ROW), ROW) float32: the rows of a whole sound, the same that `push` gives.

    samples: (n,) float32, -1..1, 16 kHz; silence is heard after its end.
    """
    count = -(-len(samples) // SAMPLES_A_ROW)
    after = np.zeros(int(2 * LOOK_AHEAD_S * SAMPLE_RATE_HZ), np.float32)
    return VoiceFeatures(weights).push(np.concatenate([samples, after]))[:count]


@cache
def student_weights() -> dict[str, FloatArray]:
    """Those that come with avatarcast."""
    with files("engine").joinpath("assets/voice/student.npz").open("rb") as stream, np.load(stream) as stored:
        return {name: stored[name] for name in stored.files}
