"""Make an avatar from half a minute of footage of a person, with their consent.

Interrupt it at any time: the same command goes on where it was. To train on another machine, prepare the
footage on this one (--prepare-only: no torch), and give the prepared file instead of videos there (no
LiteRT).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.avatar.beside import work_path
from engine.commands.info import voice_words
from engine.errors import AvatarcastError, SettingsError
from engine.provenance.consent import sentence
from export.enroll_options import DEFAULT_BASE, EnrollOptions
from export.footage.framing import parse_framing
from export.progress import DISPLAYS, Display, end_with_listener


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast enroll`."""
    parser.add_argument("footage", nargs="+", type=Path, help="videos of one person, or a NAME.prepared.npz")
    parser.add_argument("--out", required=True, type=Path, help="the avatar to write, NAME.avatar")
    parser.add_argument(
        "--consent",
        required=True,
        metavar="TEXT",
        help='who agreed, to what: "Ada Lovelace, to an avatar with her face and way of speaking"; where it '
        'names a "voice print", one is kept, by which another voice is noticed that drives the avatar',
    )
    parser.add_argument(
        "--no-voice",
        action="store_true",
        help="learn nothing of how they speak and rest: driven by a voice, it moves in nobody's own way",
    )
    parser.add_argument(
        "--consent-clip",
        type=Path,
        metavar="FILE",
        help="a film in which they say so (see --consent-sentence); it is compared with the footage, what it "
        "shows is kept in the avatar, and it is not (default: the consent is shown as not verified)",
    )
    parser.add_argument(
        "--consent-sentence",
        action=_TellSentence,
        metavar="TEXT",
        help="print what is to be said in the clip for this --consent, and stop",
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="time for everything (default 15)")
    parser.add_argument(
        "--size",
        type=int,
        help="canvas in pixels, a multiple of 128 (default: of 512, 384, 256 what the footage fills)",
    )
    parser.add_argument(
        "--framing",
        default="auto",
        help="auto (default), head, upper, full, or a square x,y,side of the footage in px",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument(
        "--base",
        default=DEFAULT_BASE,
        metavar="WEIGHTS",
        help=f"weights to start from: bundled, none, or a file of `avatarcast base` (default {DEFAULT_BASE})",
    )
    parser.add_argument(
        "--person",
        default="real",
        choices=("real", "synthetic"),
        help="synthetic: nobody's likeness (default real)",
    )
    parser.add_argument(
        "--prepare-only",
        action="store_true",
        help="only track and cut out: write NAME.prepared.npz beside --out, to train from on another machine",
    )
    parser.add_argument(
        "--progress",
        default="bars",
        choices=tuple(DISPLAYS),
        help="bars (default) for people, json for programs: one event a line on standard error",
    )
    parser.add_argument("--json", action="store_true", help="print the held-out report as one JSON line")


class _TellSentence(argparse.Action):
    """As --help: asks for nothing else."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, __: str | None = None) -> None:
        if not str(values).strip():
            parser.error("--consent-sentence: is empty; give the text that --consent will have")
        print(sentence(str(values)).text)
        parser.exit()


def run(args: argparse.Namespace) -> int:
    """Enrols, then prints the held-out table; or only prepares."""
    options = EnrollOptions(
        footage=tuple(args.footage),
        out=args.out,
        statement=args.consent,
        person=args.person,
        minutes=args.minutes,
        size=args.size,
        framing=parse_framing(args.framing),
        device=args.device,
        base=args.base,
        consent_clip=args.consent_clip,
        voice=not args.no_voice,
    )
    if args.progress == "json":
        end_with_listener()
    with closing(DISPLAYS[args.progress]()) as display:
        if args.person == "synthetic":
            display.warn("recorded as a synthetic person; its pictures are marked all the same")
        try:
            if args.prepare_only:
                return _prepare_only(options, display, args.json)
            return _enroll(options, display, args.json)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "ai_edge_litert":
                raise
            raise AvatarcastError(
                "tracking videos needs LiteRT: pip install ai-edge-litert, or prepare the footage on another "
                "machine with --prepare-only and give NAME.prepared.npz here"
            ) from error


def _prepare_only(options: EnrollOptions, display: Display, as_json: bool) -> int:
    from export.footage.prepare import prepare_file  # LiteRT, but no torch

    if options.prepared is not None:
        raise SettingsError(f"--prepare-only: {options.prepared} is prepared already; leave the option out")
    out = options.prepared_out
    prepared, origin = prepare_file(
        out, options.footage, options.framing, options.size, display, options.voice, options.voice_print
    )
    display.close()
    frames, size = len(prepared.rgb), prepared.size
    what = ["avatarcast", "enroll", str(out), "--out", str(options.out), "--consent", options.statement]
    train = shlex.join([*what, *(["--person", options.person] if options.person != "real" else [])])
    if options.consent_clip is not None:
        train += f" --consent-clip {shlex.quote(str(options.consent_clip))}"
    if as_json:
        facts = {"out": str(out), "frames": frames, "size": size, "fps": prepared.fps, **origin.to_dict()}
        print(json.dumps({**facts, "next": train}))
    else:
        megabytes = out.stat().st_size / 1e6
        print(f"{out}: {megabytes:.0f} MB, {frames} frames at {size} px. Then, where torch is installed:")
        print(f"  {train}")
    return 0


def _enroll(options: EnrollOptions, display: Display, as_json: bool) -> int:
    try:
        from export.enroll import enroll  # torch, only when really training
    except ModuleNotFoundError as error:
        raise AvatarcastError(
            f"enroll needs {error.name}: pip install 'avatarcast[train,cpu]', "
            "or prepare the footage here with --prepare-only and train elsewhere"
        ) from error
    from export.evaluate.report_text import held_out_table

    try:
        avatar = enroll(options, display)
    except KeyboardInterrupt:
        display.close()
        kept = work_path(options.out)
        if kept.exists():
            print(f"avatarcast: stopped; the same command goes on from {kept}", file=sys.stderr)
        raise
    display.close()
    if as_json:
        print(json.dumps({**avatar.report, "out": str(options.out), "training": avatar.training}))
    else:
        print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, held-out tail of the footage:")
        print(held_out_table(avatar.report))
        print(f"voice: {voice_words(avatar.voice, avatar.report)}")
    return 0
