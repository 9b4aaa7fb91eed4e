"""What a living person never stops doing: blinks, breath, glances, a head that is never quite still.

Of a seed and a time alone: any rate of pictures gives the same life, for hours, without a seam.
Rates are of resting people: about 17 blinks a minute (Bentivoglio et al., Mov. Disord. 1997), 15 breaths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.arrays import FloatArray
from engine.person.gaze import EYEBALL, LIDS_FOLLOW
from engine.voice.motion_code import CHEST, CODE, GAZE, HEAD, LIDS, TURN

SHUTTING_S, SHUT_S, OPENING_S = 0.11, 0.10, 0.20  # of a blink; shut for less, only one eye of some avatars is
GLANCE_EVERY_S = 2.4
GLANCE_S = 0.06  # an eye is on its way
AT_CAMERA = 0.55  # of the glances
SWAY_HZ = np.array([0.043, 0.071, 0.127, 0.203, 0.331])  # of no common period
SWAY_SHARES = np.array([0.60, 0.55, 0.45, 0.30, 0.19])  # squares sum to 1
BREATH_RISE = 0.006  # shoulder distances, of the chest
BREATH_SWELL = 0.006  # of the chest's picture


@dataclass(frozen=True, slots=True)
class Habits:
    """How much a person does unasked. Standard deviations are over time."""

    blinks_per_min: float = 17.0
    breaths_per_min: float = 15.0
    glance_deg: float = 4.0  # standard deviation of the gaze beside the camera
    turn_deg: tuple[float, float, float] = (1.3, 0.9, 0.7)  # of the head: yaw, pitch, roll
    shift: tuple[float, float] = (0.018, 0.010)  # of the head: x, y, head units
    nods_per_min: float = 9.0  # while somebody else speaks
    nod_deg: float = 4.0  # how deep


class Idle:
    """Life without a driver. The same seed lives the same life."""

    def __init__(self, seed: int = 0, habits: Habits | None = None) -> None:
        self._seed = seed
        self._habits = habits or Habits()
        random = np.random.default_rng([seed, 0])
        self._phases = random.uniform(0.0, 2.0 * np.pi, (5, len(SWAY_HZ)))
        self._paces = SWAY_HZ * random.uniform(0.9, 1.1, (5, len(SWAY_HZ)))
        self._breath_phase = float(random.uniform(0.0, 2.0 * np.pi))

    def code_at(self, time_s: float) -> FloatArray:
        """(CODE,) float32: what they do at this time, lips shut."""
        code = np.zeros(CODE, np.float32)
        gaze, sway, breath = self._gaze(time_s), self._sway(time_s), self._breath(time_s)
        code[LIDS] = self._lids(time_s) * np.clip(1.0 - LIDS_FOLLOW * gaze[1], 0.0, 1.1)
        code[GAZE] = gaze
        code[TURN] = np.radians(sway[:3])
        code[HEAD][3:5] = sway[3:]
        code[CHEST][1] = -BREATH_RISE * breath
        code[CHEST][2:] = [0.5 * BREATH_SWELL * breath, 0.0, 0.0, BREATH_SWELL * breath]
        return code

    def _sway(self, time_s: float) -> FloatArray:
        """(5,) yaw, pitch, roll in degrees; x, y in head units."""
        waves = np.sin(2.0 * np.pi * self._paces * time_s + self._phases) @ SWAY_SHARES * np.sqrt(2.0)
        return np.asarray(waves * [*self._habits.turn_deg, *self._habits.shift], np.float32)

    def _breath(self, time_s: float) -> float:
        """-1 out to 1 in; breathing in is the shorter part."""
        phase = 2.0 * np.pi * self._habits.breaths_per_min / 60.0 * time_s + self._breath_phase
        return float(np.sin(phase + 0.4 * np.sin(phase)))

    def _lids(self, time_s: float) -> float:
        """How far the lids are open, 0 to 1."""
        if self._habits.blinks_per_min <= 0:
            return 1.0
        every_s = 60.0 / self._habits.blinks_per_min
        slot = int(np.floor(time_s / every_s))
        return min(self._blink(time_s, every_s, number) for number in (slot - 1, slot))

    def _blink(self, time_s: float, every_s: float, number: int) -> float:
        begins_s = (number + self._random(1, number).uniform(0.0, 0.85)) * every_s
        return float(
            np.interp(
                time_s - begins_s,
                [0.0, SHUTTING_S, SHUTTING_S + SHUT_S, SHUTTING_S + SHUT_S + OPENING_S],
                [1.0, 0.0, 0.0, 1.0],
            )
        )

    def _gaze(self, time_s: float) -> FloatArray:
        """(2,) head units, right and down in the picture: where the irises are beside the camera's."""
        slot = int(np.floor(time_s / GLANCE_EVERY_S))
        began_s = self._glance_s(slot)
        if time_s < began_s:
            slot, began_s = slot - 1, self._glance_s(slot - 1)
        way = min((time_s - began_s) / GLANCE_S, 1.0)
        before, after = self._look(slot - 1), self._look(slot)
        return np.asarray(before + way * (after - before), np.float32)

    def _glance_s(self, slot: int) -> float:
        return float((slot + self._random(2, slot).uniform(0.0, 0.8)) * GLANCE_EVERY_S)

    def _look(self, slot: int) -> FloatArray:
        random = self._random(3, slot)
        if random.uniform() < AT_CAMERA:
            return np.zeros(2, np.float32)
        angles = np.radians(self._habits.glance_deg) * random.standard_normal(2) * [1.0, 0.5]
        return np.asarray(EYEBALL * np.sin(np.clip(angles, -0.25, 0.25)), np.float32)

    def _random(self, what: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, what, number % 2**32])
