"""Print how good an avatar is: its held-out table with baselines, and how faithfully it follows a driver."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engine.avatar import Avatar, load_avatar
from engine.errors import SettingsError
from engine.landmarks import Landmarks
from engine.pipeline import PipelineConfig, build_pipeline
from engine.tracking import EveryFrameTracker
from engine.video import probe, read_frames
from export.faithfulness import compare_motion
from export.footage import load_footage
from export.framing import Framing, parse_framing
from export.held_out import held_out_report
from export.prepare import prepare
from export.prepared import Prepared
from export.report_text import held_out_table, motion_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast evaluate`."""
    parser.add_argument(
        "avatar", nargs="?", default="bundled", help='an .avatar file, or "bundled" (default)'
    )
    parser.add_argument(
        "--footage",
        nargs="+",
        type=Path,
        help="the footage it was enrolled from: measures the held-out tail again",
    )
    parser.add_argument(
        "--driver", type=Path, help="a clip to drive it with: tracks the output and compares the motion"
    )
    parser.add_argument("--runner", default="auto", help="auto (default), onnx-cpu, onnx-cuda, null")
    parser.add_argument(
        "--steps", type=int, default=1, help="denoising steps per frame with --driver (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Measure what was asked for; without footage the table stored at enrolment is shown."""
    avatar = load_avatar(args.avatar)
    report: dict[str, Any] = dict(avatar.report)
    if args.footage:
        report |= _measure_again(avatar, args.footage, args.runner)
    if args.driver:
        report |= follow(avatar, args.driver, PipelineConfig(args.runner, args.steps, live=False))
    if args.json:
        print(json.dumps({"avatar": avatar.name, **report}))
        return 0
    print(f"{avatar.name}, held-out tail of its footage ({report['held_out']['frames']} frames):")
    print(held_out_table(report))
    if args.driver:
        print(f"\ndriven by {args.driver.name}:")
        print(motion_table(report))
    return 0


def _measure_again(avatar: Avatar, paths: Sequence[Path], runner: str) -> dict[str, Any]:
    prepared = prepare_again(avatar, paths)
    with _bar("measuring") as bar:
        return held_out_report(avatar, prepared, runner, lambda done, total: _show(bar, done, total))


def prepare_again(avatar: Avatar, paths: Sequence[Path]) -> Prepared:
    """The footage that the avatar was enrolled from, tracked and cut as it was then."""
    framings = [parse_framing(text) for text in avatar.manifest["training"]["framings"]]
    if len(framings) != len(paths):
        raise SettingsError(
            f"--footage: {len(paths)} clips; {avatar.name} was enrolled from {len(framings)}: give those"
        )
    with _bar("tracking") as bar:
        footage = load_footage(paths, progress=lambda done, total: _show(bar, done, total))
    squares = [framing for framing in framings if isinstance(framing, Framing)]
    with _bar("cutting out") as bar:
        return prepare(footage, squares, avatar.size, lambda done, total: _show(bar, done, total))


def follow(avatar: Avatar, driver: Path, config: PipelineConfig) -> dict[str, Any]:
    """Drives the avatar with a clip and tracks what comes out: `motion` and `motion_shuffled`."""
    info = probe(driver)
    theirs: list[Landmarks] = []
    with EveryFrameTracker(filtered=True) as tracker, _bar("tracking") as bar:
        for frame in read_frames(driver):
            theirs.append(tracker.track(frame.rgb, int(frame.time_s * 1e9)))
            _show(bar, len(theirs), info.frames)
    pipeline = build_pipeline(avatar, config)
    ours: list[Landmarks] = []
    try:
        pipeline.calibrate_from(theirs)
        with EveryFrameTracker(filtered=True) as tracker, _bar("rendering") as bar:
            for frame, landmarks in zip(read_frames(driver), theirs, strict=True):
                time_ns = int(frame.time_s * 1e9)
                ours.append(
                    tracker.track(pipeline.process(frame.rgb, time_ns, landmarks=landmarks).rgb, time_ns)
                )
                _show(bar, len(ours), info.frames)
    finally:
        pipeline.close()
    return compare_motion(theirs, ours)


def _bar(name: str) -> tqdm:
    return tqdm(desc=name, unit="frame", file=sys.stderr, mininterval=0.5)


def _show(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)
