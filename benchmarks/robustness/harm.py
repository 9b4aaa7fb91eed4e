"""What does a token holder who means harm take from the others: rate, answers, descriptors, memory?

    avatarcast bench harm [--rounds 8] [--seconds 5] [--kinds candidates restarts]

A presenter calls the server; then an attacker, a process and a client of its own (`attacker.py`), does one
kind of harm after another: late candidates, ICE restarts, offers that lead nowhere, connections that say
nothing, pictures that are large once decoded. Each comes in rounds, --seconds of attack and as long without.
kept is the presenter's rate of new pictures under attack over that between the attacks; healthz_p99 is of GET
/healthz, asked 20 times a second over one connection; descriptors and MB are the most that the server held
under attack above what it held before. candidates and restarts come from a viewer, who watches between the
attacks too.

What bounds it: attacker, presenter and server share this machine's cores. The attacker gives way to both, but
its process slows the other half of a core; so between the attacks it goes on taking as much of the processor
as an attack took, and asks nothing: fps has the rates before all, when it took nothing, under attack, and
between. passed says whether every figure is within the bounds that are in the record too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, quantiles
from time import perf_counter, perf_counter_ns
from typing import Any

import aiohttp

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_call import CAMERA_FPS, Caller, calling
from benchmarks.live.glass_statistics import numbers
from benchmarks.live.server_link import at, bearer
from benchmarks.live.server_process import Serving, holding, server_process
from benchmarks.records.instrument import Instrument, above_bounds, add_common, counted
from benchmarks.records.record import Record
from benchmarks.robustness.attacker import KINDS, Order, as_text
from export.progress import Bars

WARM_UP_S = 5.0
SETTLE_S = 1.0  # after an attack, for its last requests
ASK_EVERY_S = 0.05
KEPT_LEAST = 0.95
# What counts as no harm.
BOUNDS: Mapping[str, float] = {"healthz_p99_ms": 50.0, "descriptors": 64, "memory_mb": 100.0}


@dataclass
class Watch:
    """What the server answers and holds, while `run` runs."""

    link: str
    pid: int
    answers_ms: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession() as http:
            while True:
                asked_s = perf_counter()
                async with http.get(at(self.link, "/healthz")) as reply:
                    await reply.read()
                self.answers_ms.append((perf_counter() - asked_s) * 1e3)
                held = holding(self.pid, tasks=0)
                self.descriptors.append(held.files + held.sockets)
                self.memory_mb.append(held.resident_mb)
                await asyncio.sleep(ASK_EVERY_S)

    def p99_ms(self) -> float:
        """Of the answers so far."""
        return quantiles(self.answers_ms, n=100, method="inclusive")[98]


def rate_hz(presenter: Caller, from_ns: int, to_ns: int) -> float:
    """New pictures a second in this time."""
    shown = [one for one in presenter.peer.arrivals if from_ns <= one.at_ns < to_ns]
    return len(set(numbers(shown))) / ((to_ns - from_ns) / 1e9)


def kept(under_hz: float, between_hz: float) -> float:
    """What is left of the rate under attack; 0 where no pictures came back after it: the call is lost."""
    return round(under_hz / between_hz, 3) if between_hz else 0.0


async def harmed(
    link: str, pid: int, kind: str, presenter: Caller, args: argparse.Namespace
) -> dict[str, Any]:
    """One kind of harm, so many times."""
    order = Order(kind, at(link, "/"), bearer(link), presenter.peer.session["view_id"], args.seconds)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.robustness.attacker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(as_text(order).encode())
    if (await process.stdout.readline()).strip() != b"ready":
        raise SystemExit(f"the attacker of {kind} could not begin, see its message above")
    await asyncio.sleep(SETTLE_S)
    quiet, under = Watch(link, pid), Watch(link, pid)
    before_hz = await _watched(quiet, presenter, args.seconds)
    under_hz, between_hz, told = [], [], b""
    for _ in range(args.rounds):
        process.stdin.write(b"\n")
        under_hz.append(await _watched(under, presenter, args.seconds))
        told = await process.stdout.readline()
        await asyncio.sleep(SETTLE_S)
        between_hz.append(await _watched(Watch(link, pid), presenter, args.seconds))
    process.stdin.close()
    if await process.wait():
        raise SystemExit(f"the attacker of {kind} failed, see its message above")
    rates_hz = before_hz, fmean(under_hz), fmean(between_hz)
    return {
        "kept": kept(*rates_hz[1:]),
        "fps": [round(rate, 2) for rate in rates_hz],
        "healthz_p99_ms": round(under.p99_ms(), 1),
        "healthz_quiet_p99_ms": round(quiet.p99_ms(), 1),
        "descriptors": max(under.descriptors) - quiet.descriptors[-1],
        "memory_mb": round(max(under.memory_mb) - quiet.memory_mb[-1], 1),
        "answers": json.loads(told),
    }


async def _watched(watch: Watch, presenter: Caller, seconds: float) -> float:
    """The presenter's rate, in Hz."""
    running, from_ns = asyncio.create_task(watch.run()), perf_counter_ns()
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return rate_hz(presenter, from_ns, perf_counter_ns())


async def all_harm(link: str, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """By kind."""
    found = {}
    async with calling(link, DriverPictures(args.driver, *args.size)) as presenter:
        await asyncio.sleep(WARM_UP_S)
        with Bars(disable=None) as bars:
            for kind in args.kinds:
                found[kind] = await harmed(link, pid, kind, presenter, args)
                bars.show("kinds of harm", len(found), len(args.kinds), "")
        if presenter.peer.state != "connected":
            raise SystemExit("the presenter's call was lost")
    return found


def failures(found: Mapping[str, Record]) -> list[str]:
    """Each figure that is out of its bound."""
    failed = []
    for kind, figures in found.items():
        if figures["kept"] < KEPT_LEAST:
            failed.append(f"{kind}: kept {figures['kept']} < {KEPT_LEAST}")
        failed += [f"{kind}: {words}" for words in above_bounds(figures, BOUNDS)]
    return failed


def measure(args: argparse.Namespace) -> Record:
    """Start the server, harm it, judge."""
    with server_process(Serving.of(args)) as (pid, facts):
        found = asyncio.run(all_harm(facts["link"], pid, args))
    config = {"runner_reason": facts["runner_reason"], "camera_fps": CAMERA_FPS}
    bounds = {"kept_least": KEPT_LEAST, **BOUNDS}
    return {"failures": failures(found), "bounds": bounds, "harm": found, "config": config}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What kinds, how long each."""
    parser.add_argument("--rounds", type=counted, default=8, help="of attack and rest (default 8)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default all)")
    add_common(parser, "pipeline", "avatar", "runner", "driver", "size", seconds=5.0)


main = Instrument(
    "harm", __doc__, add_options, measure, quick={"rounds": 1, "seconds": 2.0, "pipeline": "echo"}
)
