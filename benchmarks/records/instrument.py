"""What every instrument shares: options, and the end: tables for people, then a record as one JSON line.

An instrument is a module whose docstring begins with a question and whose `main` is an `Instrument`; it is
run by `avatarcast bench NAME`. A record has the figures at its top level, and what they need to be judged:
machine, day, commit and options. It is written to a file only with --out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.records.machine import ROOT, commit, describe_machine
from benchmarks.records.record import Record
from benchmarks.records.tables import drawn
from engine.commands.options import add_avatar, add_runner
from engine.errors import SettingsError

DEFAULT_DRIVER = ROOT / "tests" / "data" / "presenter_driver.mp4"


@dataclass(frozen=True, slots=True)
class Instrument:
    """Called with the words of its command line, it measures once and gives the exit status.

    name: as `avatarcast bench` has it; text: its help. measure: options to figures; `config` among them holds
    what else they were measured with, and where `failures` says in words what is out of its bounds, `passed`
    is whether nothing is; if not, the status is 1. quick: what options are with --quick, unless they are
    given; then nothing is judged.
    """

    name: str
    text: str | None
    add_options: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Record]
    quick: Mapping[str, Any]

    def __call__(self, words: Sequence[str]) -> int:
        """Raises AvatarcastError."""
        args = self.options(words)
        check_writable("--out", args.out, ".json")
        machine = describe_machine()
        figures = dict(self.measure(args))
        config = {name: told(value) for name, value in vars(args).items() if name != "out"}
        config |= figures.pop("config", {})
        failures = figures.get("failures", [])
        written = {
            "benchmark": self.name,
            **({"passed": not failures} if "failures" in figures else {}),
            **figures,
            "machine": machine,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "commit": commit(),
            "config": config,
        }
        if args.out is not None:
            args.out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        print(*drawn(written), *(f"FAILED: {failure}" for failure in failures), sep="\n\n")
        print(json.dumps(written), flush=True)
        return 1 if failures and not args.quick else 0

    def options(self, words: Sequence[str]) -> argparse.Namespace:
        """From the words of a command line."""
        parser = parser_of(self.name, self.text)
        self.add_options(parser)
        parser.add_argument("--quick", action="store_true", help="run through in seconds; judge nothing")
        parser.add_argument("--out", type=Path, metavar="RECORD.json", help="also write the JSON here")
        args = parser.parse_args(words)
        if args.quick:
            parser.set_defaults(**self.quick)
            args = parser.parse_args(words)
        return args


def parser_of(name: str, text: str | None) -> argparse.ArgumentParser:
    """For what `avatarcast bench NAME` runs; text: its help. @FILE stands for words in it, one a line."""
    return argparse.ArgumentParser(
        prog=f"avatarcast bench {name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )


def picture_size(text: str) -> tuple[int, int]:
    """Even numbers from text such as 640x480."""
    width, height = (int(side) for side in text.split("x"))
    if min(width, height) < 128 or width % 2 or height % 2:
        raise ValueError(text)
    return width, height


def counted(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a whole number from 1 on")
    return int(text)


COMMON: Mapping[str, Mapping[str, Any]] = {
    "driver": {"type": Path, "default": DEFAULT_DRIVER, "help": "clip that plays the presenter"},
    "minutes": {"type": float, "help": "how long (default %(default)s)"},
    "picture": {"type": Path, "metavar": "OUT.png", "help": "also write what was measured side by side"},
    "pipeline": {
        "choices": ("avatar", "echo"),
        "default": "avatar",
        "help": "echo: the server renders nothing (default %(default)s)",
    },
    "seconds": {"type": float, "help": "how long (default %(default)s)"},
    "seed": {"type": int, "help": "of what is drawn by lot (default %(default)s)"},
    "size": {"type": picture_size, "default": (640, 480), "help": "of the camera (default 640x480)"},
    "steps": {"type": counted, "default": 1, "help": "denoising steps of a picture (default 1)"},
    "threads": {"type": int, "default": 0, "help": "of the CPU for the network; 0, the default: as served"},
    "warm_up": {"type": float, "default": 5.0, "help": "seconds left out at the start (default %(default)s)"},
}


def add_common(parser: argparse.ArgumentParser, *names: str, **defaults: Any) -> None:
    """Options that several instruments have, by their names in COMMON, avatar and runner as the commands."""
    for name in (*names, *defaults):
        if name == "avatar":
            add_avatar(parser)
        elif name == "runner":
            add_runner(parser)
        else:
            parser.add_argument(f"--{name.replace('_', '-')}", **COMMON[name])
    parser.set_defaults(**defaults)


def check_writable(option: str, path: Path | None, suffix: str) -> None:
    """Before minutes are spent. Raises SettingsError unless it is a NAME.suffix in a folder that is there."""
    if path is not None and (path.suffix != suffix or not path.parent.is_dir()):
        raise SettingsError(f"{option} {path}: wanted NAME{suffix} in a folder that is there")


def above_bounds(figures: Record, bounds: Mapping[str, float]) -> list[str]:
    """Each figure of those with a bound that is above it, or could not be taken, in words."""
    found = []
    for name, most in bounds.items():
        if name not in figures:
            continue
        value = figures[name]
        if value is None:
            found.append(f"{name}: too few samples")
        elif value > most:
            found.append(f"{name}: {value} > {most}")
    return found


def told(value: Any) -> Any:
    """An option as the record has it: of a path its last part, as where a file lay is nobody's business."""
    if isinstance(value, list | tuple):
        return [told(one) for one in value]
    if isinstance(value, Path) or (isinstance(value, str) and "/" in value):
        return Path(value).name
    return value
