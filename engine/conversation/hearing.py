"""Both sounds of a conversation, heard once: who is heard, how high, whether they laugh, whose turn it is.

Whatever wants to know of a conversation takes its rows from here. Causal; time comes in as an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from engine.arrays import FloatArray
from engine.conversation.laughter import Laughter
from engine.conversation.pitch import Pitch
from engine.conversation.turns import SPEECH, State, Turns
from engine.voice.features import ROWS_HZ
from engine.voice.gate import SpeechGate

ROW_S = 1.0 / ROWS_HZ
STALE_S = 0.25  # without sound: nobody speaks
_PULL = 0.1  # of what a row's sound comes early or late, its time is moved: jitter is no time


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """ROW_S of a conversation."""

    ends_s: float
    own: bool  # whether the avatar is heard
    other: bool  # whether the other one is
    pitches_hz: FloatArray  # (k,) float32 newly known of the other, see `Pitch`
    laughs: bool  # the other one
    state: State  # from now on


class Hearing:
    """Use: speak() and hear() as sound comes in, then rows(). All times are of one clock, in seconds."""

    def __init__(self) -> None:
        self.state = State.IDLES
        self._turns = Turns()
        self._own_gate, self._gate = SpeechGate(), SpeechGate()
        self._own: deque[tuple[float, bool]] = deque(maxlen=10 * ROWS_HZ)  # when it ends, whether they speak
        self._other: deque[tuple[float, bool]] = deque(maxlen=10 * ROWS_HZ)
        self._pitch, self._laughter = Pitch(), Laughter()
        self._pitches_hz: list[float] = []
        self._laughs = False
        self._heard_s = -np.inf  # up to here there is sound of the other
        self._row_s: float | None = None  # up to here there are rows

    def speak(self, samples: FloatArray, until_s: float) -> None:
        """What the avatar says. samples: (n,) float32, -1..1, 16 kHz; the last of them is of `until_s`."""
        self._own.extend(_rows(self._own_gate, samples, until_s))

    def hear(self, samples: FloatArray, until_s: float) -> None:
        """What the other says; as in speak()."""
        self._other.extend(_rows(self._gate, samples, until_s))
        self._pitches_hz.extend(self._pitch.push(samples).tolist())
        self._laughs |= self._laughter.push(samples)
        self._heard_s = until_s

    def hush(self, time_s: float) -> None:
        """What the avatar was to say after this time, it does not."""
        self._own = deque((row for row in self._own if row[0] <= time_s), self._own.maxlen)

    def rows(self, now_s: float) -> list[Row]:
        """Those newly known. Where no sound of the other comes, they are silent, and come as time goes."""
        if self._row_s is None or now_s - self._row_s > 1.0:
            self._row_s = now_s - ROW_S
        found = []
        while self._other:
            stamped_s, heard = self._other.popleft()
            step_s = stamped_s - self._row_s
            if step_s > STALE_S:
                self._row_s = stamped_s
            else:
                self._row_s += max(ROW_S + _PULL * (step_s - ROW_S), ROW_S / 2)
            found.append(self._row(self._row_s, heard))
        while now_s - self._heard_s > STALE_S and self._row_s + ROW_S <= now_s:
            self._row_s += ROW_S
            found.append(self._row(self._row_s, other=False))
        return found

    def _row(self, ends_s: float, other: bool) -> Row:
        while len(self._own) > 1 and self._own[1][0] <= ends_s:
            self._own.popleft()
        own = bool(self._own) and 0.0 <= ends_s - self._own[0][0] < STALE_S and self._own[0][1]
        self.state = self._turns.update(own, other, ends_s)
        pitches, laughs = np.array(self._pitches_hz, np.float32), self._laughs
        self._pitches_hz, self._laughs = [], False
        return Row(ends_s, own, other, pitches, laughs, self.state)


def _rows(gate: SpeechGate, samples: FloatArray, until_s: float) -> list[tuple[float, bool]]:
    spoken = gate.push(samples)
    first_s = until_s - (len(spoken) - 1) * ROW_S
    return [(first_s + number * ROW_S, bool(one >= SPEECH)) for number, one in enumerate(spoken)]
