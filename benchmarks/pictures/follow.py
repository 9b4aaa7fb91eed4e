"""How faithfully does an avatar follow strangers?

    python -m benchmarks.pictures.follow --driver "phone selfie=clip.mp4" [--driver ...] [--avatar FILE]
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
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.pictures.quality import Labelled
from benchmarks.records.machine import describe_machine
from benchmarks.records.options import instrument_parser
from benchmarks.records.record import file_name
from benchmarks.records.report import add_out, finish, record
from engine.avatar.avatar import load_avatar
from engine.pipeline import PipelineConfig
from export.evaluate.follow import follow
from export.evaluate.report_picture import ReportFrame, pairs_png


def measure(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[ReportFrame]]]:
    """The record, and pairs for the picture by label; none unless asked for."""
    machine, began = describe_machine(), perf_counter()
    avatar = load_avatar(args.avatar)
    config = PipelineConfig(args.runner, args.steps, live=False)
    drivers, pairs = [], {}
    for driver in map(Labelled.parse, args.driver):
        found = follow(avatar, Path(driver.file), config, _tell, with_frames=args.picture is not None)
        drivers.append({"label": driver.label, "file": file_name(driver.file), **found.report})
        pairs[driver.label] = list(found.report_frames.values())
    figures = {"name": avatar.name, "drivers": drivers, "seconds": round(perf_counter() - began, 1)}
    settings = {"avatar": avatar.name, "runner": args.runner, "steps": args.steps}
    return record("follow", figures, settings, machine), pairs


def describe(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    lines = []
    for driver in figures["drivers"]:
        parts = [
            f"{part} {value['correlation']:.2f}/{value['gain']:.2f}"
            for part, value in driver["motion"].items()
            if value is not None
        ]
        controls = [value["correlation"] for value in driver["motion_shuffled"].values() if value is not None]
        lines.append(f"{driver['label']} (correlation/gain): {', '.join(parts)}")
        lines.append(f"  shuffled: at most {max(map(abs, controls), default=0.0):.2f}")
    return "\n".join(lines)


def _tell(stage: str, done: int, total: int) -> None:
    print(f"\r{stage} {done}/{total}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "follow")
    parser.add_argument("--driver", action="append", required=True, help="LABEL=CLIP; may be repeated")
    parser.add_argument("--avatar", default="bundled")
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps per frame (default 1)")
    parser.add_argument(
        "--picture", type=Path, metavar="OUT.png", help="also write pairs of driver and output"
    )
    add_out(parser)
    args = parser.parse_args()
    figures, pairs = measure(args)
    if args.picture is not None:
        args.picture.write_bytes(pairs_png(pairs))
    finish(figures, describe(figures), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
