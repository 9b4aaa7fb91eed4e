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
from time import perf_counter, perf_counter_ns
from typing import Any

import aiohttp

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.glass_call import CAMERA_FPS, calling, pictures_came
from benchmarks.live.peer import AiortcPeer
from benchmarks.live.server_link import at, bearer, metrics
from benchmarks.live.server_process import Holding, Serving, holding, server_process
from benchmarks.records.instrument import Instrument, above_bounds, add_common, counted
from benchmarks.records.record import Record
from benchmarks.records.series import slope_per_minute
from engine.stages import percentiles
from export.progress import Bars

SAMPLE_S = 5.0
CALL_EVERY_S = 1.0  # at most: the server limits the requests of one peer
CALM_LIMIT_S = 60.0  # for the server to say that no session is open
Row = Mapping[str, float | None]


# What counts as no growth.
BOUNDS: Mapping[str, float] = {
    "queue_age_ms_per_min": 0.2,
    "latency_ms_per_min": 0.5,
    "call_mb_per_min": 0.5,  # of the server's memory, within one call
    "mb_per_session": 0.1,  # from call to call
    "threads": 2,  # more at the end than after the first fifth; executors make theirs as they need them
    "files": 0,
    "sockets": 2,  # of the last requests' connections
    "tasks": 2,
}


async def long_call(link: str, pid: int, pictures: DriverPictures, seconds: float) -> dict[str, Any]:
    """One caller for all the time; samples by time, and the slopes after the warm-up."""
    samples: list[dict[str, float | None]] = []
    warm_up_s = warm_up(seconds)
    async with calling(link, pictures) as caller:
        start_ns = perf_counter_ns()
        with Bars(disable=None) as bars:
            while (elapsed_s := (perf_counter_ns() - start_ns) / 1e9) < seconds:
                await asyncio.sleep(min(SAMPLE_S, seconds - elapsed_s))
                samples.append({**_state(caller.peer, start_ns), **(await held(link, pid)).as_json()})
                bars.show("one call", elapsed_s, seconds, "s")
        await stop(link, caller.peer)
    figures = caller.figures(start_ns + round(warm_up_s * 1e9))
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
    tasks = (await asyncio.to_thread(metrics, link))["event_loop_tasks"]
    return holding(pid, round(tasks))


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


async def short_calls(
    link: str, pid: int, driver: DriverPictures, sessions: int, pictures: int
) -> list[Holding]:
    """What the server holds after each call; pictures: of each call."""
    after_each: list[Holding] = []
    begun_s = perf_counter()
    with Bars(disable=None) as bars:
        for number in range(sessions):
            await asyncio.sleep(begun_s + number * CALL_EVERY_S - perf_counter())
            async with calling(link, driver) as caller:
                await pictures_came(caller.peer, pictures)
                await stop(link, caller.peer)
            await calm(link)
            after_each.append(await held(link, pid))
            bars.show("calls", number + 1, sessions, "")
    return after_each


async def stop(link: str, peer: AiortcPeer) -> None:
    """As the page does: tell the server."""
    where = at(link, f"/api/sessions/{peer.session['id']}")
    async with aiohttp.ClientSession(headers=bearer(link)) as http, http.delete(where):
        pass


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


async def run_soak(link: str, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """Both parts; a part of no length is left out."""
    figures: dict[str, Any] = {"call": None, "calls": None}
    pictures = DriverPictures(args.driver, *args.size)
    if args.minutes:
        figures["call"] = await long_call(link, pid, pictures, args.minutes * 60)
        await calm(link)
    if args.sessions:
        calls = await short_calls(link, pid, pictures, args.sessions, args.pictures)
        figures["calls"] = session_figures(calls)
    return figures


def measure(args: argparse.Namespace) -> Record:
    """Start the server, soak it, judge."""
    with server_process(Serving.of(args)) as (pid, facts):
        figures = asyncio.run(run_soak(facts["link"], pid, args))
    parts = [part for part in (figures["call"], figures["calls"]) if part is not None]
    failed = [text for part in parts for text in above_bounds(part, BOUNDS)]
    config = {"runner_reason": facts["runner_reason"], "camera_fps": CAMERA_FPS}
    return {"failures": failed, "bounds": BOUNDS, **figures, "config": config}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long, how often."""
    parser.add_argument("--sessions", type=int, default=200, help="calls after it (default 200; 0: none)")
    parser.add_argument("--pictures", type=counted, default=10, help="of each of those (default 10)")
    add_common(parser, "pipeline", "avatar", "runner", "driver", "size", minutes=30.0)


main = Instrument("soak", __doc__, add_options, measure, quick={"minutes": 0.05, "sessions": 3})
