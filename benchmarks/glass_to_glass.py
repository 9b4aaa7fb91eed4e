"""How long from a presenter's picture to the avatar's picture of it, and how many reach the viewer?

    python -m benchmarks.glass_to_glass --seconds 60 [--peer aiortc|chromium] [--pipeline echo]

Starts the real server in a process of its own and calls it over real WebRTC from the same machine. Each
camera picture carries a number in its corner; the server stamps it onto the avatar's picture made from it.

Measured, by peer:
- aiortc: raw picture handed to the caller's encoder -> decoded answer in the caller's hands;
- chromium: camera delivers a picture to the live page -> the page presents the avatar's picture made from it.
Not in it: the camera's exposure and transfer, and the screen (for both together 30 to 80 ms is usual).

What bounds it: both codecs, two network ways and their queues are the floor, which --pipeline echo shows
alone; the renderer's stages lie on top, and one picture may wait for the one in hand: so the median is about
floor + 1.5 x stages when the renderer is the bottleneck. Caller and server share this machine's cores; a
caller elsewhere would leave the server more of them.

fps_delivered counts new pictures; dropped are camera pictures that were never answered, by design whatever
the renderer has no time for; frozen are gaps of more than 200 ms between new pictures; stale are repeats.
The first --warm-up seconds after the first answer are left out. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.driver_pictures import DEFAULT_DRIVER, DriverPictures
from benchmarks.glass_statistics import Arrival, percentiles, slope_per_minute, summarise
from benchmarks.machine import commit, cpu_seconds, describe_machine, resident_mb
from benchmarks.peer import AiortcPeer, StampedCamera

FIRST_PICTURE_LIMIT_S = 60.0
Samples = list[tuple[int, float]]


@contextlib.contextmanager
def server_process(args: argparse.Namespace) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The server and its start-up facts; stopped by SIGTERM as an operator would."""
    if args.pipeline == "echo":
        command = [sys.executable, "-m", "benchmarks.echo_server"]
    else:
        command = [
            sys.executable,
            "-m",
            "engine.cli",
            "serve",
            "--avatar",
            args.avatar,
            "--runner",
            args.runner,
        ]
        command += ["--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start: status {process.wait()}, see its message above")
        try:
            yield process, json.loads(line)
        finally:
            process.terminate()
            process.wait(30)


async def sample_server(pid: int, memory_mb: Samples, cpu_s: Samples) -> None:
    """Once a second: what the server holds and has used."""
    while True:
        memory, cpu, now_ns = resident_mb(pid), cpu_seconds(pid), time.perf_counter_ns()
        if memory is not None:
            memory_mb.append((now_ns, memory))
        if cpu is not None:
            cpu_s.append((now_ns, cpu))
        await asyncio.sleep(1)


async def call_with_aiortc(url: str, args: argparse.Namespace) -> dict[str, Any]:
    """One call by the headless caller."""
    width, height = args.size
    camera = StampedCamera(DriverPictures(args.driver, width, height).at, args.fps)
    peer = AiortcPeer(url, camera)
    await peer.connect()
    end_s = time.perf_counter() + FIRST_PICTURE_LIMIT_S
    while not peer.arrivals:
        if time.perf_counter() > end_s:
            raise SystemExit(
                f"no picture came back in {FIRST_PICTURE_LIMIT_S:.0f} s; connection {peer.state}"
            )
        await asyncio.sleep(0.05)
    await asyncio.sleep(args.warm_up + args.seconds)
    await peer.close()
    return {"sent_ns": camera.sent_ns, "arrivals": peer.arrivals, "stats": peer.stats}


async def call_with_chromium(url: str, args: argparse.Namespace) -> dict[str, Any]:
    """One call by a real browser."""
    from benchmarks.browser_peer import call, write_camera_file  # needs playwright, the other peer does not

    width, height = args.size
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "camera.y4m"
        loop = write_camera_file(file, DriverPictures(args.driver, width, height), width, height, args.fps)
        seen = await call(url, file, args.warm_up + args.seconds)
    return {
        "sent_ns": seen.sent_ns,
        "arrivals": seen.arrivals,
        "stats": seen.stats,
        "modulus": loop,
        "local_frames": seen.local_frames,
    }


def server_figures(stats: list[tuple[int, dict[str, Any]]], start_ns: int) -> dict[str, Any]:
    """What the server said about itself: medians over its messages of p50 and p95."""
    measured = [(at_ns, message) for at_ns, message in stats if at_ns >= start_ns]

    def middle(name: str, rank: str) -> float | None:
        values = [message[name][rank] for _, message in measured if message[name][rank] is not None]
        return percentiles(values)["p50"]

    stages = sorted({stage for _, message in measured for stage in message["stage_ms"]})
    ages = [(at_ns, message["queue_age_ms"]["p95"]) for at_ns, message in measured]
    return {
        "stage_ms": {
            stage: {
                rank: percentiles(
                    [m["stage_ms"][stage][rank] for _, m in measured if stage in m["stage_ms"]]
                )["p50"]
                for rank in ("p50", "p95")
            }
            for stage in stages
        },
        "server_ms": {rank: middle("server_ms", rank) for rank in ("p50", "p95")},
        "queue_age_ms": {rank: middle("queue_age_ms", rank) for rank in ("p50", "p95")},
        "queue_age_slope_ms_per_min": slope_per_minute([(at, age) for at, age in ages if age is not None]),
        "last": measured[-1][1] if measured else None,
    }


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Start, call, sum up."""
    machine = describe_machine()
    with server_process(args) as (process, facts):
        memory_mb: Samples = []
        cpu_s: Samples = []
        sampling = asyncio.create_task(sample_server(process.pid, memory_mb, cpu_s))
        caller = call_with_aiortc if args.peer == "aiortc" else call_with_chromium
        try:
            seen = await caller(facts["url"], args)
        finally:
            sampling.cancel()
    arrivals: list[Arrival] = seen["arrivals"]
    start_ns = arrivals[0].at_ns + round(args.warm_up * 1e9)
    extra = {"modulus": seen["modulus"]} if "modulus" in seen else {}
    figures = summarise(seen["sent_ns"], arrivals, start_ns, **extra)
    memory = memory_mb[round(args.warm_up) :]
    cpu_used_s = cpu_s[-1][1] - cpu_s[0][1] if cpu_s else None
    return {
        **figures,
        **server_figures(seen["stats"], start_ns),
        "memory_mb": {
            "start": round(memory[0][1], 1) if memory else None,
            "end": round(memory[-1][1], 1) if memory else None,
            "slope_per_min": slope_per_minute(memory),
        },
        "server_cpu_ms_per_picture": round(1e3 * cpu_used_s / len(arrivals), 2) if cpu_used_s else None,
        "machine": machine,
        "commit": commit(),
        "server": facts,
        "config": {
            "peer": args.peer,
            "pipeline": args.pipeline,
            "avatar": args.avatar if args.pipeline == "avatar" else None,
            "driver": args.driver.name,
            "size": list(args.size),
            "fps": args.fps,
            "seconds": args.seconds,
            "warm_up": args.warm_up,
        },
    }


def describe(figures: dict[str, Any]) -> str:
    """The figures for people."""
    latency, memory, config = figures["motion_to_photon_ms"], figures["memory_mb"], figures["config"]
    machine, server = figures["machine"], figures["server"]
    stages = ", ".join(f"{stage} {ms['p50']}" for stage, ms in figures["stage_ms"].items())
    age, growth = figures["queue_age_ms"]["p95"], figures["queue_age_slope_ms_per_min"]
    lines = {
        "motion to photon": f"p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms",
        "delivered": f"{figures['fps_delivered']} new pictures a second, for {figures['duration_s']} s",
        "dropped": f"{figures['dropped']} camera pictures, {figures['dropped_share']} of all",
        "frozen": f"{figures['frozen']} times, longest gap {figures['longest_gap_ms']} ms",
        "server": f"{figures['server_ms']['p50']} ms per picture: {stages}",
        "queue age": f"p95 {age} ms, {growth} ms per minute",
        "server memory": f"{memory['start']} -> {memory['end']} MB, {memory['slope_per_min']} MB per minute",
        "server CPU": f"{figures['server_cpu_ms_per_picture']} ms per picture",
    }
    head = f"{server['avatar']} ({server['runner_reason']})\non {machine['cpu']}, {machine['cores']} cores, "
    head += f"peer {config['peer']}, {config['size'][0]}x{config['size'][1]} at {config['fps']} fps\n"
    return head + "\n".join(f"  {name:<18}{text}" for name, text in lines.items())


def picture_size(text: str) -> tuple[int, int]:
    """Even numbers from text such as 640x480."""
    width, height = (int(side) for side in text.split("x"))
    if min(width, height) < 128 or width % 2 or height % 2:
        raise ValueError(text)
    return width, height


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="glass_to_glass"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="measured, after the warm-up (default 60)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=5.0, help="seconds left out at the start (default 5)"
    )
    parser.add_argument("--peer", choices=("aiortc", "chromium"), default="aiortc")
    parser.add_argument(
        "--pipeline", choices=("avatar", "echo"), default="avatar", help="echo: transport alone"
    )
    parser.add_argument("--avatar", default="bundled")
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--driver", type=Path, default=DEFAULT_DRIVER, help="clip that plays the presenter")
    parser.add_argument(
        "--size", type=picture_size, default=(640, 480), help="of the camera (default 640x480)"
    )
    parser.add_argument("--fps", type=int, default=30, help="of the camera (default 30)")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    figures = asyncio.run(measure(args))
    print(describe(figures))
    line = json.dumps(figures)
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
