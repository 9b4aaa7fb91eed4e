"""How far apart are the avatar's picture and the presenter's voice, and do they drift?

    avatarcast bench av_sync --seconds 60 [--pipeline echo] [--drift-ppm 100]

Starts the real server in a process of its own and calls it over real WebRTC from the same machine. The caller
clicks every half second and numbers its pictures; on return a click belongs to the picture that was taken at
the same moment. offset_ms is the time by which the voice comes before that picture (negative: after):

- by_reports: as RTCP sender reports place both on the server's clock; a browser plays them so;
- by_arrival: as they are at hand in the caller, decoded, without any buffer that would wait for the other.

ITU-R BT.1359-1 puts the limits of what is noticed at 45 ms early and 125 ms late. What bounds it: the voice
cannot leave before it is there, 33 ms after it was made (a frame of 20 ms, twice Opus' look-ahead of 6.5 ms);
a renderer that is quicker than that leaves the voice late. drift_ms_per_min is the slope of by_reports;
--drift-ppm lets the microphone's clock run fast, as that of a poor sound card does. The first --warm-up
seconds are left out.
"""

from __future__ import annotations

import argparse
import asyncio
from bisect import bisect
from collections.abc import Sequence
from typing import Any

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.peer import StampedCamera
from benchmarks.live.server_process import Serving, server_process, without_token
from benchmarks.live.sync_peer import ClickMicrophone, Returned, SyncPeer
from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from benchmarks.records.series import slope_per_minute
from engine.stages import percentiles

CAMERA = (640, 480)
CAMERA_FPS = 30
NEAR_NS = 200_000_000  # a click whose picture is further off is left out: the picture was dropped, or frozen
MEETING_NS = 490_000_000  # a click is back before the next is made


def offsets(
    pictures: Sequence[Returned],
    taken_ns: dict[int, list[int]],
    clicks: Sequence[Returned],
    clicked_ns: Sequence[int],
) -> list[dict[str, Any]]:
    """For each click that came back: when it was made, and by how much the voice leads, in ms.

    taken_ns: of each picture's number, when it was taken; clicked_ns: when each click was made.
    """
    shown = sorted(
        (max(at for at in taken_ns[picture.number] if at < picture.at_ns), picture) for picture in pictures
    )
    times = [taken for taken, _ in shown]
    found = []
    for click in clicks:
        made = [at_ns for at_ns in clicked_ns if 0 < click.at_ns - at_ns < MEETING_NS]
        if not made or not times:
            continue
        made_ns = made[-1]
        near = bisect(times, made_ns)
        taken, picture = min(shown[max(near - 1, 0) : near + 1], key=lambda one: abs(one[0] - made_ns))
        if abs(taken - made_ns) > NEAR_NS:
            continue
        early_ns = (picture.at_ns - taken) - (click.at_ns - made_ns)
        by_reports = None
        if picture.sent_ns is not None and click.sent_ns is not None:
            by_reports = ((picture.sent_ns - taken) - (click.sent_ns - made_ns)) / 1e6
        found.append({"made_ns": made_ns, "by_arrival": early_ns / 1e6, "by_reports": by_reports})
    return found


def summarise(found: Sequence[dict[str, Any]], from_ns: int) -> dict[str, Any]:
    """Percentiles of the offsets and of their size, and the drift, of clicks made from then on."""
    kept = [one for one in found if one["made_ns"] >= from_ns and one["by_reports"] is not None]
    by_reports = [one["by_reports"] for one in kept]
    return {
        "offset_ms": {
            "by_reports": percentiles(by_reports),
            "by_arrival": percentiles([one["by_arrival"] for one in kept]),
        },
        "offset_size_ms": percentiles([abs(offset) for offset in by_reports]),
        "drift_ms_per_min": slope_per_minute([(one["made_ns"], one["by_reports"]) for one in kept]),
        "clicks": len(kept),
    }


async def clapping_call(args: argparse.Namespace) -> dict[str, Any]:
    """Start, call, sum up."""
    with server_process(Serving.of(args)) as (_, facts):
        microphone = ClickMicrophone(args.drift_ppm / 1e6)
        camera = StampedCamera(DriverPictures(args.driver, *CAMERA).at, CAMERA_FPS)
        peer = SyncPeer(facts["link"], camera, microphone)
        await peer.connect()
        try:
            await asyncio.sleep(args.warm_up + args.seconds)
        finally:
            await peer.close()
    found = offsets(peer.pictures, camera.sent_ns, peer.clicks, microphone.clicks_ns)
    if not found:
        raise SystemExit(f"{len(peer.pictures)} pictures and {len(peer.clicks)} clicks came back; none met")
    from_ns = microphone.clicks_ns[0] + round(args.warm_up * 1e9)
    last = peer.stats[-1][1]
    told = {name: last[name] for name in ("server_ms", "latency_ms", "audio_delay_ms", "audio_overflows")}
    return {**summarise(found, from_ns), "server": without_token(facts), "last": told}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is called, how long, with which microphone."""
    add_common(parser, "warm_up", "pipeline", "avatar", "runner", "driver", seconds=60.0)
    parser.add_argument("--drift-ppm", type=float, default=0.0, help="of the microphone's clock (default 0)")


def measure(args: argparse.Namespace) -> Record:
    """One call."""
    return asyncio.run(clapping_call(args))


main = Instrument("av_sync", __doc__, add_options, measure, quick={"seconds": 4.0, "warm_up": 1.0})
