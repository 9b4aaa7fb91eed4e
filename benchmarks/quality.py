"""How good is each avatar, and how faithfully does it follow strangers?

    python -m benchmarks.quality --avatar "presenter, 63 s=bundled" --driver "phone selfie=clip.mp4" ...

Asks `avatarcast evaluate --json` for every avatar with every driver. LABEL=FILE names a row of the tables; a
file alone is its own label. A long list may stand in a text file, one word a line, given as @FILE. The
held-out table is the one that enrolment stored in the avatar.

It measures motion by tracking the output again with the tracker that also drove it, so what that tracker
cannot see counts on neither side; the shuffled driver shows what chance alone would reach.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.record import file_name, result_of
from benchmarks.report import add_out, finish, record
from engine.errors import SettingsError

HELD_OUT = ("held_out", "steps", "baselines")
MOTION = ("motion", "motion_shuffled")
Evaluate = Callable[[Sequence[str]], dict[str, Any]]  # an avatarcast command less --json -> what it printed


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file and the name it has in tables."""

    label: str
    file: str

    @classmethod
    def parse(cls, text: str) -> Labelled:
        """From LABEL=FILE or FILE."""
        label, equals, file = text.rpartition("=")
        if not file or (equals and not label):
            raise SettingsError(f"{text!r}: wanted LABEL=FILE or FILE")
        return cls(label or file_name(file), file)


def tables(
    avatars: Sequence[Labelled], drivers: Sequence[Labelled], options: Sequence[str], evaluate: Evaluate
) -> list[dict[str, Any]]:
    """For each avatar its held-out table, and its motion with each driver."""
    found = []
    for avatar in avatars:
        reports = [
            evaluate(["evaluate", avatar.file, "--driver", driver.file, *options]) for driver in drivers
        ] or [evaluate(["evaluate", avatar.file, *options])]
        found.append(
            {
                "label": avatar.label,
                "name": reports[0]["avatar"],
                **{key: reports[0][key] for key in HELD_OUT},
                "drivers": [
                    {
                        "label": driver.label,
                        "file": file_name(driver.file),
                        **{key: report[key] for key in MOTION},
                    }
                    for driver, report in zip(drivers, reports, strict=False)
                ],
            }
        )
    return found


def describe(found: Sequence[dict[str, Any]]) -> str:
    """The figures for people."""
    lines = []
    for avatar in found:
        lines.append(f"{avatar['label']}: held-out tail {avatar['held_out']['psnr_db']['frame']} dB")
        for driver in avatar["drivers"]:
            parts = [
                f"{part} {value['correlation']:.2f}/{value['gain']:.2f}"
                for part, value in driver["motion"].items()
                if value is not None
            ]
            lines.append(f"  {driver['label']} (correlation/gain): {', '.join(parts)}")
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="quality",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("--avatar", action="append", required=True, help='LABEL=FILE; FILE may be "bundled"')
    parser.add_argument("--driver", action="append", default=[], help="LABEL=CLIP")
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps per frame (default 1)")
    add_out(parser)
    args = parser.parse_args()
    machine, began = describe_machine(), perf_counter()
    options = ["--runner", args.runner, "--steps", str(args.steps)]
    avatars, drivers = ([Labelled.parse(text) for text in side] for side in (args.avatar, args.driver))
    try:
        found = tables(avatars, drivers, options, result_of)
    except subprocess.CalledProcessError as failed:  # it has said why
        return failed.returncode
    figures = {"avatars": found, "seconds": round(perf_counter() - began, 1)}
    config = {"runner": args.runner, "steps": args.steps}
    finish(record("quality", figures, config, machine), describe(found), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
