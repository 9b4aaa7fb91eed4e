"""Whose turn it is, from whether each of two is heard. Causal; time comes in as an argument.

A silence within a turn is a pause, and belongs to it: only what lasts longer than most pauses ends it (as in
Heldner and Edlund, J. Phonetics 38, 2010, who tell pauses from gaps by who speaks next).
"""

from __future__ import annotations

from enum import Enum

PAUSE_S = 0.8  # nobody heard for so long, and the turn is over
HEARD_S = 0.08  # a gap no longer than that is none
BEGINS_S = 0.04  # heard for so long after the first row, and a turn has begun: a click is none
SPEECH = 0.5  # of `engine.voice.gate`: from there on somebody is heard


class State(Enum):
    """Of an avatar."""

    SPEAKS = "speaks"
    LISTENS = "listens"
    IDLES = "idles"


class Turns:
    """Use: update() row by row. Whoever began last has the turn, so an interruption takes it."""

    def __init__(self) -> None:
        self.state = State.IDLES
        self._own, self._other = _Side(), _Side()

    def update(self, own: float, other: float, time_s: float) -> State:
        """own, other: how surely each is heard, 0..1. time_s: grows."""
        self._own.update(own >= SPEECH, time_s)
        self._other.update(other >= SPEECH, time_s)
        holders = [side for side in (self._own, self._other) if side.began_s is not None]
        if not holders:
            self.state = State.IDLES
        else:
            last = max(holders, key=lambda side: (side.heard, side.began_s))
            self.state = State.SPEAKS if last is self._own else State.LISTENS
        return self.state


class _Side:
    """One of the two."""

    def __init__(self) -> None:
        self.began_s: float | None = None  # when their turn began; None: they have none
        self.heard = False  # now, or within it a moment ago
        self._since_s: float | None = None  # heard without a gap
        self._last_s = 0.0

    def update(self, heard: bool, time_s: float) -> None:
        if heard:
            self._since_s = time_s if self._since_s is None else self._since_s
            self._last_s = time_s
            if self.began_s is None and time_s - self._since_s > BEGINS_S - 0.01:
                self.began_s = self._since_s
        else:
            self._since_s = None
            if self.began_s is not None and time_s - self._last_s >= PAUSE_S:
                self.began_s = None
        self.heard = self.began_s is not None and time_s - self._last_s < HEARD_S
