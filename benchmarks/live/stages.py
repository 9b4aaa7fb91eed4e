"""What does each stage of one picture cost, from the camera's VP8 packet to the avatar's?

    avatarcast bench stages --seconds 20 [--avatar FILE] [--runner onnx-cpu] [--threads 2]

Runs a picture's whole way through the server in one thread, without a network: decode, colour conversion,
the pipeline's stages with the live tracker, colour conversion, encode. Each picture follows the one before at
once, so fps is what one session can sustain here; time stamps are the wall's, so the tracker's own threads
look for body and hands as often as in a call. What bounds it: the sum of the stages, as they follow each
other; the tracker's threads and the network's share the cores with them.

Three passes of --seconds, each after a warm-up with a new pipeline, tell the same stages by three clocks: the
wall's (stage_ms), the CPU time of the thread (cpu_thread_ms) and of the whole process (cpu_process_ms, with
the network's and LiteRT's threads, and whatever the tracker's threads do meanwhile). A fourth, short pass
counts memory: of what Python and NumPy allocate, the most above the start of each picture (transient), and
what is still held after it; native allocations of OpenCV, LiteRT and the runner are in memory_mb only.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, perf_counter_ns, process_time, thread_time
from typing import Any

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.media_chain import CHAIN, MediaChain, Passage, camera_packets
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.machine import peak_mb, resident_mb
from benchmarks.records.record import Record
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.pipeline import Pipeline, PipelineConfig
from engine.runners.choice import choose_runner
from engine.stages import TRACK_PARTS, Clock, percentiles
from engine.tracking.live_tracker import LiveTracker

WIDTH, HEIGHT = 640, 480
Ranks = dict[str, float | None]


@contextmanager
def running(
    avatar: Avatar, args: argparse.Namespace, packets: list[bytes], now: Clock
) -> Iterator[MediaChain]:
    """A chain that has been warmed up, timed by that clock."""
    config = PipelineConfig(runner=args.runner, threads=args.threads)
    runner, reason = choose_runner(config.runner, avatar, config.threads)
    tracker = LiveTracker(clock=now)
    pipeline = Pipeline(avatar, config, tracker, runner, reason, now)
    try:
        pipeline.warm_up()
        chain = MediaChain(pipeline, tracker, packets, now)
        passages(chain, args.warm_up)
        yield chain
    finally:
        pipeline.close()


def passages(chain: MediaChain, seconds: float) -> list[Passage]:
    """As many pictures as go through in that time."""
    end = perf_counter() + seconds
    through = []
    while perf_counter() < end:
        through.append(chain.next(perf_counter_ns()))
    return through


def by_stage(through: Sequence[Passage]) -> dict[str, Ranks]:
    """Percentiles of each stage over the pictures that went through it, in order."""
    return _ranked([one.stage_ms for one in through], CHAIN)


def by_part(through: Sequence[Passage]) -> dict[str, Ranks]:
    """Percentiles of each part of the tracker over the pictures in which it ran."""
    return _ranked([one.track_part_ms for one in through], TRACK_PARTS)


def _ranked(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Ranks]:
    return {name: percentiles([row[name] for row in rows if name in row]) for name in names}


def summarise(through: Sequence[Passage], elapsed_s: float, cpu_s: float) -> dict[str, Any]:
    """The figures of the pass by the wall's clock."""
    return {
        "fps": round(len(through) / elapsed_s, 2),
        "pictures": len(through),
        "reused_share": round(sum(one.reused for one in through) / len(through), 4),
        "total_ms": percentiles([one.total_ms for one in through]),
        "stage_ms": by_stage(through),
        "track_part_ms": by_part(through),
        "cpu_ms_per_picture": round(1e3 * cpu_s / len(through), 2),
        "cores_busy": round(cpu_s / elapsed_s, 2),
    }


def allocations(chain: MediaChain, pictures: int) -> dict[str, Any]:
    """What Python and NumPy allocate for one picture, over some of them."""
    transient_kb = []
    tracemalloc.start()
    try:
        for _ in range(pictures):  # until what is kept anyway was allocated within sight
            chain.next(perf_counter_ns())
        gc.collect()
        first_bytes, first_blocks = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
        for _ in range(pictures):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            chain.next(perf_counter_ns())
            transient_kb.append((tracemalloc.get_traced_memory()[1] - before) / 1024)
        gc.collect()
        kept_bytes = tracemalloc.get_traced_memory()[0] - first_bytes
        kept_blocks = sys.getallocatedblocks() - first_blocks
    finally:
        tracemalloc.stop()
    return {
        "pictures": pictures,
        "transient_kb": percentiles(transient_kb),
        "kept_kb_per_picture": round(kept_bytes / 1024 / pictures, 2),
        "kept_blocks_per_picture": round(kept_blocks / pictures, 2),
    }


def measure(args: argparse.Namespace) -> Record:
    """All passes."""
    avatar = load_avatar(args.avatar)
    pictures = DriverPictures(args.driver, WIDTH, HEIGHT)
    packets = camera_packets(pictures.once(), pictures.fps)
    del pictures
    memory_mb = {"before": _rounded(resident_mb(os.getpid()))}
    with running(avatar, args, packets, perf_counter) as chain:
        cpu_s, began_s = process_time(), perf_counter()
        through = passages(chain, args.seconds)
        figures = summarise(through, perf_counter() - began_s, process_time() - cpu_s)
        memory_mb |= {"after": _rounded(resident_mb(os.getpid())), "peak": _rounded(peak_mb(os.getpid()))}
        reason = chain.runner_reason
    for name, now in (("cpu_thread_ms", thread_time), ("cpu_process_ms", process_time)):
        with running(avatar, args, packets, now) as chain:
            through = passages(chain, args.seconds)
        figures[name] = {**by_stage(through), "total": percentiles([one.total_ms for one in through])}
    with running(avatar, args, packets, perf_counter) as chain:
        figures["allocations"] = allocations(chain, args.memory_pictures)
    config = {"avatar": avatar.name, "size": avatar.size, "camera": [WIDTH, HEIGHT], "runner_reason": reason}
    return {**figures, "memory_mb": memory_mb, "config": config}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is run, how long."""
    parser.add_argument(
        "--memory-pictures", type=counted, default=60, help="over which memory is counted (default 60)"
    )
    add_common(parser, "warm_up", "avatar", "runner", "threads", "driver", seconds=20.0)


main = Instrument(
    "stages",
    __doc__,
    add_options,
    measure,
    quick={"seconds": 0.5, "warm_up": 0.2, "memory_pictures": 5},
)
