"""Renders synthetic people and writes each as prepared footage that training reads.

    python -m benchmarks.synthetic.people.render --data DATA --out FOLDER [--people 24] [--seed 1]
        [--frames 150]

A person is a seed: people that are there already are skipped, so a stopped run goes on where it was.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    "LP_NUM_THREADS", "1"
)  # Mesa reads it once: its threads fight the trackers for the cores

import argparse
import sys
import time
from pathlib import Path

import cv2
from tqdm import tqdm

from benchmarks.synthetic.people.character import Character, draw_character
from benchmarks.synthetic.people.film import film, prepare
from benchmarks.synthetic.people.motion import REST_FRAMES, draw_motion
from benchmarks.synthetic.people.raster import Context, open_context
from engine.errors import AvatarcastError, SettingsError
from export.footage.prepared import Prepared

FEWEST_FRAMES = 60
SIDES_PX = (64, 1024)


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 after one line that says what is wrong."""
    options = parse(arguments)
    try:
        render_people(options)
    except (AvatarcastError, OSError, RuntimeError) as error:
        print(f"people: error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds synthetic_person/")
    parser.add_argument("--out", type=Path, required=True, help="folder for 00.npz, 01.npz, ...")
    parser.add_argument("--people", type=int, default=24, help="how many (default 24)")
    parser.add_argument("--seed", type=int, default=1, help="of the first person; the next has the next seed")
    parser.add_argument("--frames", type=int, default=150, help="of each person, 15 a second (default 150)")
    parser.add_argument("--side", type=int, default=256, help="picture width and height in px (default 256)")
    return parser.parse_args(arguments)


def render_people(options: argparse.Namespace) -> None:
    """Raises SettingsError, FileNotFoundError or RuntimeError, each with its cure."""
    if options.people < 1 or options.seed < 0:
        raise SettingsError(
            f"{options.people} people from seed {options.seed}: want at least 1, from 0 or more"
        )
    if options.frames < FEWEST_FRAMES:
        raise SettingsError(f"--frames {options.frames}: an identity needs at least {FEWEST_FRAMES}")
    if not SIDES_PX[0] <= options.side <= SIDES_PX[1]:
        raise SettingsError(f"--side {options.side}: want {SIDES_PX[0]} to {SIDES_PX[1]} px")
    assets = options.data / "synthetic_person"
    if not (assets / "base/base.obj").is_file():
        raise FileNotFoundError(
            f"{options.data}: no synthetic_person/base/base.obj; pass its parent as --data"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    context = open_context()
    for number in range(options.people):
        target = options.out / f"{number:02d}.npz"
        if target.exists():
            continue
        character = draw_character(options.seed + number)
        started = time.perf_counter()
        prepared = render_person(context, assets, character, options.frames, options.side)
        prepared.save(target)
        each_s = (time.perf_counter() - started) / len(prepared.rgb)
        print(f"{target}: {describe(prepared)}, {each_s:.2f} s a frame", flush=True)


def render_person(
    context: Context, assets: Path, character: Character, frames: int, side_px: int
) -> Prepared:
    """One character, filmed and tracked, with a progress bar."""
    motion = draw_motion(character.seed, REST_FRAMES + frames)
    pictures = film(context, assets, character, motion, side_px)
    with tqdm(total=len(motion), desc=f"person {character.seed}", unit="frame", leave=False) as bar:
        return prepare(pictures, side_px, bar.update)


def describe(prepared: Prepared) -> str:
    """How often the trackers found the face and each hand."""
    count = len(prepared.landmarks)
    face = sum(frame.face_confidence > 0 for frame in prepared.landmarks) / count
    hands = [sum(frame.hand_confidence[side] > 0 for frame in prepared.landmarks) / count for side in (0, 1)]
    return f"{count} frames, face in {face:.0%}, left hand in {hands[0]:.0%}, right in {hands[1]:.0%}"


if __name__ == "__main__":
    sys.exit(main())
