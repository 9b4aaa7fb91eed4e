"""Measures what action units do to the points of a face, on rendered people.

    python -m benchmarks.synthetic.people.action_units --data DATA/synthetic_person
        [--out engine/assets/action_units.npz] [--people 12]

Each person is drawn at rest and with each unit at full strength, and found by the product's own face finder:
so a unit is what that finder sees of it. What is written is the mean over people, for each unit (478, 3)
float32 head units, offsets in head axes from the face at rest.

Units are those of FACS (Ekman, Friesen, Hager: Facial Action Coding System, 2002), each by the ARKit face
targets of the synthetic person that stand nearest to it, on both sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.synthetic.people.body import Model
from benchmarks.synthetic.people.character import Character, draw_character
from benchmarks.synthetic.people.film import to_bytes
from benchmarks.synthetic.people.raster import Context, Rasteriser, open_context
from benchmarks.synthetic.people.surfaces import backdrop
from benchmarks.synthetic.presenter.performance import PERFORMANCE_FILE, load_performance
from benchmarks.synthetic.presenter.rig import Rig, frame_pose
from engine.arrays import FloatArray
from engine.avatar.members import encode_arrays
from engine.files import write_file
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral, in_head_axes
from engine.tracking.mediapipe_parts import FacePart

SIDE_PX = 384  # drawn larger and then looked at as it is
LOOKS = 3  # at a still picture: the finder follows its own last find
HEAD_M = 0.34  # height of the picture
UNITS: Mapping[str, tuple[str, ...]] = {
    "au1": ("browInnerUp",),
    "au2": ("browOuterUpLeft", "browOuterUpRight"),
    "au4": ("browDownLeft", "browDownRight"),
    "au5": ("eyeWideLeft", "eyeWideRight"),
    "au6": ("cheekSquintLeft", "cheekSquintRight"),
    "au7": ("eyeSquintLeft", "eyeSquintRight"),
    "au9": ("noseSneerLeft", "noseSneerRight"),
    "au10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "au12": ("mouthSmileLeft", "mouthSmileRight"),
    "au15": ("mouthFrownLeft", "mouthFrownRight"),
    "au16": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "au17": ("mouthShrugLower",),
    "au20": ("mouthStretchLeft", "mouthStretchRight"),
    "au24": ("mouthPressLeft", "mouthPressRight"),
    "au26": ("jawOpen",),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="action_units", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the synthetic_person asset folder")
    parser.add_argument("--out", type=Path, default=Path("engine/assets/action_units.npz"))
    parser.add_argument("--people", type=int, default=12)
    options = parser.parse_args()
    context = open_context()
    measured = [
        units_of(context, options.data, portrait(seed)) for seed in tqdm(range(1, options.people + 1))
    ]
    means = {
        name: np.mean([person[name] for person in measured], axis=0).astype(np.float32) for name in UNITS
    }
    write_file(options.out, encode_arrays(means))


def portrait(seed: int) -> Character:
    """A person without glasses or beard, their head from the front."""
    character = draw_character(seed)
    studio = replace(
        character.studio, height_m=HEAD_M, distance_m=1.2, aim=(0.0, 0.02), camera_shift=(0.0, 0.0)
    )
    return replace(character, looks=replace(character.looks, glasses=None, beard=0.0), studio=studio)


def units_of(context: Context, assets: Path, character: Character) -> dict[str, FloatArray]:
    """Name to (478, 3) of one person."""
    model = Model(assets, character)
    rig = Rig(model.person)
    raster = Rasteriser(context, model, character, assets, SIDE_PX)
    first = load_performance(PERFORMANCE_FILE, "performance")
    rotations = rig.solve(frame_pose(first, 0))

    def face(weights: Mapping[str, float]) -> FloatArray:
        colour, cover = raster.draw(model.move(weights, rotations, first.shift[0]))
        behind = backdrop(colour.shape[0], character.seed).astype(np.float32) / 255
        picture = to_bytes(colour + (1 - cover[..., None]) * behind)
        part = FacePart()
        found = [part.find(picture) for _ in range(LOOKS)][-1]
        if not found:
            raise RuntimeError(f"no face found on person {character.seed} with {dict(weights)}")
        return found[0]

    try:
        rest = face({})
        side = float(rest.max())
        neutral = build_neutral([Landmarks(int(side), int(side), face=rest, face_confidence=1.0)])
        units = {
            name: in_head_axes(face(dict.fromkeys(targets, 1.0)), neutral.face)[0] - neutral.face
            for name, targets in UNITS.items()
        }
    finally:
        raster.close()
    for unit in units.values():
        unit[np.concatenate(topo.IRISES)] = 0.0  # where they look is no part of a unit
    return units


if __name__ == "__main__":
    main()
