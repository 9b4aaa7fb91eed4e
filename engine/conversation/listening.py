"""A face that listens: it nods where the other pauses, looks at them, smiles when they laugh.

When to nod follows Ward and Tsukahara (J. Pragmatics 32, 2000): 110 ms of low pitch, after some speech, ask
for an answer. It is given in the pause that follows, sooner than in any other pause; where none follows,
after their 700 ms. How often and how deep is the person's own, see `engine.voice.idle.Habits`. Listeners look
at whom they hear far more than speakers do (Kendon, Acta Psychologica 26, 1967).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from engine.arrays import FloatArray
from engine.conversation.hearing import ROW_S, Hearing, Row
from engine.conversation.pitch import HOP_S
from engine.conversation.turns import State
from engine.expression.easing import Eased
from engine.expression.feeling import EMOTIONS
from engine.expression.repertoire import mean_units, repertoire_for
from engine.person import topology as topo
from engine.person.geometry import euler_deg_to_rotation
from engine.person.motion import Motion
from engine.person.retarget import Retargeter
from engine.voice.idle import Habits
from engine.voice.mel import SAMPLE_RATE_HZ

# Ward and Tsukahara's rule for English, in seconds and percent.
LOW_PITCH, LOW_S, SPOKEN_S, WAIT_S, AGAIN_S = 26.0, 0.11, 0.7, 0.7, 0.8
PAUSE_S, ASKED_PAUSE_S = 0.28, 0.16  # so long a pause asks by itself; after low pitch
_BREAK_S = 0.2  # speech with no longer a gap is one stretch
_PITCH_MEMORY = round(8.0 / HOP_S)
_LEAST_VOICED = round(1.0 / HOP_S)
SAVED = 1.5  # nods that were not nodded may still be; without a pause, one is nodded when there are so many
NOD_S = 0.56  # down and up
_AGAIN_SHARE = 0.5  # the second nod of two is half as deep
_TWICE = 0.35  # of the nods
BROWS_S, BROWS_SHARE = 0.9, 0.3  # raised for so long, with this share of the nods
BROWS = 0.5  # of the units' strength
SMILE, SMILE_S = 0.6, 2.0  # of the person's own happiness; held after the last laugh
TILT_DEG, NEARER = 1.2, 0.012  # how one who listens holds the head
LOOKS_AWAY = 0.3  # so much of the glances is left
_EASE_S, _SMILE_EASE_S = 0.25, 0.4
_HAPPY = EMOTIONS.index("happy")


class NodCues:
    """When the other's speech asks for a nod. Use: update() for each 40 ms."""

    def __init__(self) -> None:
        self._pitches: deque[float] = deque(maxlen=_PITCH_MEMORY)
        self._low_s = self._spoken_s = self._quiet_s = 0.0
        self._low_at_s: float | None = None  # when pitch was low for long, and is not answered yet
        self._last_s = -AGAIN_S
        self._answered = False  # this pause

    def update(self, speech: bool, pitches_hz: FloatArray, time_s: float, saved: float) -> bool:
        """Whether to nod now.

        speech: whether they are heard; pitches_hz: those newly known; saved: nods that may be. time_s: grows.
        """
        if speech:
            self._spoken_s = ROW_S + (0.0 if self._quiet_s > _BREAK_S else self._spoken_s)
            self._quiet_s, self._answered = 0.0, False
        else:
            self._quiet_s += ROW_S
        for pitch_hz in map(float, pitches_hz):
            self._hear(pitch_hz, time_s)
        waited_s = 0.0 if self._low_at_s is None else time_s - self._low_at_s
        asked = PAUSE_S if self._low_at_s is None else ASKED_PAUSE_S
        paused = self._quiet_s >= asked and self._spoken_s >= SPOKEN_S and not self._answered
        if waited_s >= WAIT_S:
            self._low_at_s = None
        affords = saved >= 1.0 if paused else saved >= SAVED and waited_s >= WAIT_S
        if not affords or time_s - self._last_s < AGAIN_S:
            return False
        self._low_at_s, self._answered, self._last_s = None, paused, time_s
        return True

    def _hear(self, pitch_hz: float, time_s: float) -> None:
        if not pitch_hz:
            return
        self._pitches.append(pitch_hz)
        if len(self._pitches) < _LEAST_VOICED:
            return
        is_low = pitch_hz < np.percentile(self._pitches, LOW_PITCH)
        self._low_s = self._low_s + HOP_S if is_low else 0.0
        if self._low_s >= LOW_S and self._spoken_s >= SPOKEN_S and self._low_at_s is None:
            self._low_at_s, self._low_s = time_s, 0.0


class Listening:
    """What a conversation does to a face; an `engine.pipeline.Adjustment`.

    Use: attend() to each row of a `Hearing`, at() for every picture. All times are of one clock.
    """

    def __init__(self, habits: Habits | None = None, seed: int = 0) -> None:
        self.state = State.IDLES
        self.share = 1.0  # how much of this is shown: a camera's person listens by themselves
        self.nods_s: deque[float] = deque(maxlen=1000)  # when each began
        self.smile = 0.0  # how much of one is wanted
        self.habits = habits or Habits()
        self._random = np.random.default_rng([seed, 17])
        self._cues = NodCues()
        self._laughed_s = -SMILE_S
        self._saved, self._time_s = 1.0, 0.0
        self._speaks = False  # now, not in a pause
        self._nods: deque[tuple[float, float]] = deque(maxlen=4)  # when it begins, how deep
        self._brows_s = -BROWS_S
        self._attention, self._smiling = Eased(_EASE_S), Eased(_SMILE_EASE_S)
        self._tilt = float(self._random.choice([-1.0, 1.0])) * TILT_DEG

    def attend(self, row: Row) -> None:
        """40 ms more."""
        self.state, self._speaks = row.state, row.own
        nods = self._cues.update(row.other, row.pitches_hz, row.ends_s, self._saved)
        if row.laughs:
            self._laughed_s = row.ends_s
        self.smile = SMILE if row.ends_s - self._laughed_s < SMILE_S else 0.0
        if self.state is not State.LISTENS:
            return
        self._saved = min(self._saved + ROW_S * self.habits.nods_per_min / 60.0, SAVED)
        if nods:
            self._saved -= 1.0
            self._begin_nod(row.ends_s)

    def at(self, time_s: float) -> None:
        """The next picture is of this time."""
        self._time_s = time_s

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        """See `engine.pipeline.Adjustment`; the time is that of at()."""
        time_s = self._time_s
        clock_ns = round(time_s * 1e9)
        listens = self.state is State.LISTENS and not self._speaks
        attention = self.share * float(self._attention.toward(np.asarray(float(listens)), clock_ns))
        smile = self.share * float(self._smiling.toward(np.asarray(self.smile * listens), clock_ns))
        if attention <= 0.0 and smile <= 0.0:
            return motion
        turn = attention * np.array([0.0, self._nod_deg(time_s), self._tilt], np.float32)
        units, repertoire = mean_units(), repertoire_for(retargeter)
        raised = attention * BROWS * _hump((time_s - self._brows_s) / BROWS_S)
        expression = motion.expression + raised * (units["au1"] + units["au2"])
        expression += smile * repertoire.offsets[_HAPPY]
        for iris in topo.IRISES:
            expression[iris, :2] = (1.0 - attention * (1.0 - LOOKS_AWAY)) * motion.expression[iris, :2]
        return replace(
            motion,
            rotation=euler_deg_to_rotation(turn) @ motion.rotation,
            scale=motion.scale * (1.0 + NEARER * attention),
            expression=np.asarray(expression, np.float32),
        )

    def _begin_nod(self, time_s: float) -> None:
        depth = self.habits.nod_deg * float(self._random.uniform(0.75, 1.25))
        self._nods.append((time_s, depth))
        self.nods_s.append(time_s)
        if self._random.uniform() < _TWICE:
            self._nods.append((time_s + NOD_S, _AGAIN_SHARE * depth))
        if self._random.uniform() < BROWS_SHARE:
            self._brows_s = time_s

    def _nod_deg(self, time_s: float) -> float:
        return sum(depth * _hump((time_s - begins_s) / NOD_S) for begins_s, depth in self._nods)


class Overheard:
    """Two whole sounds that begin together, heard as time goes."""

    def __init__(self, listening: Listening, own: FloatArray, other: FloatArray) -> None:
        """own, other: (n,) float32, -1..1, 16 kHz; what is missing of one is silence."""
        self.listening = listening
        self._hearing = Hearing()
        self._own, self._other = own, other
        self._at = 0

    def at(self, time_s: float, share: float = 1.0) -> State:
        """The next picture is of this time, which grows; and shows so much of the listening."""
        until = max(self._at, round(time_s * SAMPLE_RATE_HZ))
        self.listening.share = share
        self._hearing.speak(self._own[self._at : until], time_s)
        self._hearing.hear(self._other[self._at : until], time_s)
        self._at = until
        for row in self._hearing.rows(time_s):
            self.listening.attend(row)
        self.listening.at(time_s)
        return self.listening.state


def _hump(way: float) -> float:
    """0 before 0 and after 1, 1 between, without an edge."""
    return float(np.sin(np.pi * way) ** 2) if 0.0 < way < 1.0 else 0.0
