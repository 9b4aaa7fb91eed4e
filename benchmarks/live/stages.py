"""What does each stage of one picture cost, from the camera's VP8 packet to the avatar's?

    avatarcast bench stages --seconds 20 [--avatar FILE] [--runner onnx-cpu] [--threads 2]

Runs a picture's whole way through the server in one thread, without a network: decode, colour conversion,
the pipeline's stages with the live tracker, colour conversion, encode. Each picture follows the one before at
once, so fps is what one session can sustain here; time stamps are the wall's, so the tracker's own threads
look for body and hands as often as in a call. What bounds it: the sum of the stages, as they follow each
other; the tracker's threads and the network's share the cores with them.

Three passes of --seconds, each after a warm-up with a new pipeline, tell the same stages by three clocks: the
wall's (stage_ms), the CPU time of the thread (cpu_thread_ms) and of the whole process (cpu_process_ms, with
the network's threads, and whatever the tracker's threads do meanwhile). A fourth, short pass counts memory:
of what Python and NumPy allocate, the most above the start of each picture (transient), and what is still
held after it; native allocations of OpenCV, LiteRT and the runner are in memory_mb only.

Machines differ by a factor of two, and one machine within an hour by as much, so CPU time is told in N too:
the bundled presenter's network of 256 px in float32 on one core (n_ms), run between the pictures that it
measures. cost_n is all that a picture costs, of the first pass; render_cost_n is retargeting, drawing and the
network alone, by the landmarks of the first pass, and render_stage_n the median of each of its stages.
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

import numpy as np

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.media_chain import CHAIN, MediaChain, Passage, camera_packets
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.machine import peak_mb, resident_mb
from benchmarks.records.record import Record
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_names
from engine.network.contract import allocate
from engine.person.landmarks import Landmarks
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline, PipelineConfig
from engine.runners.choice import choose_runner
from engine.runners.onnx_runner import OnnxRunner
from engine.stages import STAGES, TRACK_PARTS, Clock, percentiles
from engine.tracking.live_tracker import LiveTracker
from export.evaluate.replay import NoTracker

WIDTH, HEIGHT = 640, 480
BLOCK_S, UNITS = 1.0, 4  # of pictures between measurements of N; how many each time
DRAWN = 300  # pictures at most that are rendered without tracking
PICTURE_NS = 40_000_000  # between those
Ranks = dict[str, float | None]


@contextmanager
def running(
    avatar: Avatar, args: argparse.Namespace, packets: list[bytes], now: Clock
) -> Iterator[MediaChain]:
    """A chain that has been warmed up, timed by that clock."""
    config = PipelineConfig(runner=args.runner, threads=args.threads)
    runner, reason = choose_runner(config.runner, avatar, config.threads)
    tracker = LiveTracker(clock=now)
    pipeline = Pipeline(avatar, config, tracker, StepRenderer(avatar, runner), reason, now)
    try:
        pipeline.warm_up()
        chain = MediaChain(pipeline, tracker, packets, now)
        passages(chain, args.warm_up)
        yield chain
    finally:
        pipeline.close()


class CostUnit:
    """N: what the bundled presenter's network of 256 px costs in float32 on one core."""

    def __init__(self) -> None:
        self._runner = OnnxRunner(load_avatar(bundled_names()[0]).models["denoiser-fp32.onnx"], threads=1)
        self._feed = allocate(self._runner.inputs)
        self._runner.run(self._feed)
        self._took_s: list[float] = []

    def take(self, times: int = 1) -> float:
        """Measures, in this thread; gives the last in CPU seconds."""
        for _ in range(times):
            began = thread_time()
            self._runner.run(self._feed)
            self._took_s.append(thread_time() - began)
        return self._took_s[-1]

    @property
    def seconds(self) -> float:
        """The median of all."""
        return float(np.median(self._took_s))


def drawing(avatar: Avatar, args: argparse.Namespace, driver: Sequence[Landmarks]) -> dict[str, Any]:
    """What rendering alone costs: the medians over pictures, each in units taken beside it."""
    runner, reason = choose_runner(args.runner, avatar, args.threads)
    config = PipelineConfig(runner=args.runner, threads=args.threads)
    pipeline = Pipeline(avatar, config, NoTracker(), StepRenderer(avatar, runner), reason, process_time)
    blank, unit = np.zeros((8, 8, 3), np.uint8), CostUnit()
    rows: list[dict[str, float]] = []
    try:
        pipeline.warm_up()
        for index, landmarks in enumerate(driver):
            unit_ms = 1e3 * unit.take()
            began = process_time()
            made = pipeline.process(blank, index * PICTURE_NS, landmarks)
            total_ms = 1e3 * (process_time() - began)
            if not made.reused:
                stages = {**made.stage_ms, "total": total_ms}
                rows.append({name: value / unit_ms for name, value in stages.items()})
    finally:
        pipeline.close()
    names = [name for name in STAGES if name != "track"]
    return {
        "render_cost_n": round(float(np.median([row["total"] for row in rows])), 3),
        "render_stage_n": {name: round(float(np.median([row[name] for row in rows])), 3) for name in names},
    }


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


def summarise(through: Sequence[Passage], elapsed_s: float, cpu_s: float, unit_s: float) -> dict[str, Any]:
    """The figures of the pass by the wall's clock. unit_s: CPU seconds of one N."""
    return {
        "fps": round(len(through) / elapsed_s, 2),
        "pictures": len(through),
        "reused_share": round(sum(one.reused for one in through) / len(through), 4),
        "total_ms": percentiles([one.total_ms for one in through]),
        "stage_ms": by_stage(through),
        "track_part_ms": by_part(through),
        "cpu_ms_per_picture": round(1e3 * cpu_s / len(through), 2),
        "n_ms": round(1e3 * unit_s, 2),
        "cost_n": round(cpu_s / len(through) / unit_s, 3),
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
    unit = CostUnit()
    memory_mb = {"before": _rounded(resident_mb(os.getpid()))}
    with running(avatar, args, packets, perf_counter) as chain:
        through, elapsed_s, cpu_s = [], 0.0, 0.0
        while elapsed_s < args.seconds:
            unit.take(UNITS)
            before_s, began_s = process_time(), perf_counter()
            through += passages(chain, min(BLOCK_S, args.seconds))
            elapsed_s, cpu_s = elapsed_s + perf_counter() - began_s, cpu_s + process_time() - before_s
        figures = summarise(through, elapsed_s, cpu_s, unit.seconds)
        memory_mb |= {"after": _rounded(resident_mb(os.getpid())), "peak": _rounded(peak_mb(os.getpid()))}
        reason = chain.runner_reason
    driver = [one.landmarks for one in through if one.landmarks is not None]
    figures |= drawing(avatar, args, driver[:DRAWN])
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
