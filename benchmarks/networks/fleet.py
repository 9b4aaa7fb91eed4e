"""Where do thousands of sessions land, how soon, and what does a node lost every minute cost them?

    avatarcast bench fleet [--sessions 10000] [--nodes 400] [--fits 32] [--minutes 30]

A simulation by events; places are chosen by what chooses them in `avatarcast fleet`. Its figures are
measured: the head's own time for an offer (--head-ms, one process), a node's for its answer (--answer-ms, one
event loop each), the page's silence before it believes that its node is lost (--notice-s,
stream/page/call/link.js). Assumed: calls of 20 minutes on average, a lost node back after --boot-s. Placed is
a session when its answer is there; one that is refused asks again a second later, and counts as refused each
time. Imbalance is by how many sessions the fullest node is above the mean.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import Counter
from itertools import count
from typing import Any

import numpy as np

from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.stages import percentiles
from stream.fleet.placement import Room, placed

CALL_S = 1200.0
RAMP_S = 300.0  # in which the first sessions come
RETRY_S = 1.0


class Fleet:
    """Nodes, and the sessions on each."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.random = random.Random(args.seed)
        self.rooms = {str(number): Room(str(number), args.fits, 0) for number in range(args.nodes)}
        self.where: dict[int, str] = {}  # session: node
        self.delays_s: list[float] = []
        self.back_s: list[float] = []
        self.refused = self.lost = 0
        self.imbalance: list[float] = []
        self._head_free_s = 0.0
        self._node_free_s: dict[str, float] = dict.fromkeys(self.rooms, 0.0)
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = count()

    def at(self, time_s: float, what: str, whom: Any) -> None:
        """Something is to happen."""
        heapq.heappush(self._events, (time_s, next(self._order), what, whom))

    def run(self, until_s: float) -> None:
        """Everything up to then."""
        while self._events and self._events[0][0] <= until_s:
            now_s, _, what, whom = heapq.heappop(self._events)
            getattr(self, what)(now_s, whom)

    def offer(self, now_s: float, whom: tuple[int, float, float | None]) -> None:
        """whom: session, when it asked first, when it lost its node."""
        session, asked_s, lost_s = whom
        self._head_free_s = max(now_s, self._head_free_s) + self.args.head_ms / 1e3
        room = placed(self.rooms.values())
        if room is None:
            self.refused += 1
            self.at(self._head_free_s + RETRY_S, "offer", whom)
            return
        room.running += 1
        self.where[session] = room.node
        done_s = max(self._head_free_s, self._node_free_s[room.node]) + self.args.answer_ms / 1e3
        self._node_free_s[room.node] = done_s
        self.delays_s.append(done_s - asked_s)
        if lost_s is None:
            self.at(done_s + self.random.expovariate(1 / CALL_S), "leave", session)
        else:
            self.back_s.append(done_s - lost_s)

    def leave(self, now_s: float, session: int) -> None:
        """A call ends, and another begins somewhere."""
        if (node := self.where.pop(session, None)) is not None and node in self.rooms:
            self.rooms[node].running -= 1
        self.at(now_s, "offer", (session, now_s, None))

    def lose(self, now_s: float, node: str | None) -> None:
        """A node, by lot where none is named, with all that it has."""
        node = node or self.random.choice(list(self.rooms))
        del self.rooms[node]
        theirs = [session for session, where in self.where.items() if where == node]
        self.lost += len(theirs)
        for session in theirs:
            del self.where[session]
            notices_s = now_s + self.args.notice_s + self.random.random()  # the page looks once a second
            self.at(notices_s, "offer", (session, notices_s, now_s))
        self.at(now_s + self.args.boot_s, "boot", node)

    def boot(self, now_s: float, node: str) -> None:
        """It is there again, empty."""
        self.rooms[node] = Room(node, self.args.fits, 0)
        self._node_free_s[node] = now_s

    def look(self, now_s: float, _: None) -> None:
        """How even it is, once a second."""
        running = [room.running for room in self.rooms.values()]
        self.imbalance.append(max(running) - float(np.mean(running)))
        self.at(now_s + 1.0, "look", None)

    def spread(self) -> list[int]:
        """Sessions of each node, fewest first."""
        return sorted(Counter({node: room.running for node, room in self.rooms.items()}).values())


def measure(args: argparse.Namespace) -> Record:
    """The whole time."""
    fleet, end_s = Fleet(args), 60 * args.minutes
    ramp_s = min(RAMP_S, end_s / 3)
    for session in range(args.sessions):
        begins_s = fleet.random.uniform(0, ramp_s)
        fleet.at(begins_s, "offer", (session, begins_s, None))
    for number in range(int((end_s - ramp_s) / 60)):
        fleet.at(ramp_s + 60 * number + 30, "lose", None)
    fleet.at(ramp_s, "look", None)
    fleet.run(end_s)
    return {
        "offers": len(fleet.delays_s),
        "placed_within_1_s": round(float(np.mean(np.array(fleet.delays_s) < 1.0)), 5),
        "placed_ms": percentiles(1e3 * np.array(fleet.delays_s)),
        "lost": fleet.lost,
        "back_s": percentiles(fleet.back_s),
        "refused": fleet.refused,
        "imbalance": percentiles(fleet.imbalance),
        "fleet_is_full": round(args.sessions / (args.nodes * args.fits), 3),
        "head_busy": round(len(fleet.delays_s) * args.head_ms / 1e3 / end_s, 4),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many, how large, how slow."""
    add_common(parser, minutes=30.0, seed=1)
    parser.add_argument("--sessions", type=counted, default=10_000, help="(default 10000)")
    parser.add_argument("--nodes", type=counted, default=400, help="(default 400)")
    parser.add_argument("--fits", type=counted, default=32, help="sessions on a node (default 32)")
    parser.add_argument("--head-ms", type=float, default=0.87, help="(default 0.87)")
    parser.add_argument("--answer-ms", type=float, default=19.0, help="(default 19)")
    parser.add_argument("--notice-s", type=float, default=6.0, help="(default 6)")
    parser.add_argument("--boot-s", type=float, default=60.0, help="(default 60)")


main = Instrument(
    "fleet", __doc__, add_options, measure, quick={"sessions": 300, "nodes": 12, "minutes": 5.0}
)
