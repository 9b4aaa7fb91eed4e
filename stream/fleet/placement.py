"""Where a new session goes: arithmetic alone, so that what it does to many can be computed."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from math import ceil


@dataclass(slots=True)
class Room:
    """What is known of one node; `Rooms.put` is told of each change."""

    node: str
    fits: int  # sessions at the rate that is wanted, as measured there
    running: int  # those it had when it was asked, and what was placed there since
    drains: bool = False  # takes no new ones

    @property
    def free(self) -> int:
        """Sessions that still fit."""
        return 0 if self.drains else max(0, self.fits - self.running)

    @property
    def rank(self) -> tuple[float, int]:
        """Less is better: how full it would be with one more, of equals the largest first.

        By share rather than by number: what is measured as fitting wavers, most on large machines.
        """
        return (self.running + 1) / self.fits, -self.fits


def cpus_wanted(rooms: Iterable[Room], cpus: Mapping[str, float], spare: int) -> int:
    """Cores on which all that run and `spare` more would fit, by what is measured to fit on those there are.

    cpus: of each node's machine. 0 where nothing is measured yet.
    """
    measured = [room for room in rooms if room.fits and cpus.get(room.node)]
    fits = sum(room.fits for room in measured)
    if not fits:
        return 0
    wanted = sum(room.running for room in measured) + spare
    return ceil(wanted * sum(cpus[room.node] for room in measured) / fits)


class Rooms:
    """Those of all nodes, and the best of them without a look at each.

    A heap; entries that are no longer true are dropped when they come up, as heapq's documentation has it.
    """

    def __init__(self) -> None:
        self._ranked: list[tuple[tuple[float, int], int, str]] = []
        self._valid: dict[str, tuple[int, Room]] = {}  # node: its last entry's number
        self._order = count()

    def put(self, room: Room) -> None:
        """It is new, or has changed."""
        number = next(self._order)
        self._valid[room.node] = number, room
        if room.free:
            heapq.heappush(self._ranked, (room.rank, number, room.node))
        if len(self._ranked) > 4 * len(self._valid) + 64:
            self._ranked = [entry for entry in self._ranked if self._holds(entry)]
            heapq.heapify(self._ranked)

    def drop(self, node: str) -> None:
        """It is gone."""
        self._valid.pop(node, None)

    def best(self, but: Collection[str] = ()) -> Room | None:
        """Where the next session goes, but to these; None where none has room."""
        left_out = []
        while self._ranked and (not self._holds(self._ranked[0]) or self._ranked[0][2] in but):
            entry = heapq.heappop(self._ranked)
            if self._holds(entry):
                left_out.append(entry)
        found = self._valid[self._ranked[0][2]][1] if self._ranked else None
        for entry in left_out:
            heapq.heappush(self._ranked, entry)
        return found

    def _holds(self, entry: tuple[tuple[float, int], int, str]) -> bool:
        return self._valid.get(entry[2], (None,))[0] == entry[1]
