"""How faithfully does an avatar follow strangers?

    avatarcast bench follow --driver "phone selfie=clip.mp4" [--driver ...] [--avatar FILE]
        [--picture OUT.png]

Drives the avatar with each clip and tracks what comes out, as `avatarcast evaluate --driver` does:
correlation and gain of head, lips, lids, wrists and fingers, with a driver in shuffled order as the control
that must fail, and the share of the driver's frames that show the part. LABEL=FILE names a row of the table.
The picture has a row of pairs, driver and output, for every clip, chosen for the range they show; it shows
those people.

It measures motion by tracking the output again with the tracker that also drove it, so what that tracker
cannot see counts on neither side; the shuffled driver shows what chance alone would reach.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.pictures.clips import Labelled
from benchmarks.records.instrument import DEFAULT_DRIVER, Instrument, add_common, check_writable, told
from benchmarks.records.record import Record
from engine.avatar.avatar_file import load_avatar
from engine.pipeline import PipelineConfig
from export.evaluate.follow import follow
from export.evaluate.report_picture import ReportFrame, pairs_png
from export.progress import Bars


def measure(args: argparse.Namespace) -> Record:
    """Every driver in turn; writes the picture where one is asked for."""
    check_writable("--picture", args.picture, ".png")
    avatar = load_avatar(args.avatar)
    config = PipelineConfig(args.runner, args.steps, live=False)
    drivers: list[dict[str, Any]] = []
    pairs: dict[str, list[ReportFrame]] = {}
    for driver in map(Labelled.parse, args.driver or [str(DEFAULT_DRIVER)]):
        with Bars(disable=None) as bars:
            found = follow(avatar, Path(driver.file), config, bars.show, with_frames=args.picture is not None)
        drivers.append({"label": driver.label, "file": told(driver.file), **found.report})
        pairs[driver.label] = list(found.report_frames.values())
    if args.picture is not None:
        args.picture.write_bytes(pairs_png(pairs))
    return {"name": avatar.name, "drivers": drivers}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who follows whom."""
    parser.add_argument("--driver", action="append", help="LABEL=CLIP; may be repeated")
    add_common(parser, "avatar", "runner", "steps", "picture")


main = Instrument("follow", __doc__, add_options, measure, quick={})
