"""Print how good an avatar is: its held-out table with baselines, and how faithfully it follows a driver."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import BUNDLED, avatar_help
from engine.avatar.records import number, table
from engine.commands.options import add_runner
from engine.errors import SettingsError
from engine.files import write_file
from engine.pipeline import PipelineConfig
from export.evaluate.follow import follow
from export.evaluate.held_out import measure_held_out
from export.evaluate.report_sheets import driven_picture, held_out_picture
from export.evaluate.report_text import held_out_motion_table, held_out_table, motion_table
from export.footage.prepare import prepare_again
from export.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast evaluate`."""
    parser.add_argument("avatar", nargs="?", default=BUNDLED, help=avatar_help())
    parser.add_argument(
        "--footage",
        nargs="+",
        type=Path,
        help="the footage it was enrolled from: measures the held-out tail again",
    )
    parser.add_argument(
        "--driver", type=Path, help="a clip to drive it with: tracks the output and compares the motion"
    )
    add_runner(parser)
    parser.add_argument(
        "--steps", type=int, default=1, help="denoising steps per frame with --driver (default 1)"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="OUT.png",
        help="write what was measured as a picture, with --footage or --driver; with neither, the one that "
        "enrolment stored. It shows the person",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Measure what was asked for; without footage the table stored at enrolment is shown."""
    avatar = load_avatar(args.avatar)
    _check_picture(avatar, args)
    report: dict[str, Any] = dict(avatar.report)
    picture = avatar.report_png
    if args.footage:
        report, picture = _measure_again(avatar, args.footage, args.runner)
    if args.driver:
        config = PipelineConfig(args.runner, args.steps, live=False)
        with Bars() as bars:
            found = follow(avatar, args.driver, config, bars.show, with_frames=args.picture is not None)
        report |= found.report
        if args.picture is not None:
            picture = driven_picture(found.report_frames, avatar.name, args.driver.name)
    if args.picture is not None:
        write_file(args.picture, picture, shared=True)
    if args.json:
        print(json.dumps({"avatar": avatar.name, **report}))
        return 0
    held_out = table(report, "held_out")
    if frames := number(held_out, "frames"):
        print(f"{avatar.name}, held-out tail of its footage ({frames:.0f} frames):")
        print(held_out_table(report))
    else:
        print(f"{avatar.name}: the held-out tail of its footage was not measured; give --footage")
    if table(held_out, "motion"):
        print("\nits motion against the real frames', both tracked:")
        print(held_out_motion_table(held_out))
    if args.driver:
        print(f"\ndriven by {args.driver.name}:")
        print(motion_table(report))
    return 0


def _check_picture(avatar: Avatar, args: argparse.Namespace) -> None:
    """Before minutes are spent. Raises SettingsError."""
    if args.picture is None:
        return
    if args.picture.suffix != ".png":
        raise SettingsError(f"--picture {args.picture}: must end in .png")
    if not args.picture.parent.is_dir():
        raise SettingsError(f"--picture {args.picture}: there is no folder {args.picture.parent}; make it")
    if args.footage and args.driver:
        raise SettingsError("--picture: is of --footage or of --driver; give one of them")
    if not (args.footage or args.driver or avatar.report_png):
        raise SettingsError(
            f"--picture: {avatar.name} holds no picture of its report: give --footage or --driver"
        )


def _measure_again(avatar: Avatar, paths: Sequence[Path], runner: str) -> tuple[dict[str, Any], bytes]:
    """The report and its picture."""
    with Bars() as bars:
        prepared = prepare_again(avatar, paths, bars.show)
        found = measure_held_out(
            avatar, prepared, runner, lambda done, total: bars.show("measuring", done, total)
        )
    training = avatar.training
    return found.report, held_out_picture(found, avatar.name, prepared.fps, training)
