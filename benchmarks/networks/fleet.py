"""Where do thousands of sessions land, how soon, and what does a node lost every minute, of 400, cost them?

    avatarcast bench fleet [--fleets 10000x400 100000x4000] [--fits 32] [--minutes 30] [--real]

A simulation by events; places are chosen by what chooses them in `avatarcast fleet`. Its figures are
measured: the head's own time for an offer (--head-ms, one process) and for asking one node how it does
(--question-ms; it asks all, and half a second after the last answer again), a node's for its answer to an
offer (--answer-ms, one event loop each), how soon the page knows that its node is lost and asks anew
(--notice-s, to a second more: stream/page/call/silence.js). Assumed: calls of 20 minutes on average, a lost
node back after --boot-s. Placed is a session when its answer is there; one that is refused asks again a
second later, and counts as refused each time. Imbalance is by how many sessions the fullest node is above the
mean.
--real also runs a fleet of three of Ray's nodes on this machine with six presenters, one of which is the page
in Chromium, loses one node, and has the same simulated beside it; and measures what a question costs.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
from importlib.util import find_spec
from itertools import count
from typing import Any

import numpy as np

from benchmarks.networks.real_fleet import question_ms, run
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.errors import SettingsError
from engine.stages import percentiles
from stream.fleet.head import LOOK_PERIOD_S
from stream.fleet.placement import Room, Rooms

CALL_S = 1200.0
RAMP_S = 300.0  # in which the first sessions come
RETRY_S = 1.0
NODES_LOST_ONE_A_MINUTE = 400  # of so many one a minute


class Fleet:
    """Nodes, and the sessions on each."""

    def __init__(self, nodes: int, args: argparse.Namespace) -> None:
        self.args = args
        self.random = random.Random(args.seed)
        self.nodes = {str(number): Room(str(number), args.fits, 0) for number in range(nodes)}
        self.rooms = Rooms()
        for room in self.nodes.values():
            self.rooms.put(room)
        self.where: dict[int, str] = {}  # session: node
        self.delays_s: list[float] = []
        self.back_s: list[float] = []
        self.refused = self.lost = 0
        self.imbalance: list[float] = []
        self.placed: list[int] = []  # sessions of each node, before the first is lost
        self._head_free_s = 0.0
        self.questions_s = 0.0  # that the head spent on them
        self.rounds_s: list[float] = []  # from one round of questions to the next
        self._node_free_s: dict[str, float] = dict.fromkeys(self.nodes, 0.0)
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
        room = self.rooms.best()
        if room is None:
            self.refused += 1
            self.at(self._head_free_s + RETRY_S, "offer", whom)
            return
        room.running += 1
        self.rooms.put(room)
        self.where[session] = room.node
        done_s = max(self._head_free_s, self._node_free_s[room.node]) + self.args.answer_ms / 1e3
        self._node_free_s[room.node] = done_s
        self.delays_s.append(done_s - asked_s)
        if lost_s is None:
            self.at(done_s + self.random.expovariate(1 / CALL_S), "leave", session)
        else:
            self.back_s.append(done_s - lost_s)

    def ask(self, now_s: float, _: None) -> None:
        """The head asks every node how it does; what comes meanwhile waits."""
        takes_s = len(self.nodes) * self.args.question_ms / 1e3
        self._head_free_s = max(now_s, self._head_free_s) + takes_s
        self.questions_s += takes_s
        next_s = self._head_free_s + LOOK_PERIOD_S
        self.rounds_s.append(next_s - now_s)
        self.at(next_s, "ask", None)

    def leave(self, now_s: float, session: int) -> None:
        """A call ends, and another begins somewhere."""
        if (node := self.where.pop(session, None)) is not None and node in self.nodes:
            self.nodes[node].running -= 1
            self.rooms.put(self.nodes[node])
        self.at(now_s, "offer", (session, now_s, None))

    def lose(self, now_s: float, node: str | None) -> None:
        """A node, by lot where none is named, with all that it has."""
        node = node or self.random.choice(list(self.nodes))
        del self.nodes[node]
        self.rooms.drop(node)
        theirs = [session for session, where in self.where.items() if where == node]
        self.lost += len(theirs)
        for session in theirs:
            del self.where[session]
            notices_s = now_s + self.args.notice_s + self.random.random()
            self.at(notices_s, "offer", (session, notices_s, now_s))
        self.at(now_s + self.args.boot_s, "boot", node)

    def boot(self, now_s: float, node: str) -> None:
        """It is there again, empty."""
        self.nodes[node] = Room(node, self.args.fits, 0)
        self.rooms.put(self.nodes[node])
        self._node_free_s[node] = now_s

    def look(self, now_s: float, _: None) -> None:
        """How even it is, once a second."""
        running = [room.running for room in self.nodes.values()]
        self.imbalance.append(max(running) - float(np.mean(running)))
        self.at(now_s + 1.0, "look", None)

    def spread(self) -> list[int]:
        """Sessions of each node, fewest first."""
        return sorted(room.running for room in self.nodes.values())


def simulated(sessions: int, nodes: int, args: argparse.Namespace) -> Record:
    """The whole time of one fleet."""
    fleet, end_s = Fleet(nodes, args), 60 * args.minutes
    ramp_s = min(RAMP_S, end_s / 3)
    for session in range(sessions):
        begins_s = fleet.random.uniform(0, ramp_s)
        fleet.at(begins_s, "offer", (session, begins_s, None))
    losses = int((end_s - ramp_s) / 60 * max(1, nodes // NODES_LOST_ONE_A_MINUTE))
    for number in range(losses):
        fleet.at(ramp_s + (number + 0.5) * (end_s - ramp_s) / losses, "lose", None)
    fleet.at(ramp_s, "look", None)
    fleet.at(0.0, "ask", None)
    fleet.run(end_s)
    return {
        "sessions": sessions,
        "nodes": nodes,
        "nodes_lost": losses,
        "offers": len(fleet.delays_s),
        "placed_within_1_s": round(float(np.mean(np.array(fleet.delays_s) < 1.0)), 5),
        "placed_ms": percentiles(1e3 * np.array(fleet.delays_s)),
        "lost": fleet.lost,
        "back_s": percentiles(fleet.back_s),
        "refused": fleet.refused,
        "imbalance": percentiles(fleet.imbalance),
        "full": round(sessions / (nodes * args.fits), 3),
        "head_offers": round(len(fleet.delays_s) * args.head_ms / 1e3 / end_s, 4),
        "head_questions": round(fleet.questions_s / end_s, 4),
        "asked_every_s": round(float(np.mean(fleet.rounds_s)), 2),
    }


def small(args: argparse.Namespace) -> Fleet:
    """Six sessions on three nodes, of which one is lost."""
    fleet = Fleet(3, args)
    for session in range(6):
        fleet.at(0.1 * session, "offer", (session, 0.1 * session, None))
    fleet.run(1.0)
    fleet.placed = fleet.spread()
    fleet.at(1.0, "lose", "1")
    fleet.run(args.boot_s)
    return fleet


def beside_the_real(args: argparse.Namespace) -> list[Record]:
    """The same on three of Ray's nodes. Raises SettingsError where Ray is not installed."""
    if find_spec("ray") is None:
        raise SettingsError("--real needs ray: pip install 'avatarcast[fleet]'")
    real, fleet = asyncio.run(run()), small(args)
    back = f"until its answer {max(fleet.back_s):.1f}"
    shown = "until pictures: the page {page_back_s:.1f}, other peers {peers_back_s:.1f}, "
    shown += "which believe in it after {peers_noticed_s:.1f}"
    rows = [
        ("sessions of each node", fleet.placed, real["placed"]),
        ("of the two that are left", fleet.spread(), real["after_loss"]),
        ("sessions that lost their node", fleet.lost, real["lost"]),
        ("back after, s", back, shown.format_map(real)),
        ("sessions of a draining node, more", None, real["drained_took"]),
        ("live sessions under the next head, of 7", None, sum(real["after_new_head"])),
    ]
    names = ("what", "simulated", "real")
    return [dict(zip(names, map(_words, row), strict=True)) for row in rows]


def _words(value: Any) -> str | None:
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def measure(args: argparse.Namespace) -> Record:
    """The real one first: it takes the machine as it is."""
    real: dict[str, Any] = {"beside": [], "question_ms": {}}
    if args.real:
        real["beside"] = beside_the_real(args)
        real["question_ms"] = asyncio.run(question_ms())
    return {"fleets": [simulated(sessions, nodes, args) for sessions, nodes in args.fleets], **real}


def fleet_size(text: str) -> tuple[int, int]:
    """Sessions and nodes, from text such as 10000x400."""
    sessions, nodes = (int(number) for number in text.split("x"))
    if min(sessions, nodes) < 1:
        raise ValueError(text)
    return sessions, nodes


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many, how large, how slow."""
    add_common(parser, minutes=30.0, seed=1)
    sizes = [(10_000, 400), (12_600, 400), (100_000, 4000)]
    parser.add_argument("--fleets", type=fleet_size, nargs="+", default=sizes, help="SESSIONSxNODES of each")
    parser.add_argument("--fits", type=counted, default=32, help="sessions on a node (default 32)")
    parser.add_argument("--head-ms", type=float, default=0.87, help="(default 0.87)")
    parser.add_argument("--question-ms", type=float, default=0.66, help="(default 0.66)")
    parser.add_argument("--answer-ms", type=float, default=19.0, help="(default 19)")
    parser.add_argument("--notice-s", type=float, default=0.9, help="(default 0.9)")
    parser.add_argument("--boot-s", type=float, default=60.0, help="(default 60)")
    parser.add_argument("--real", action="store_true", help="a real fleet too (needs ray and Chromium)")


main = Instrument("fleet", __doc__, add_options, measure, quick={"fleets": [(300, 12)], "minutes": 5.0})
