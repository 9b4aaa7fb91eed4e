"""How good is each avatar on footage that it has never seen?

    avatarcast bench quality --avatar "presenter, 63 s=theo" --avatar "talking head=me.avatar" ...

The held-out table that enrolment stored in each avatar; without --avatar of the bundled presenters.
LABEL=FILE names a row of the table; a file alone is its own label. A long list may stand in a text file, one
word a line, given as @FILE. How faithfully an avatar follows strangers: benchmarks.pictures.follow.
"""

from __future__ import annotations

import argparse

from benchmarks.pictures.clips import Labelled
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_names

HELD_OUT = ("held_out", "steps", "baselines")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which avatars."""
    parser.add_argument("--avatar", action="append", help="LABEL=FILE, or LABEL=PRESENTER")


def measure(args: argparse.Namespace) -> Record:
    """Reads each."""
    found = []
    for one in map(Labelled.parse, args.avatar or bundled_names()):
        avatar = load_avatar(one.file)
        tables = {name: avatar.report[name] for name in HELD_OUT}
        found.append({"label": one.label, "name": avatar.name, **tables})
    return {"avatars": found}


main = Instrument("quality", __doc__, add_options, measure, quick={})
