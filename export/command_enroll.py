"""Make an avatar from half a minute of footage of a person, with their consent.

Interrupt it at any time: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path

from engine.errors import AvatarcastError
from export.framing import parse_framing
from export.progress import DISPLAYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast enroll`."""
    parser.add_argument("footage", nargs="+", type=Path, help="one or more videos of one person")
    parser.add_argument("--out", required=True, type=Path, help="the avatar to write, NAME.avatar")
    parser.add_argument(
        "--consent",
        required=True,
        metavar="TEXT",
        help='who agreed, to what: "Ada Lovelace, to an avatar for her talks"',
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="time for everything (default 15)")
    parser.add_argument(
        "--size", type=int, default=256, help="canvas in pixels, a multiple of 64 (default 256)"
    )
    parser.add_argument(
        "--framing",
        default="auto",
        help="auto (default), head, upper, full, or a square x,y,side of the footage in px",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument(
        "--person",
        default="real",
        choices=("real", "synthetic"),
        help="synthetic: nobody's likeness (default real)",
    )
    parser.add_argument(
        "--progress",
        default="bars",
        choices=tuple(DISPLAYS),
        help="bars (default) for people, json for programs: one event a line on standard error",
    )
    parser.add_argument("--json", action="store_true", help="print the held-out report as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Enrol, then print the held-out table."""
    framing = parse_framing(args.framing)
    try:
        from export.enroll import EnrollOptions, enroll, work_path  # torch, only when really training
    except ModuleNotFoundError as error:
        raise AvatarcastError(f"enroll needs {error.name}: pip install 'avatarcast[train]'") from error
    from export.report_text import held_out_table

    options = EnrollOptions(
        footage=tuple(args.footage),
        out=args.out,
        statement=args.consent,
        person=args.person,
        minutes=args.minutes,
        size=args.size,
        framing=framing,
        device=args.device,
    )
    with closing(DISPLAYS[args.progress]()) as display:
        if args.person == "synthetic":
            display.warn("recorded as a synthetic person: its videos carry no visible mark")
        try:
            avatar = enroll(options, display)
        except KeyboardInterrupt:
            display.close()
            kept = work_path(options.out)
            if kept.exists():
                print(f"avatarcast: stopped; the same command goes on from {kept}", file=sys.stderr)
            raise
    if args.json:
        print(json.dumps({**avatar.report, "out": str(args.out), "training": avatar.manifest["training"]}))
    else:
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, held-out tail of the footage:")
        print(held_out_table(avatar.report))
    return 0
