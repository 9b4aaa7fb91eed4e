"""How many presenters at once does this machine serve before the service is no longer what was promised?

    avatarcast bench load --most 4 --seconds 20 [--avatar FILE] [--runner onnx-cpu]

For 1, 2, ... sessions: starts the server, lets that many callers call at once, each in a process of its own,
and measures a window common to all. The promise, for every one of them: --fps new pictures a second and a
95th percentile of motion to photon of at most --p95 ms. It stops after the first number that breaks it;
capacity is the last that did not. A server that refuses a caller breaks it too, and its words are recorded.

What bounds it: the callers' codecs share the cores with the server, about 13 % of one each; so a server whose
callers are elsewhere carries a little more.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_call import CAMERA_FPS, calling
from benchmarks.live.server_process import Serving, server_process
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.machine import cpu_seconds, resident_mb
from benchmarks.records.record import Record
from export.progress import Bars

START_S, START_EACH_S = 4.0, 4.0  # for callers to start and models to load: in all, and for each session


@dataclass(frozen=True, slots=True)
class Promise:
    """What every session must have."""

    fps: float = 25.0
    p95_ms: float = 150.0


def call_once(link: str, driver: Path, size: tuple[int, int], from_ns: int, to_ns: int) -> dict[str, Any]:
    """One caller until a time of the system clock; figures of the window. For a process of its own."""
    return asyncio.run(_call(link, driver, size, from_ns, to_ns))


async def _call(link: str, driver: Path, size: tuple[int, int], from_ns: int, to_ns: int) -> dict[str, Any]:
    try:
        async with calling(link, DriverPictures(driver, *size)) as caller:
            await asyncio.sleep((to_ns - perf_counter_ns()) / 1e9)
    except ConnectionError as refusal:
        return {"refused": str(refusal)}
    figures = caller.figures(from_ns, to_ns)
    kept = ("motion_to_photon_ms", "jitter_ms", "dropped_share", "frozen")
    # Over the whole window: a session that stands still at the start or the end has had fewer.
    fps = figures["delivered"] / ((to_ns - from_ns) / 1e9)
    return {"refused": None, "fps": round(fps, 2), **{name: figures[name] for name in kept}}


def summarise_step(calls: Sequence[dict[str, Any]], promise: Promise) -> dict[str, Any]:
    """One number of sessions: the worst of them counts. holds: whether all had what was promised."""
    served = [call for call in calls if call["refused"] is None]
    p95_ms = [call["motion_to_photon_ms"]["p95"] for call in served]
    broken = [f"refused: {call['refused']}" for call in calls if call["refused"] is not None]
    broken += [f"{call['fps']} fps < {promise.fps}" for call in served if call["fps"] < promise.fps]
    broken += [f"p95 {p95} ms > {promise.p95_ms}" for p95 in p95_ms if p95 is None or p95 > promise.p95_ms]
    return {
        "sessions": len(calls),
        "refused": len(calls) - len(served),
        "fps_least": min((call["fps"] for call in served), default=None),
        "fps_total": round(sum(call["fps"] for call in served), 2),
        "p50_worst_ms": max((call["motion_to_photon_ms"]["p50"] or 0.0 for call in served), default=None),
        "p95_worst_ms": max((p95 or 0.0 for p95 in p95_ms), default=None),
        "frozen": sum(call["frozen"] for call in served),
        "holds": not broken,
        "broken_by": broken,
        "calls": list(calls),
    }


def capacity(steps: Sequence[dict[str, Any]]) -> int:
    """The most sessions up to which the promise held."""
    held = 0
    for step in steps:
        if not step["holds"]:
            break
        held = step["sessions"]
    return held


def run_step(sessions: int, args: argparse.Namespace, promise: Promise) -> dict[str, Any]:
    """Start a server, let that many call it at once, sum up."""
    serving = Serving.of(args, max_sessions=sessions)
    context = multiprocessing.get_context("spawn")
    with server_process(serving) as (pid, facts), ProcessPoolExecutor(sessions, context) as callers:
        from_ns = perf_counter_ns() + round((START_S + START_EACH_S * sessions) * 1e9)
        to_ns = from_ns + round(args.seconds * 1e9)
        job = (facts["link"], args.driver, args.size, from_ns, to_ns)
        futures = [callers.submit(call_once, *job) for _ in range(sessions)]
        cpu_s, memory_mb = asyncio.run(_watch(pid, from_ns, to_ns))
        step = summarise_step([future.result() for future in futures], promise)
    return {
        **step,
        "server_cores": None if cpu_s is None else round(cpu_s / args.seconds, 2),
        "server_mb": None if memory_mb is None else round(memory_mb, 1),
    }


async def _watch(pid: int, from_ns: int, to_ns: int) -> tuple[float | None, float | None]:
    """CPU seconds the server uses in the window, and its memory at the end."""
    await asyncio.sleep((from_ns - perf_counter_ns()) / 1e9)
    before = cpu_seconds(pid)
    await asyncio.sleep((to_ns - perf_counter_ns()) / 1e9)
    after = cpu_seconds(pid)
    return None if before is None or after is None else after - before, resident_mb(pid)


def measure(args: argparse.Namespace) -> Record:
    """More and more sessions until the promise breaks."""
    promise = Promise(args.fps, args.p95)
    steps: list[dict[str, Any]] = []
    with Bars(disable=None) as bars:
        for sessions in range(1, args.most + 1):
            steps.append(run_step(sessions, args, promise))
            bars.show("sessions", sessions, args.most, "")
            if not steps[-1]["holds"]:
                break
    config = {"camera_fps": CAMERA_FPS, "promise": asdict(promise)}
    return {"capacity": capacity(steps), "steps": steps, "config": config}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many, how long, and what was promised."""
    parser.add_argument("--most", type=counted, default=4, help="sessions at once at the end (default 4)")
    parser.add_argument("--fps", type=float, default=25.0, help="promised (default 25)")
    parser.add_argument("--p95", type=float, default=150.0, help="promised, ms (default 150)")
    add_common(parser, "pipeline", "avatar", "runner", "driver", "size", seconds=20.0)


main = Instrument("load", __doc__, add_options, measure, quick={"most": 1, "seconds": 2.0})
