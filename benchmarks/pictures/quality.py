"""How good is each avatar on footage that it has never seen?

    python -m benchmarks.pictures.quality --avatar "presenter, 63 s=bundled"
        --avatar "talking head=me.avatar" ...

Asks `avatarcast evaluate --json` for every avatar. LABEL=FILE names a row of the table; a file alone is its
own label. A long list may stand in a text file, one word a line, given as @FILE. The held-out table is the
one that enrolment stored in the avatar. How faithfully an avatar follows strangers:
benchmarks.pictures.follow.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.records.machine import describe_machine
from benchmarks.records.options import instrument_parser
from benchmarks.records.record import file_name, result_of
from benchmarks.records.report import add_out, finish, record
from engine.errors import SettingsError

HELD_OUT = ("held_out", "steps", "baselines")
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


def tables(avatars: Sequence[Labelled], evaluate: Evaluate) -> list[dict[str, Any]]:
    """For each avatar its held-out table."""
    found = []
    for avatar in avatars:
        report = evaluate(["evaluate", avatar.file])
        found.append(
            {"label": avatar.label, "name": report["avatar"], **{key: report[key] for key in HELD_OUT}}
        )
    return found


def describe(found: Sequence[dict[str, Any]]) -> str:
    """The figures for people."""
    return "\n".join(
        f"{avatar['label']}: held-out tail {avatar['held_out']['psnr_db']['frame']} dB" for avatar in found
    )


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "quality")
    parser.add_argument("--avatar", action="append", required=True, help="LABEL=FILE, or LABEL=PRESENTER")
    add_out(parser)
    args = parser.parse_args()
    machine, began = describe_machine(), perf_counter()
    try:
        found = tables([Labelled.parse(text) for text in args.avatar], result_of)
    except subprocess.CalledProcessError as failed:  # it has said why
        return failed.returncode
    figures = {"avatars": found, "seconds": round(perf_counter() - began, 1)}
    finish(record("quality", figures, {}, machine), describe(found), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
