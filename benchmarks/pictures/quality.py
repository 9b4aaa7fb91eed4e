"""How good is each avatar on footage that it has never seen?

    avatarcast bench quality --avatar "presenter, 63 s=theo" --avatar "talking head=me.avatar" ...

Asks `avatarcast evaluate --json` for every avatar; without --avatar for the bundled presenters. LABEL=FILE
names a row of the table; a file alone is its own label. A long list may stand in a text file, one word a
line, given as @FILE. The held-out table is the one that enrolment stored in the avatar. How faithfully an
avatar follows strangers: benchmarks.pictures.follow.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.pictures.clips import Labelled, result_of
from benchmarks.records.instrument import Instrument, Record
from engine.avatar.bundled import bundled_names

HELD_OUT = ("held_out", "steps", "baselines")
Evaluate = Callable[[Sequence[str]], dict[str, Any]]  # an avatarcast command less --json -> what it printed


def tables(avatars: Sequence[Labelled], evaluate: Evaluate) -> list[dict[str, Any]]:
    """For each avatar its held-out table."""
    found = []
    for avatar in avatars:
        report = evaluate(["evaluate", avatar.file])
        found.append(
            {"label": avatar.label, "name": report["avatar"], **{key: report[key] for key in HELD_OUT}}
        )
    return found


def describe(figures: Record) -> str:
    """The figures for people."""
    return "\n".join(
        f"{avatar['label']}: held-out tail {avatar['held_out']['psnr_db']['frame']} dB"
        for avatar in figures["avatars"]
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which avatars."""
    parser.add_argument("--avatar", action="append", help="LABEL=FILE, or LABEL=PRESENTER")


def measure(args: argparse.Namespace) -> Record:
    """Asks for each. Raises AvatarcastError where an evaluation fails."""
    avatars = [Labelled.parse(text) for text in args.avatar or bundled_names()]
    return {"avatars": tables(avatars, result_of)}


main = Instrument("quality", __doc__, add_options, measure, describe, quick={})
