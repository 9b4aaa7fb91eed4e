"""Does one distilled step look like the teacher's eight, and is it as sharp as the footage?

    avatarcast bench distillation --clip LABEL FOOTAGE TEACHER.avatar STUDENT.avatar [--clip ...]

Measures both avatars of each clip on its footage, as `avatarcast evaluate --footage` does (without --clip
only a presenter, as both): PSNR of the held-out tail with 1, 2, 4 and 8 steps, and sharpness, which is the
power in the upper half of the spectrum over that of the real frames.

PSNR favours the smooth: a mean of many guesses beats each of them. So both are told, and neither alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.pictures.clips import FILMS
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from engine.avatar.avatar_file import load_avatar
from export.evaluate.held_out import STEPS, measure_held_out
from export.footage.prepare import prepare_again
from export.progress import Bars


def figures(name: str, footage: Path) -> dict[str, Any]:
    """By steps: `psnr_db` by region, and `sharpness`."""
    avatar = load_avatar(name)
    with Bars(disable=None) as bars:
        prepared = prepare_again(avatar, [footage], bars.show)
        report = measure_held_out(
            avatar, prepared, progress=lambda done, total: bars.show("measuring", done, total)
        ).report
    return {
        steps: {"psnr_db": report["steps"][steps], "sharpness": report["sharpness"][steps]}
        for steps in map(str, STEPS)
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which clips and avatars."""
    parser.add_argument(
        "--clip", nargs=4, action="append", metavar=("LABEL", "FOOTAGE", "TEACHER", "STUDENT")
    )


def measure(args: argparse.Namespace) -> Record:
    """Both avatars of each clip."""
    clips = []
    for label, footage, teacher, student in args.clip or [("theo", FILMS["theo"], "theo", "theo")]:
        reports = {name: figures(name, Path(footage)) for name in dict.fromkeys((teacher, student))}
        clips.append({"label": label, "teacher": reports[teacher], "student": reports[student]})
    return {"clips": clips}


main = Instrument("distillation", __doc__, add_options, measure, quick={})
