"""How near does an avatar come to the true picture when somebody else drives it?

    avatarcast bench cross_driving [--avatar NAME_OR_FILE=CLIP --avatar NAME_OR_FILE=CLIP ...]
        [--training NAME_OR_FILE=X.prepared.npz] [--picture sheet.png]

The synthetic presenters' generator knows every pose, so the same motion, unseen in training, is rendered of
each of them. Each avatar is driven with the video of every other presenter and compared with the true render
of its own; driven with its own video it shows what is lost before any retargeting between people, which is
the reference to hold the rest against. CLIP is the true render on the avatar's canvas; all clips show the
same motion, frame for frame. Without --avatar: theo and amara.

The run is that of a call: the driver's clip is tracked and filtered, the driver's neutral is taken from its
first 0.7 s, in which the clips are at rest, then retarget, guidance, warp, denoise and compose with the
temporal cache, frame after frame.

- psnr_db, ssim, sharpness (fine power over the truth's): whole frame and boxes of the truth's parts;
- landmarks_px: the output is tracked again, and so is the truth: how far the points are apart. Both carry the
  tracker's own noise, but it looks at one and the same person in both;
- motion: correlation and gain against the truth; motion_shuffled the control, which must fail;
  motion_against_driver likewise against the driver; motion_of_driver what the tracker reads of the same
  motion on the driver and on the truth, before any avatar;
- baselines, on the same frames: the training frame whose landmarks are nearest to the truth's own (of the
  key frames that the avatar keeps; of all of them with --training), the true previous frame, the warped key
  frames alone, the conditions of another moment, and key frames without a picture.

The first frame is rendered and not compared: it has no previous one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pictures.clips import FILMS, Labelled
from benchmarks.pictures.cross_truth import (
    OUTPUT,
    Clip,
    Driven,
    Training,
    check_pair,
    drive,
    figures,
)
from benchmarks.records.instrument import Instrument, add_common, check_writable, told
from benchmarks.records.record import Record
from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from export.evaluate.report_picture import CELL_PX, ERROR_GAIN, error_picture, fitted, rows_png
from export.footage.prepared import Prepared
from export.progress import Bars

PRESENTERS = tuple(f"{name}={film}" for name, film in FILMS.items())
COLUMNS = 6  # of the picture


def pairs_of(words: Sequence[str]) -> list[tuple[str, Path]]:
    """Of words NAME_OR_FILE=PATH. Raises SettingsError."""
    pairs = [Labelled.parse(word) for word in words]
    for word in words:
        if "=" not in word:
            raise SettingsError(f"{word!r}: wanted NAME_OR_FILE=PATH")
    return [(pair.label, Path(pair.file)) for pair in pairs]


def measure(args: argparse.Namespace) -> Record:
    """Everybody drives everybody; writes the picture where one is asked for."""
    check_writable("--picture", args.picture, ".png")
    cast = pairs_of(args.avatar or PRESENTERS)
    if len(cast) < 2:
        raise SettingsError(f"--avatar: {len(cast)} given; wanted two or more, so that one can drive another")
    if len({path.stem for _, path in cast}) < len(cast):
        names = ", ".join(path.name for _, path in cast)
        raise SettingsError(f"--avatar: the clips are named {names}; wanted names that tell them apart")
    avatars = [load_avatar(name) for name, _ in cast]
    clips = [Clip.read(path, args.seconds) for _, path in cast]
    for (name, _), avatar, truth in zip(cast, avatars, clips, strict=True):
        for driver in clips:
            check_pair(name, avatar, truth, driver)
    training = _training(args.training, cast, avatars)
    how = {"runner": args.runner, "steps": args.steps}
    runs, rows, reason = [], dict[str, list[U8Image]](), ""
    with Bars(disable=None) as bars:
        clips = [clip.tracked(bars.show) for clip in clips]
        for (name, _), avatar, truth, seen in zip(cast, avatars, clips, training, strict=True):
            for driver in clips:
                driven = drive(Path(name).stem, avatar, truth, driver, seen, how, bars.show)
                runs.append(figures(driven))
                reason = driven.runner_reason
                if not driven.own:
                    rows |= picture_rows(driven)
    if args.picture is not None:
        args.picture.write_bytes(rows_png(rows))
    nearest = [f"{len(seen.rgb)} {seen.source}" for seen in training]
    config = {
        "runner_reason": reason,
        "cast": [
            {"avatar": told(name), "clip": path.name, "nearest_of": frames}
            for (name, path), frames in zip(cast, nearest, strict=True)
        ],
        "fps": clips[0].fps,
    }
    return {"runs": runs, "config": config}


def _training(
    words: Sequence[str], cast: Sequence[tuple[str, Path]], avatars: Sequence[Avatar]
) -> list[Training]:
    given = dict(pairs_of(words))
    if unknown := set(given) - {name for name, _ in cast}:
        raise SettingsError(
            f"--training {unknown.pop()}: no such --avatar; wanted one of {[n for n, _ in cast]}"
        )
    found = []
    for (name, _), avatar in zip(cast, avatars, strict=True):
        prepared = Prepared.load(given[name]) if name in given else None
        if prepared is not None and prepared.size != avatar.size:
            raise SettingsError(
                f"{given[name]}: {prepared.size} px; the canvas of {name} is {avatar.size}: give its footage"
            )
        found.append(Training.of(avatar, prepared))
    return found


def picture_rows(run: Driven) -> dict[str, list[U8Image]]:
    """Frames evenly spread, labelled: the driver, the avatar, the truth, the warp alone, the error."""
    spread = ((np.arange(COLUMNS) + 0.5) / COLUMNS * len(run.frames)).astype(int)
    shown = {
        "the driver": [run.driver.rgb[run.frames[at]] for at in spread],
        "the avatar": [run.pictures[OUTPUT][at] for at in spread],
        "the truth": [run.truth.rgb[run.frames[at]] for at in spread],
        "warped key frames alone": [run.pictures["warp_only"][at] for at in spread],
    }
    shown[f"avatar less truth, x {ERROR_GAIN}"] = [
        error_picture(*both) for both in zip(shown["the avatar"], shown["the truth"], strict=True)
    ]
    name = f"{run.avatar} driven by {run.driver.label}"
    return {f"{name}: {what}": [fitted(cell, CELL_PX) for cell in cells] for what, cells in shown.items()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who drives whom, and how much of the clips."""
    parser.add_argument(
        "--avatar",
        action="append",
        metavar="NAME_OR_FILE=CLIP",
        help="avatar and its true render; twice or more",
    )
    parser.add_argument(
        "--training",
        action="append",
        default=[],
        metavar="NAME_OR_FILE=X.prepared.npz",
        help="an avatar's footage, as `enroll --prepare-only` writes it",
    )
    add_common(parser, "runner", "steps", "picture")
    parser.add_argument("--seconds", type=float, help="of the clips, from their start (default all)")


main = Instrument("cross_driving", __doc__, add_options, measure, quick={"seconds": 0.5})
