"""Does one distilled step look like the teacher's eight, and is it as sharp as the footage?

    python -m benchmarks.pictures.distillation --clip LABEL FOOTAGE TEACHER.avatar STUDENT.avatar [--clip ...]

Asks `avatarcast evaluate --footage` for both avatars of each clip: PSNR of the held-out tail with 1, 2, 4 and
8 steps, and sharpness, which is the power in the upper half of the spectrum over that of the real frames.

PSNR favours the smooth: a mean of many guesses beats each of them. So both are told, and neither alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.records.machine import describe_machine
from benchmarks.records.options import instrument_parser
from benchmarks.records.record import file_name, result_of
from benchmarks.records.report import add_out, finish, record

STEPS = ("1", "2", "4", "8")
Evaluate = Callable[[Sequence[str]], dict[str, Any]]  # an avatarcast command less --json -> what it printed


def figures(clips: Sequence[Sequence[str]], evaluate: Evaluate) -> list[dict[str, Any]]:
    """clips: label, footage, teacher and student each."""
    return [
        {
            "label": label,
            "teacher": _of(evaluate(["evaluate", teacher, "--footage", footage])),
            "student": _of(evaluate(["evaluate", student, "--footage", footage])),
        }
        for label, footage, teacher, student in clips
    ]


def _of(report: dict[str, Any]) -> dict[str, Any]:
    return {
        steps: {"psnr_db": report["steps"][steps], "sharpness": report["sharpness"][steps]} for steps in STEPS
    }


def describe(found: Sequence[dict[str, Any]]) -> str:
    """The figures for people."""
    lines = []
    for clip in found:
        for who in ("teacher", "student"):
            cells = [
                f"{steps}: {clip[who][steps]['psnr_db']['frame']} dB, {clip[who][steps]['sharpness']}"
                for steps in STEPS
            ]
            lines.append(f"{clip['label']}, {who}: " + "; ".join(cells))
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "distillation")
    parser.add_argument(
        "--clip", nargs=4, action="append", required=True, metavar=("LABEL", "FOOTAGE", "TEACHER", "STUDENT")
    )
    add_out(parser)
    args = parser.parse_args()
    machine = describe_machine()
    try:
        found = figures(args.clip, result_of)
    except subprocess.CalledProcessError as failed:  # it has said why
        return failed.returncode
    config = {"clips": [[label, *map(file_name, files)] for label, *files in args.clip]}
    finish(record("distillation", {"clips": found}, config, machine), describe(found), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
