"""Does anything that strangers send to the media ports harm a call, even forged in the callers' names?

    avatarcast bench udp_fuzz --datagrams 1000000 [--rounds 8] [--per-second 4000] [--pipeline avatar]

Two callers in one process, the server in another, and a third that throws mutated datagrams at every media
port of the server (`datagrams.py`): half from sockets of its own, half from the callers' own, with what these
have sent as seeds too, so replays and faults in protected packets are among them. After each share of the
attack as many datagrams go to a port that nobody reads, so that the cost of sending is in both: p99 is the
mean over calls and rounds under attack, less that in between. Memory is the most that the server held above
what it held before; the log is what it wrote to standard error in all, exceptions are the tracebacks and
errors in there, and dropped is what its /metrics counted, by reason. A call is lost that is not connected in
the end, or gets no pictures any more.

What bounds it: the three processes share this machine's cores; the third gives way. Beside other work latency
grows by that alone; the system drops what finds a socket's buffer full, so counted may be less than sent.
passed says whether every figure is within the bounds that are in the record too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from time import perf_counter_ns
from typing import Any

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_call import CAMERA_FPS, Caller, calling
from benchmarks.live.server_link import counts
from benchmarks.live.server_process import ServerWatch, Serving, server_process
from benchmarks.records.instrument import Instrument, above_bounds, add_common, counted
from benchmarks.records.record import Record
from benchmarks.robustness.datagrams import Order, as_text

WARM_UP_S = 5.0
SEEDS = 48  # datagrams of each caller's own
LAST_S = 3.0  # a call that still lives brings pictures in this time
# What counts as no harm.
BOUNDS: Mapping[str, float] = {
    "calls_lost": 0,
    "exceptions": 0,
    "log_bytes": 1_000_000,
    "memory_mb": 20.0,
    "p99_ms": 5.0,
}
_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", re.MULTILINE)
_TROUBLE = re.compile(r"^(?:Traceback|ERROR|CRITICAL)|Task exception was never", re.MULTILINE)


def ports(caller: Caller) -> list[tuple[str, int]]:
    """Where the server listens for this call; addresses of IPv4."""
    found = _CANDIDATE.findall(caller.peer.session["sdp"])
    return [(host, int(port)) for host, port in found if ":" not in host]


def figures_of(caller: Caller, span_ns: tuple[int, int]) -> dict[str, Any]:
    """Of the pictures that came in this time."""
    found = caller.figures(*span_ns)
    return {name: found[name] for name in ("fps_delivered", "motion_to_photon_ms", "frozen", "delivered")}


def lives(caller: Caller) -> bool:
    """Connected, and pictures come."""
    since_ns = perf_counter_ns() - round(LAST_S * 1e9)
    return caller.peer.state == "connected" and any(one.at_ns > since_ns for one in caller.peer.arrivals)


async def attacked(link: str, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """Two calls, and as many rounds of attack and rest."""
    pictures = DriverPictures(args.driver, *args.size)
    spans: dict[str, list[tuple[int, int]]] = {"attacked": [], "between": []}
    thrown: Counter[str] = Counter()
    async with calling(link, pictures) as one, calling(link, pictures) as other:
        callers = (one, other)
        overheard = [caller.peer.overhear(SEEDS) for caller in callers]
        await asyncio.sleep(WARM_UP_S)
        order = Order(
            targets=[port for caller in callers for port in ports(caller)],
            forged=[caller.peer.path() for caller in callers],
            seeds=[data.hex() for seeds in overheard for data in seeds],
            count=args.datagrams // args.rounds,
            per_s=args.per_second,
            seed=args.seed,
        )
        before = await asyncio.to_thread(counts, link, "datagrams_dropped")
        async with ServerWatch(pid) as watch:
            await asyncio.sleep(1.5)  # for a sample of the memory as it was
            for turn in range(args.rounds):
                start_ns = perf_counter_ns()
                thrown.update(await _throw(replace(order, seed=args.seed + turn)))
                spans["attacked"].append((start_ns, perf_counter_ns()))
                spans["between"].append(await _elsewhere(order))
        await asyncio.sleep(LAST_S)
        lost = sum(not lives(caller) for caller in callers)
        states = [caller.peer.state for caller in callers]
        ended = await asyncio.to_thread(counts, link, "sessions_ended")
        now = await asyncio.to_thread(counts, link, "datagrams_dropped")
    dropped = {reason: count - before.get(reason, 0) for reason, count in now.items()}
    calls = [
        {name: [figures_of(caller, span) for span in rounds] for name, rounds in spans.items()}
        for caller in callers
    ]
    held_mb = [value for _, value in watch.memory_mb]
    return {
        "calls_lost": lost,
        "memory_mb": round(max(held_mb) - held_mb[0], 1),
        "p99_ms": p99_growth(calls),
        "seconds": round(sum(end_ns - start_ns for start_ns, end_ns in spans["attacked"]) / 1e9, 1),
        **thrown,
        "counted": sum(dropped.values()),
        "dropped": {reason: count for reason, count in dropped.items() if count},
        "ended": ended,
        "states": states,
        "held_mb": [round(value, 1) for value in held_mb],
        "calls": calls,
    }


def p99_growth(calls: Sequence[Mapping[str, Any]]) -> float | None:
    """Motion to photon, mean of the calls' and rounds' 99th percentiles: under attack less in between."""

    def mean(name: str) -> float | None:
        found = [one["motion_to_photon_ms"]["p99"] for call in calls for one in call[name]]
        return None if None in found else fmean(found)

    attacked_ms, between_ms = mean("attacked"), mean("between")
    return None if attacked_ms is None or between_ms is None else round(attacked_ms - between_ms, 2)


async def _elsewhere(order: Order) -> tuple[int, int]:
    """The same goes to a port that nobody reads; gives when, in ns."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unread:
        unread.bind(("127.0.0.1", 0))
        port = unread.getsockname()
        forged = [(descriptor, *port) for descriptor, _, _ in order.forged]
        start_ns = perf_counter_ns()
        await _throw(replace(order, targets=[port], forged=forged))
        return start_ns, perf_counter_ns()


async def _throw(order: Order) -> dict[str, int]:
    """Let the third process do it. SystemExit where it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.robustness.datagrams"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[descriptor for descriptor, _, _ in order.forged],
    )
    told, _ = await process.communicate(as_text(order).encode())
    if process.returncode:
        raise SystemExit("the process that throws the datagrams failed, see its message above")
    found: dict[str, int] = json.loads(told)
    return found


def measure(args: argparse.Namespace) -> Record:
    """Start the server, attack it, judge."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        with server_process(Serving.of(args), log) as (pid, facts):
            figures = asyncio.run(attacked(facts["link"], pid, args))
        written = Path(log.name).read_bytes()
    figures["log_bytes"] = len(written)
    figures["exceptions"] = len(_TROUBLE.findall(written.decode(errors="replace")))
    config = {"runner_reason": facts["runner_reason"], "camera_fps": CAMERA_FPS}
    return {"failures": above_bounds(figures, BOUNDS), "bounds": BOUNDS, **figures, "config": config}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much, how fast, at what."""
    parser.add_argument("--datagrams", type=counted, default=1_000_000, help="in all (default 1000000)")
    parser.add_argument("--per-second", type=float, default=4_000.0, help="at most (default 4000)")
    parser.add_argument("--rounds", type=counted, default=8, help="of attack and rest (default 8)")
    add_common(parser, "avatar", "runner", "driver", "size", pipeline="echo", seed=1)


main = Instrument("udp_fuzz", __doc__, add_options, measure, quick={"datagrams": 2_000, "rounds": 1})
