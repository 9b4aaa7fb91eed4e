"""What a face is to express: six emotions, each 0 to 1, and when."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise

import numpy as np

from engine.arrays import FloatArray
from engine.errors import SettingsError

NEUTRAL_NAME = "neutral"
# Valence and arousal of each, -1 to 1 (Russell and Mehrabian, J. Research in Personality 11, 1977, rounded).
PLACES = np.array([(0.8, 0.5), (-0.6, -0.3), (-0.5, 0.6), (-0.6, 0.6), (-0.6, 0.35), (0.4, 0.7)], np.float32)
SHARPNESS = 6.0  # power of the cosine by which an emotion answers to a direction in that plane
MOST_STEPS = 1000  # of a schedule


@dataclass(frozen=True, slots=True)
class Feeling:
    """How strong each emotion is, 0 to 1. All 0 is neutral."""

    happy: float = 0.0
    sad: float = 0.0
    angry: float = 0.0
    afraid: float = 0.0
    disgusted: float = 0.0
    surprised: float = 0.0

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        for name, strength in zip(EMOTIONS, astuple(self), strict=True):
            if not 0.0 <= strength <= 1.0:
                raise SettingsError(f"{name} is {strength:g}: give a strength from 0 to 1")

    @property
    def strengths(self) -> FloatArray:
        """(6,) in the order of EMOTIONS, together at most 1: a face has one set of muscles."""
        strengths = np.array(astuple(self), np.float32)
        return np.asarray(strengths / max(1.0, float(strengths.sum())), np.float32)


EMOTIONS = tuple(field.name for field in fields(Feeling))
NEUTRAL = Feeling()


def feeling_of(strengths: Mapping[str, float]) -> Feeling:
    """By name of the emotion. Raises SettingsError for a name that is none, or a strength beyond 0 to 1."""
    for name in strengths:
        if name not in EMOTIONS:
            raise SettingsError(
                f"emotion is {name[:40]!r}: give one of {NEUTRAL_NAME}, {', '.join(EMOTIONS)}"
            )
    return Feeling(**strengths)


def feeling_at(valence: float, arousal: float) -> Feeling:
    """The mixture at a place in the plane of Russell's circumplex: both -1 to 1, and (0, 0) is neutral.

    Emotions answer to the direction, all of them together as strong as the place is far from the middle.
    Raises SettingsError beyond -1 to 1.
    """
    for name, value in (("valence", valence), ("arousal", arousal)):
        if not -1.0 <= value <= 1.0:
            raise SettingsError(f"{name} is {value:g}: give -1 to 1, 0 is neutral")
    far = min(math.hypot(valence, arousal), 1.0)
    if far == 0.0:
        return NEUTRAL
    along = PLACES @ np.array([valence, arousal], np.float32)
    alike = np.clip(along / (np.linalg.norm(PLACES, axis=1) * math.hypot(valence, arousal)), 0.0, 1.0)
    shares = alike**SHARPNESS
    # Between emotions (calm content) there is less of everything, not more of the nearest.
    shares = far * shares / max(float(shares.sum()), 1.0)
    return feeling_of(dict(zip(EMOTIONS, map(float, shares), strict=True)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Feelings from times on."""

    times_s: tuple[float, ...]  # growing
    feelings: tuple[Feeling, ...]

    def at(self, time_s: float) -> Feeling:
        """What holds at this time; neutral before the first."""
        number = bisect_right(self.times_s, time_s)
        return self.feelings[number - 1] if number else NEUTRAL


def steady(feeling: Feeling) -> Schedule:
    """The same all the time."""
    return Schedule((0.0,), (feeling,))


def parse_schedule(text: str) -> Schedule:
    """Reads "0:neutral, 3.5:happy 0.6, 8:sad 0.3": seconds, emotion, strength (1 where it is left out).

    Raises SettingsError.
    """
    steps = [_step(part.strip()) for part in text.split(",")]
    times_s = [time_s for time_s, _ in steps]
    if len(steps) > MOST_STEPS:
        raise SettingsError(f"emotion has {len(steps)} steps: give {MOST_STEPS} at most")
    if any(after <= before for before, after in pairwise(times_s)):
        raise SettingsError(f"emotion {text[:80]!r}: give times that grow")
    return Schedule(tuple(times_s), tuple(feeling for _, feeling in steps))


def _step(text: str) -> tuple[float, Feeling]:
    time, _, rest = text.partition(":")
    words: Sequence[str] = rest.split()
    try:
        time_s = float(time)
        strength = float(words[1]) if len(words) == 2 else 1.0
        if not (1 <= len(words) <= 2 and math.isfinite(time_s) and time_s >= 0):
            raise ValueError(text)
    except ValueError:
        raise SettingsError(
            f"emotion has {text[:80]!r}: give SECONDS:EMOTION or SECONDS:EMOTION STRENGTH, such as"
            " 3.5:happy 0.6"
        ) from None
    if words[0] == NEUTRAL_NAME:
        return time_s, NEUTRAL
    return time_s, feeling_of({words[0]: strength})
