"""Does one distilled step look like the teacher's eight, and is it as sharp as the footage?

    avatarcast bench distillation --clip LABEL FOOTAGE TEACHER.avatar STUDENT.avatar [--clip ...]

Asks `avatarcast evaluate --footage` for both avatars of each clip (without --clip only for a presenter, as
both): PSNR of the held-out tail with 1, 2, 4 and
8 steps, and sharpness, which is the power in the upper half of the spectrum over that of the real frames.

PSNR favours the smooth: a mean of many guesses beats each of them. So both are told, and neither alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.pictures.clips import FILMS, result_of
from benchmarks.records.instrument import Instrument, Record

STEPS = ("1", "2", "4", "8")
Evaluate = Callable[[Sequence[str]], dict[str, Any]]  # an avatarcast command less --json -> what it printed


def figures(clips: Sequence[Sequence[str]], evaluate: Evaluate) -> list[dict[str, Any]]:
    """clips: label, footage, teacher and student each."""
    found = []
    for label, footage, teacher, student in clips:
        asked = {name: ["evaluate", name, "--footage", footage] for name in (teacher, student)}
        reports = {name: _of(evaluate(command)) for name, command in asked.items()}
        found.append({"label": label, "teacher": reports[teacher], "student": reports[student]})
    return found


def _of(report: dict[str, Any]) -> dict[str, Any]:
    return {
        steps: {"psnr_db": report["steps"][steps], "sharpness": report["sharpness"][steps]} for steps in STEPS
    }


def describe(figures: Record) -> str:
    """The figures for people."""
    lines = []
    for clip in figures["clips"]:
        for who in ("teacher", "student"):
            cells = [
                f"{steps}: {clip[who][steps]['psnr_db']['frame']} dB, {clip[who][steps]['sharpness']}"
                for steps in STEPS
            ]
            lines.append(f"{clip['label']}, {who}: " + "; ".join(cells))
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which clips and avatars."""
    parser.add_argument(
        "--clip", nargs=4, action="append", metavar=("LABEL", "FOOTAGE", "TEACHER", "STUDENT")
    )


def measure(args: argparse.Namespace) -> Record:
    """Asks for both avatars of each clip. Raises AvatarcastError where an evaluation fails."""
    return {"clips": figures(args.clip or [("theo", str(FILMS["theo"]), "theo", "theo")], result_of)}


main = Instrument("distillation", __doc__, add_options, measure, describe, quick={})
