"""Make an avatar from half a minute of footage of a person, with their consent.

Interrupt it at any time: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from engine.errors import AvatarcastError
from export.framing import parse_framing


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
    if args.person == "synthetic":
        print("avatarcast: recorded as a synthetic person: its videos carry no visible mark", file=sys.stderr)
    with _Bars() as bars:
        try:
            avatar = enroll(options, bars)
        except KeyboardInterrupt:
            bars.close()
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


class _Bars:
    """One progress bar per stage, on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def stage(self, name: str, total: float) -> None:
        """See export.enroll.Listener."""
        self.close()
        unit = "{n:.0f}/{total:.0f} s" if total > 1.0 else "{percentage:.0f} %"
        layout = "{desc:16}|{bar}| " + unit + " [{elapsed}<{remaining}] {postfix}"
        self._bar = tqdm(total=total, desc=name, bar_format=layout, mininterval=0.5, file=sys.stderr)

    def advance(self, done: float, note: str = "") -> None:
        """See export.enroll.Listener."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(min(done, self._bar.total) - self._bar.n)

    def warn(self, text: str) -> None:
        """See export.enroll.Listener."""
        tqdm.write(f"avatarcast: note: {text}", file=sys.stderr)

    def close(self) -> None:
        """Ends the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
