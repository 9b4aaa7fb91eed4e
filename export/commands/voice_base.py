"""Train what hears speech and what forms lips for it, from recorded speech.

Needs a folder of recordings, the teacher's encoder (pip install 'avatarcast[voice-base]') and about an hour
on two cores. Interrupt it at any time: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from engine.errors import AvatarcastError, SettingsError
from export.progress import Bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast voice-base`."""
    parser.add_argument("speech", type=Path, help="folder of English speech, .flac or .wav")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder for student.npz, base.npz, expert.npz, their record, and the work",
    )
    parser.add_argument(
        "--minutes", type=float, default=7.0, help="time for the student (default 7: longer fits the readers)"
    )
    parser.add_argument("--encoder", type=Path, help="encoder_model.ort (default: of moonshine-voice)")
    parser.add_argument("--json", action="store_true", help="print the training record as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    if args.minutes <= 0:
        raise SettingsError(f"--minutes {args.minutes:g}: must be above 0")
    if not args.out.is_dir():
        raise SettingsError(f"--out {args.out}: wanted a folder that exists")
    try:
        from export.voice.training import train_voice  # torch, only when really training

        with Bars() as bars:
            record = train_voice(args.speech, args.out, args.minutes, args.encoder, bars.show)
    except ModuleNotFoundError as error:
        raise AvatarcastError(
            f"voice-base needs {error.name}: pip install 'avatarcast[voice-base]'"
        ) from error
    if args.json:
        print(json.dumps(asdict(record)))
    else:
        student, base, expert = record.student, record.base, record.expert
        print(
            f"{args.out}: student leaves {student.unexplained:.0%} of its teacher unexplained, "
            f"base {base.held_out_correlation:.2f} with the rule's lips on recordings held out, "
            f"of whose moments the expert tells {expert.held_out_first:.0%} from 8 others"
        )
    return 0
