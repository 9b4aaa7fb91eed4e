"""A dialogue as a tree of turns, each with its emotion; earlier ones weigh in.

The idea is Warm Chat's (Emotion-aware Interactive Talking Head Avatar with Tree-Structured Guidance, 2025):
from a turn's node the emotion is read back towards the root, and each node counts by its depth and by how
sure its emotion is. A turn that answers an earlier one takes up the mood of that branch, not the last one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import SettingsError
from engine.expression.feeling import EMOTIONS, NEUTRAL, Feeling, feeling_of
from engine.expression.words import understand

DECAY = 0.5  # of weight, for every turn further back
LEVELS = 8  # turns back that are read
OTHERS = 0.5  # a face shows so much of what the other one feels
SURE_BY_WORDS, SURE_BY_NOTHING = 0.8, 0.0  # of an emotion told by words, and of a sentence without any
MOST_TURNS = 10_000
AGENT, OTHER = "agent", "other"


@dataclass(frozen=True, slots=True)
class Turn:
    """One node."""

    number: int
    who: str  # AGENT or OTHER
    feeling: Feeling  # of this turn by itself
    confidence: float  # in that, 0 to 1
    parent: int | None  # the turn it follows; None: the root
    shown: Feeling  # what the avatar's face shows from here on


class DialogueTree:
    """Use: add() turn by turn; read() gives any of them back."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, who: str, feeling: Feeling, confidence: float, parent: int | None = None) -> Turn:
        """parent: the turn that it follows; None: the last one.

        Raises SettingsError for who or confidence that is none, a turn that is not there, and a full tree.
        """
        if who not in (AGENT, OTHER):
            raise SettingsError(f"who is {who[:40]!r}: give {AGENT} or {OTHER}")
        if not 0.0 <= confidence <= 1.0:
            raise SettingsError(f"confidence is {confidence:g}: give 0 to 1")
        if len(self._turns) >= MOST_TURNS:
            raise SettingsError(f"the dialogue has {MOST_TURNS} turns: begin another")
        if parent is None:
            parent = len(self._turns) - 1 if self._turns else None
        else:
            self.read(parent)
        turn = Turn(
            len(self._turns), who, feeling, confidence, parent, self._shown(who, feeling, confidence, parent)
        )
        self._turns.append(turn)
        return turn

    def say(self, who: str, text: str, parent: int | None = None) -> Turn:
        """A turn whose emotion its words tell; without any it is unsure. Raises SettingsError."""
        known = [one for one in understand(text) if one.by]
        if not known:
            return self.add(who, NEUTRAL, SURE_BY_NOTHING, parent)
        return self.add(who, known[-1].feeling, SURE_BY_WORDS, parent)  # how it ends is what stays

    def read(self, number: int) -> Turn:
        """Raises SettingsError."""
        if not 0 <= number < len(self._turns):
            raise SettingsError(f"turn {number}: there are {len(self._turns)}, from 0")
        return self._turns[number]

    def _shown(self, who: str, feeling: Feeling, confidence: float, parent: int | None) -> Feeling:
        """The mean over this turn and those before, each by DECAY ** levels back * confidence.

        Weights that sum to less than 1 leave the rest to neutral: an old emotion fades.
        """
        total, strengths = 0.0, np.zeros(len(EMOTIONS))
        for back in range(LEVELS):
            weight = confidence * DECAY**back
            total += weight
            strengths += weight * (1.0 if who == AGENT else OTHERS) * feeling.strengths
            if parent is None:
                break
            turn = self._turns[parent]
            who, feeling, confidence, parent = turn.who, turn.feeling, turn.confidence, turn.parent
        strengths /= max(total, 1.0)
        return feeling_of(dict(zip(EMOTIONS, map(float, np.clip(strengths, 0.0, 1.0)), strict=True)))
