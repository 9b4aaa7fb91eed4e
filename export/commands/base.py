"""Train the weights that enrolments start from, on prepared footage of many people.

Interrupt it at any time: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from engine.errors import AvatarcastError, SettingsError
from export.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast base`."""
    parser.add_argument(
        "prepared", nargs="+", type=Path, help="files made by enroll --prepare-only, one a person"
    )
    parser.add_argument("--out", required=True, type=Path, help="the base weights to write, NAME.npz")
    parser.add_argument("--minutes", type=float, default=60.0, help="time for training (default 60)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print the training record as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    try:
        from export.training.base_training import train_base  # torch, only when really training
    except ModuleNotFoundError as error:
        raise AvatarcastError(f"base needs {error.name}: pip install 'avatarcast[train]'") from error
    if args.out.suffix != ".npz" or not args.out.parent.is_dir():
        raise SettingsError(f"--out {args.out}: wanted NAME.npz in a folder that exists")
    if args.out.exists():
        raise SettingsError(f"--out {args.out}: exists already; choose another name, or remove it first")
    with Bars() as bars:
        record = train_base(
            args.prepared,
            args.out,
            args.minutes,
            args.device,
            lambda done, total: bars.show("people", done, total, "files"),
            lambda now: bars.show("training", now.elapsed_s, args.minutes * 60.0, "s"),
        )
    if args.json:
        print(json.dumps(asdict(record)))
    else:
        print(f"{args.out}: {record.steps} steps, best {record.best_step}")
    return 0
