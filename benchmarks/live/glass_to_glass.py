"""How long from a presenter's picture to the avatar's picture of it, and how many reach the viewer?

    avatarcast bench glass_to_glass --seconds 60 --transport-floor [--peer aiortc|chromium]

Starts the real server in a process of its own and calls it over real WebRTC from the same machine. Each
camera picture carries a number in its corner; the server stamps it onto the avatar's picture made from it.

Measured, by peer:
- aiortc: raw picture handed to the caller's encoder -> decoded answer in the caller's hands;
- chromium: camera delivers a picture to the live page -> the page presents the avatar's picture made from it.
Not in it: the camera's exposure and transfer, and the screen (for both together 30 to 80 ms is usual).

What bounds it: both codecs, two network ways and their queues are the floor; the renderer's stages lie on
top, and one picture may wait for the one in hand: so the median is about floor + 1.5 x stages when the
renderer is the bottleneck. Caller and server share this machine's cores; a caller elsewhere would leave the
server more of them. --transport-floor makes a second call of the same kind to a server that renders nothing
(--pipeline echo makes that one alone); ours_ms is the difference of the two calls' percentiles, rank by rank.

fps_delivered counts new pictures; dropped are camera pictures that were never answered, by design whatever
the renderer has no time for; frozen are gaps of more than 200 ms between new pictures; stale are repeats;
jitter_ms tells how uneven arrivals and latencies are; timeline is the call second by second, and
latency_slope_ms_per_min its drift. The first --warm-up seconds after the first answer are left out.

With `--driver voice --speech FILE` nobody films: the caller says a burst of that recording each second, and
the lips of the pictures that come back are tracked. mouth_to_photon_ms is how much later they do what the
sound asks for (what lips do before their sound is not counted), mouth_to_ear_ms the same of the sound that
comes back, offset_ms by how much the voice comes before the lips, as in `avatarcast bench av_sync`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.live.glass_call import CallConfig, make_call
from benchmarks.live.glass_statistics import summarise
from benchmarks.live.mouth_lag import failures, mouth_call
from benchmarks.live.server_process import ServerWatch, Serving, server_process, without_token
from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from benchmarks.records.series import slope_per_minute
from engine.commands.options import add_frame
from engine.errors import SettingsError
from engine.stages import percentiles

VOICE = "voice"  # as --driver


def server_figures(stats: list[tuple[int, dict[str, Any]]], start_ns: int) -> dict[str, Any]:
    """What the server said about itself: medians over its messages of p50 and p95."""
    measured = [(at_ns, message) for at_ns, message in stats if at_ns >= start_ns]
    messages = [message for _, message in measured]
    stages = sorted({stage for message in messages for stage in message["stage_ms"]})
    ages = [(at_ns, message["queue_age_ms"]["p95"]) for at_ns, message in measured]
    return {
        "stage_ms": {
            stage: _medians(one["stage_ms"][stage] for one in messages if stage in one["stage_ms"])
            for stage in stages
        },
        "server_ms": _medians(one["server_ms"] for one in messages),
        "queue_age_ms": _medians(one["queue_age_ms"] for one in messages),
        "queue_age_slope_ms_per_min": slope_per_minute([(at, age) for at, age in ages if age is not None]),
        "last": messages[-1] if messages else None,
    }


def _medians(ranks: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    rows = list(ranks)
    columns = {rank: [value for row in rows if (value := row[rank]) is not None] for rank in ("p50", "p95")}
    return {rank: percentiles(values)["p50"] for rank, values in columns.items()}


async def one_call(serving: Serving, config: CallConfig) -> dict[str, Any]:
    """Start a server, call it, sum up."""
    with server_process(serving) as (pid, facts):
        async with ServerWatch(pid) as watch:
            seen = await make_call(facts["link"], config)
    start_ns = seen.arrivals[0].at_ns + round(config.warm_up * 1e9)
    memory = watch.memory_mb[round(config.warm_up) :]
    cpu_used_s = watch.cpu_s[-1][1] - watch.cpu_s[0][1] if watch.cpu_s else None
    return {
        **summarise(seen.sent_ns, seen.arrivals, start_ns, seen.modulus),
        **server_figures(seen.stats, start_ns),
        "memory_mb": {
            "start": round(memory[0][1], 1) if memory else None,
            "end": round(memory[-1][1], 1) if memory else None,
            "slope_per_min": slope_per_minute(memory),
        },
        "server_cpu_ms_per_picture": round(1e3 * cpu_used_s / len(seen.arrivals), 2) if cpu_used_s else None,
        "server": without_token(facts),
    }


def above(total: dict[str, float | None], floor: dict[str, float | None]) -> dict[str, float | None]:
    """Percentiles of one call less those of the other."""
    difference: dict[str, float | None] = {}
    for rank, value in total.items():
        below = floor[rank]
        difference[rank] = None if value is None or below is None else round(value - below, 2)
    return difference


def measure(args: argparse.Namespace) -> Record:
    """The call, and the one beneath it where it is asked for."""
    if str(args.driver) == VOICE:
        if args.speech is None:
            raise SettingsError("--driver voice: wanted --speech FILE, a recording of somebody who speaks")
        serving = Serving.of(args, frame=args.frame)
        found = asyncio.run(mouth_call(serving, args.speech, args.seconds, args.warm_up))
        return found | {"failures": failures(found)}
    config = CallConfig(
        peer=args.peer,
        driver=args.driver,
        size=args.size,
        fps=args.fps,
        seconds=args.seconds,
        warm_up=args.warm_up,
    )
    figures = asyncio.run(one_call(Serving.of(args, frame=args.frame), config))
    figures["floor"] = figures["ours_ms"] = None
    if args.transport_floor:
        floor = asyncio.run(one_call(Serving("echo"), config))
        kept = ("motion_to_photon_ms", "fps_delivered", "jitter_ms", "dropped", "frozen", "duration_s")
        figures["floor"] = {name: floor[name] for name in kept}
        figures["ours_ms"] = above(figures["motion_to_photon_ms"], floor["motion_to_photon_ms"])
    return figures


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who calls whom, how long."""
    parser.add_argument("--peer", choices=("aiortc", "chromium"), default="aiortc")
    parser.add_argument(
        "--pipeline",
        choices=("avatar", "echo", "sd-turbo"),
        default="avatar",
        help="echo: transport alone; sd-turbo: with that graph run for each picture",
    )
    parser.add_argument(
        "--transport-floor", action="store_true", help="call an echo server too, and tell the difference"
    )
    add_frame(parser)
    add_common(parser, "avatar", "runner", "driver", "size", "warm_up", seconds=60.0)
    parser.add_argument("--speech", type=Path, help="with --driver voice: a recording of somebody who speaks")
    parser.add_argument("--fps", type=int, default=30, help="of the camera (default 30)")


main = Instrument("glass_to_glass", __doc__, add_options, measure, quick={"seconds": 3.0, "warm_up": 1.0})
