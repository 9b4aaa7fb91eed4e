"""Does anything grow: latency over half an hour of one call, memory and handles over hundreds of calls?

    avatarcast bench soak --minutes 30 --sessions 200 [--avatar FILE] [--runner onnx-cpu]

One server for both parts. First one caller stays for --minutes: the age of waiting pictures, motion to photon
and the server's memory are sampled, and their slopes taken after a warm-up of a fifth of the time, at most
two minutes. Then --sessions calls one after the other, each until --pictures pictures have come, ended as the
page ends them (DELETE): the server's memory, threads, descriptors, sockets and event loop tasks are read once
it says that no session is open, and compared after the last call with after the first fifth.

passed says whether every figure is within the bounds that are in the record too; failures names those that
are not. What bounds it: a slope needs time, so bounds mean little below ten minutes and fifty sessions; the
allocator keeps and returns memory in steps of some MB.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import aiohttp

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_call import pictures_came
from benchmarks.live.glass_statistics import summarise
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.live.server_link import at, bearer
from benchmarks.live.server_process import Holding, Serving, holding, server_process
from benchmarks.records.instrument import Instrument, Record, above_bounds, add_common, counted
from benchmarks.records.series import slope_per_minute
from engine.stages import percentiles

SAMPLE_S = 5.0
CAMERA_FPS = 30
CALL_EVERY_S = 1.0  # at most: the server limits the requests of one peer
CALM_LIMIT_S = 60.0  # for the server to say that no session is open
Row = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What counts as no growth."""

    queue_age_ms_per_min: float = 0.2
    latency_ms_per_min: float = 0.5
    call_mb_per_min: float = 0.5  # of the server's memory, within one call
    mb_per_session: float = 0.1  # from call to call
    threads: int = 2  # more at the end than after the first fifth; executors make theirs as they need them
    files: int = 0
    sockets: int = 2  # of the last requests' connections
    tasks: int = 2


@dataclass(frozen=True, slots=True)
class Soak:
    """How long, how often, and with which picture."""

    minutes: float
    sessions: int
    pictures: int  # of each short call
    driver: Path
    size: tuple[int, int]


async def long_call(link: str, pid: int, soak: Soak) -> dict[str, Any]:
    """One caller for all the minutes; samples by time, and the slopes after the warm-up."""
    camera = StampedCamera(DriverPictures(soak.driver, *soak.size).at, CAMERA_FPS)
    peer = AiortcPeer(link, camera)
    await peer.connect()
    await pictures_came(peer)
    start_ns = perf_counter_ns()
    samples: list[dict[str, float | None]] = []
    while (elapsed_s := (perf_counter_ns() - start_ns) / 1e9) < soak.minutes * 60:
        await asyncio.sleep(min(SAMPLE_S, soak.minutes * 60 - elapsed_s))
        samples.append({**_state(peer, start_ns), **(await held(link, pid)).as_json()})
        if len(samples) % 12 == 0:
            print(f"  {samples[-1]}", flush=True)
    await end(link, peer)
    warm_up_s = warm_up(soak.minutes * 60)
    figures = summarise(camera.sent_ns, peer.arrivals, start_ns + round(warm_up_s * 1e9))
    return {**call_figures(samples, warm_up_s), **kept(figures), "samples": samples}


def _state(peer: AiortcPeer, start_ns: int) -> dict[str, float | None]:
    state = peer.stats[-1][1] if peer.stats else {}
    return {
        "s": round((perf_counter_ns() - start_ns) / 1e9, 1),
        "queue_age_p95_ms": state.get("queue_age_ms", {}).get("p95"),
        "fps_out": state.get("fps_out"),
    }


async def held(link: str, pid: int) -> Holding:
    """What the server holds now; the question itself is one of its tasks and one or two of its sockets."""
    async with aiohttp.ClientSession(headers=bearer(link)) as http, http.get(at(link, "/metrics")) as reply:
        lines = (await reply.text()).splitlines()
    (tasks,) = [line.split()[1] for line in lines if line.startswith("avatarcast_event_loop_tasks ")]
    return holding(pid, round(float(tasks)))


def warm_up(seconds: float) -> float:
    """What is left out at the start."""
    return min(120.0, seconds / 5)


def slope(samples: Sequence[Row], name: str, after_s: float) -> float | None:
    """Per minute, of the samples after that time."""
    points = [
        (round(at_s * 1e9), value)
        for row in samples
        if (at_s := row["s"]) is not None and at_s >= after_s and (value := row[name]) is not None
    ]
    return slope_per_minute(points)


def call_figures(samples: Sequence[Row], warm_up_s: float) -> dict[str, Any]:
    """The slopes of one long call."""
    return {
        "warm_up_s": warm_up_s,
        "queue_age_ms": percentiles([age for row in samples if (age := row["queue_age_p95_ms"]) is not None]),
        "queue_age_ms_per_min": slope(samples, "queue_age_p95_ms", warm_up_s),
        "call_mb_per_min": slope(samples, "resident_mb", warm_up_s),
    }


def kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Of the figures of a call, those that a long one is judged by."""
    names = ("fps_delivered", "motion_to_photon_ms", "dropped_share", "frozen", "stale", "duration_s")
    return {"latency_ms_per_min": figures["latency_slope_ms_per_min"], **{n: figures[n] for n in names}}


async def short_calls(link: str, pid: int, soak: Soak) -> list[Holding]:
    """What the server holds after each call."""
    pictures = DriverPictures(soak.driver, *soak.size)
    after_each: list[Holding] = []
    begun_s = perf_counter()
    for number in range(1, soak.sessions + 1):
        await asyncio.sleep(begun_s + (number - 1) * CALL_EVERY_S - perf_counter())
        peer = AiortcPeer(link, StampedCamera(pictures.at, CAMERA_FPS))
        await peer.connect()
        await pictures_came(peer, soak.pictures)
        await end(link, peer)
        await calm(link)
        after_each.append(await held(link, pid))
        if number % 10 == 0:
            print(f"  session {number}: {after_each[-1].as_json()}", flush=True)
    return after_each


async def end(link: str, peer: AiortcPeer) -> None:
    """Stop as the page does: tell the server, then hang up."""
    where = at(link, f"/api/sessions/{peer.session['id']}")
    async with aiohttp.ClientSession(headers=bearer(link)) as http, http.delete(where):
        pass
    await peer.close()


async def calm(link: str) -> None:
    """Until the server says that no session is open. SystemExit when it does not."""
    end_s = perf_counter() + CALM_LIMIT_S
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(at(link, "/healthz")) as reply:
                still_open = (await reply.json())["sessions"]
            if not still_open:
                return
            if perf_counter() > end_s:
                raise SystemExit(f"{still_open} sessions are still open {CALM_LIMIT_S:.0f} s after the call")
            await asyncio.sleep(0.05)


def session_figures(after_each: Sequence[Holding]) -> dict[str, Any]:
    """Growth from call to call, after the first fifth of them."""
    counted = after_each[math.ceil(len(after_each) / 5) - 1 :]
    points = [(index * 60_000_000_000, one.resident_mb) for index, one in enumerate(counted)]
    before, after = counted[0], counted[-1]
    return {
        "sessions": len(after_each),
        "mb_per_session": slope_per_minute(points),  # a session counted as a minute
        "threads": after.threads - before.threads,
        "files": after.files - before.files,
        "sockets": after.sockets - before.sockets,
        "tasks": after.tasks - before.tasks,
        "before": before.as_json(),
        "after": after.as_json(),
        "resident_mb": [round(one.resident_mb, 1) for one in after_each],
    }


async def run_soak(link: str, pid: int, soak: Soak) -> dict[str, Any]:
    """Both parts; a part of no length is left out."""
    figures: dict[str, Any] = {"call": None, "calls": None}
    if soak.minutes:
        print(f"one call of {soak.minutes:g} minutes", flush=True)
        figures["call"] = await long_call(link, pid, soak)
        await calm(link)
    if soak.sessions:
        print(f"{soak.sessions} calls, one after the other", flush=True)
        figures["calls"] = session_figures(await short_calls(link, pid, soak))
    return figures


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Start the server, soak it, judge."""
    soak = Soak(args.minutes, args.sessions, args.pictures, args.driver, args.size)
    with server_process(Serving(args.pipeline, args.avatar, args.runner)) as (pid, facts):
        figures = asyncio.run(run_soak(facts["link"], pid, soak))
    bounds = asdict(Bounds())
    parts = [part for part in (figures["call"], figures["calls"]) if part is not None]
    failed = [text for part in parts for text in above_bounds(part, bounds)]
    config = {"runner_reason": facts["runner_reason"], "camera_fps": CAMERA_FPS}
    judged = {"passed": not failed, "failures": failed, "bounds": bounds}
    return {**judged, **figures, "config": config}


def describe(figures: Record) -> str:
    """The figures for people."""
    lines = ["passed" if figures["passed"] else "FAILED: " + "; ".join(figures["failures"])]
    if (call := figures["call"]) is not None:
        lines.append(
            f"one call: {call['fps_delivered']} fps, latency {call['motion_to_photon_ms']['p50']} ms and "
            f"{call['latency_ms_per_min']} ms per minute, "
            f"queue age {call['queue_age_ms_per_min']} ms per minute, "
            f"memory {call['call_mb_per_min']} MB per minute"
        )
    if (calls := figures["calls"]) is not None:
        lines.append(
            f"{calls['sessions']} calls: {calls['mb_per_session']} MB each; threads {calls['threads']:+d}, "
            f"files {calls['files']:+d}, sockets {calls['sockets']:+d}, tasks {calls['tasks']:+d}"
        )
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long, how often."""
    parser.add_argument("--minutes", type=float, default=30.0, help="of the one call (default 30; 0: none)")
    parser.add_argument("--sessions", type=int, default=200, help="calls after it (default 200; 0: none)")
    parser.add_argument("--pictures", type=counted, default=10, help="of each of those (default 10)")
    add_common(parser, "pipeline", "avatar", "runner", "driver", "size")


main = Instrument("soak", __doc__, add_options, measure, describe, quick={"minutes": 0.05, "sessions": 3})
