"""How much does this pipeline save against the diffusion graph that live tools otherwise run per picture?

    avatarcast bench baselines --rounds 8 [--live --seconds 60]

In turns in one process, on the same number of threads, at the avatar's size:
- sd_turbo: SD-Turbo's U-Net in one step with a tiny autoencoder (benchmarks.live.sd_turbo) in torch, float32;
  its weights are random, so its time is real and its picture is not;
- denoiser: our network in the runner that serves; denoiser_torch: the same in torch, so that what the network
  saves and what the runner saves can be told apart;
- pipeline: everything from the camera's picture to the avatar's, with every tracker on every picture (a call
  runs the slow ones beside it, and takes less).
times_faster is the median over the rounds of sd_turbo's time over the other's, with an interval from
resampling the rounds. What bounds sd_turbo is arithmetic; our network is so small that moving the pictures
counts too.

--live makes three calls through the real server (benchmarks.live.glass_to_glass): the echo, which is
transport alone; the avatar; and the echo with sd_turbo's graph run for every picture, which tracks nothing
and so is a lower bound of what such a tool takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.live.openmp import wait_patiently
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from benchmarks.records.series import paired_ratio
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from engine.media.video import read_frames
from engine.pipeline import Pipeline, PipelineConfig, build_pipeline
from engine.render.temporal_cache import CacheConfig
from engine.runners.choice import choose_runner, default_threads
from engine.stages import Clock, percentiles
from export.progress import Bars

BASELINE = "sd_turbo"
FRAME_NS = 40_000_000
LIVE = {"echo": "echo", "avatar": "avatar", BASELINE: "sd-turbo"}  # our name -> glass_to_glass's
LIVE_FIGURES = ("motion_to_photon_ms", "fps_delivered", "delivered", "duration_s")
LIVE_PX = 256  # of the echo's picture


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing to be timed: `run` is one picture."""

    run: Callable[[], object]
    pictures: int  # timed in each round
    settle: int = 0  # run before them, untimed: the first after a change of arm finds cold caches


def take_turns(arms: Mapping[str, Arm], rounds: int, now: Clock) -> dict[str, list[list[float]]]:
    """ms of each picture, by arm and round."""
    taken: dict[str, list[list[float]]] = {name: [] for name in arms}
    with Bars(disable=None) as bars:
        for done in range(rounds):
            for name, arm in arms.items():
                for _ in range(arm.settle):
                    arm.run()
                times = [now()]
                for _ in range(arm.pictures):
                    arm.run()
                    times.append(now())
                taken[name].append((np.diff(times) * 1e3).tolist())
            bars.show("rounds", done + 1, rounds, "")
    return taken


def summarise(taken: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Percentiles of each arm, and how many times longer the baseline takes."""
    by_round = {name: [float(np.median(times)) for times in rounds] for name, rounds in taken.items()}
    return {
        "picture_ms": {
            name: percentiles([ms for times in rounds for ms in times]) for name, rounds in taken.items()
        },
        "round_ms": {name: [round(ms, 3) for ms in medians] for name, medians in by_round.items()},
        "times_faster": {
            name: paired_ratio(by_round[BASELINE], medians).as_json()
            for name, medians in by_round.items()
            if name != BASELINE
        },
    }


@contextmanager
def our_arms(avatar: Avatar, args: argparse.Namespace) -> Iterator[tuple[dict[str, Arm], str]]:
    """Denoiser and pipeline, and which runner serves."""
    threads = args.threads
    runner, reason = choose_runner(args.runner, avatar, threads)
    torch_runner, _ = choose_runner("torch", avatar, threads)
    feed = {name: np.zeros(spec.shape, spec.dtype) for name, spec in runner.inputs.items()}
    # A gate that leaves out pictures in which nothing moves would make us look faster.
    config = PipelineConfig(args.runner, threads=threads, live=False, cache=CacheConfig(pose_gate=False))
    pipeline = build_pipeline(avatar, config)
    try:
        yield (
            {
                "denoiser": Arm(lambda: runner.run(feed), args.pictures, settle=2),
                "denoiser_torch": Arm(lambda: torch_runner.run(feed), args.pictures, settle=2),
                "pipeline": Arm(feeder(pipeline, args.driver), args.pictures, settle=2),
            },
            reason,
        )
    finally:
        pipeline.close()
        runner.close()
        torch_runner.close()


def feeder(pipeline: Pipeline, driver: Path) -> Callable[[], object]:
    """Gives the pipeline the next picture of a clip that never ends."""
    pictures = cycle([frame.rgb for frame in read_frames(driver)])
    times_ns = iter(range(0, sys.maxsize, FRAME_NS))
    return lambda: pipeline.process(next(pictures), next(times_ns))


def side_by_side(avatar: Avatar, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of all rounds."""
    # imports torch, which reads its settings then
    from benchmarks.live.sd_turbo import SdTurboConfig, SdTurboOnCpu

    baseline = SdTurboOnCpu(SdTurboConfig(size_px=avatar.size), args.threads)
    picture = np.zeros((avatar.size, avatar.size, 3), np.uint8)
    with our_arms(avatar, args) as (ours, reason):
        arms = {BASELINE: Arm(lambda: baseline.run(picture), args.baseline_pictures), **ours}
        for name in (BASELINE, "denoiser_torch"):  # the first runs set things up
            arms[name].run()
        taken = take_turns(arms, args.rounds, perf_counter)
    return {
        **summarise(taken),
        "weights": "random in sd_turbo: timing only",
        "runner_reason": reason,
    }


def glass_to_glass(pipeline: str, args: argparse.Namespace) -> dict[str, Any]:
    """One call, measured in processes of its own."""
    command = [sys.executable, "-m", "engine.cli", "bench", "glass_to_glass", "--pipeline", pipeline]
    command += ["--avatar", args.avatar, "--runner", args.runner, "--seconds", str(args.seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"the call with --pipeline {pipeline} failed with status {done.returncode}, see above"
        )
    measured = json.loads(done.stdout.splitlines()[-1])
    return {name: measured[name] for name in LIVE_FIGURES}


def measure(args: argparse.Namespace) -> Record:
    """Side by side, then live where asked for."""
    wait_patiently()
    avatar = load_avatar(args.avatar)
    if args.live and avatar.size != LIVE_PX:
        raise SettingsError(
            f"--live: {avatar.name} has {avatar.size} px; wanted {LIVE_PX} px, the echo's: leave out --live"
        )
    figures = side_by_side(avatar, args)
    if args.live:
        figures["live"] = {name: glass_to_glass(pipeline, args) for name, pipeline in LIVE.items()}
    versions = {name: metadata.version(name) for name in ("torch", "diffusers")}
    return {**figures, "config": {"avatar": avatar.name, "size": avatar.size, "versions": versions}}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which networks, how often."""
    add_common(parser, "avatar", "runner", "driver", threads=default_threads(), seconds=60.0)
    parser.add_argument("--rounds", type=counted, default=8, help="(default 8)")
    parser.add_argument("--pictures", type=counted, default=25, help="of ours in a round (default 25)")
    parser.add_argument(
        "--baseline-pictures", type=counted, default=2, help="of the baseline in a round (default 2)"
    )
    parser.add_argument("--live", action="store_true", help="three calls through the real server too")


main = Instrument(
    "baselines",
    __doc__,
    add_options,
    measure,
    quick={"rounds": 1, "pictures": 3, "baseline_pictures": 1, "seconds": 3.0},
)
