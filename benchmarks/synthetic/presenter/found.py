"""Does the tracker find the rendered presenter, and where the generator put it?

    avatarcast bench found FRAMES --data DATA/synthetic_person [--out found.json]

FRAMES is what `render.py` wrote. Each clip of each character there is tracked as enrolment does it. A hand
counts as visible when all of its joints lie inside the picture, whatever may be in front of them; it is
found when the tracker reports that hand with its wrist nearer than half a hand's length.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from benchmarks.synthetic.presenter.assemble import read_picture
from benchmarks.synthetic.presenter.camera import Camera
from benchmarks.synthetic.presenter.cast import CAST
from benchmarks.synthetic.presenter.mesh import Array, Person
from benchmarks.synthetic.presenter.performance import (
    CLIPS,
    FRAME_RATE_HZ,
    PERFORMANCE_FILE,
    Performance,
    load_performance,
)
from benchmarks.synthetic.presenter.rig import FINGERS, SIDES, Rig, frame_pose, transform
from engine.errors import SettingsError
from engine.person.landmarks import Landmarks
from export.evaluate.retrack import Retracker, every_frame_tracker

# MediaPipe's hand points that are joints of the skeleton: wrist, then three per finger.
JOINT_POINTS = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
NEAR_HANDS = 0.5  # of the hand's length, wrist to the last joint of the middle finger


def hand_joints(person: Person, rig: Rig, motion: Performance, frame: int) -> Array:
    """(2, 16, 3) metres: left and right, wrist first, then three joints of each finger."""
    rotations = rig.solve(frame_pose(motion, frame))
    matrices = person.bone_matrices(rotations, motion.shift[frame])
    names = ["", *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3))]
    return np.array(
        [[transform(matrices[f"{s}Hand{n}"], person.bones[f"{s}Hand{n}"].head) for n in names] for s in SIDES]
    )


def compare(joints: list[Array], landmarks: list[Landmarks], side_px: int) -> dict[str, Any]:
    """joints: per frame (2, 16, 2) px of the truth -> shares found and distances in px."""
    visible = hands = 0
    away: list[float] = []
    for truth, seen in zip(joints, landmarks, strict=True):
        for side in range(2):
            if not ((truth[side] > 0) & (truth[side] < side_px)).all():
                continue
            visible += 1
            points = seen.hands[side, list(JOINT_POINTS), :2]
            distance = np.linalg.norm(points - truth[side], axis=-1)
            length = float(np.linalg.norm(truth[side, 0] - truth[side, 9]))
            if seen.hand_confidence[side] > 0 and distance[0] < NEAR_HANDS * length:
                hands += 1
                away.append(float(np.median(distance)))
    count = len(landmarks)
    return {
        "frames": count,
        "face": sum(seen.face_confidence > 0 for seen in landmarks) / count,
        "pose": sum(bool((seen.pose_confidence > 0).any()) for seen in landmarks) / count,
        "hands_visible": visible,
        "hands": hands / visible if visible else None,
        "hand_joints_px": {f"p{q}": float(np.percentile(away, q)) for q in (50, 95)} if away else None,
    }


def frames_of(folder: Path) -> list[Path]:
    """The pictures of a clip, in order; none where there is no such folder."""
    return sorted(folder.glob("[0-9]*.png"))


def look_at(folder: Path, name: str, clip: str, assets: Path, most: int | None) -> dict[str, Any]:
    """The figures of one clip of one character; folder holds its frames from 00000.png on."""
    character, motion = CAST[name], load_performance(PERFORMANCE_FILE, clip)
    person = Person(assets, character.look)
    rig = Rig(person)
    eye_height = float(person.fitted("eyes", person.rest)[:, 1].mean())
    camera = Camera.before(eye_height, character.camera_m)
    joints: list[Array] = []
    with Retracker(every_frame_tracker) as retracker:
        for path in frames_of(folder)[:most]:
            rgb, frame = read_picture(path, "rgb24"), int(path.stem)
            joints.append(camera.project(hand_joints(person, rig, motion, frame), rgb.shape[0]))
            retracker.add(rgb, frame * 1_000_000_000 // FRAME_RATE_HZ)
        return compare(joints, retracker.landmarks, rgb.shape[0])


def add_options(parser: argparse.ArgumentParser) -> None:
    """What was rendered, from what."""
    parser.add_argument("frames", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the synthetic_person asset folder")
    parser.add_argument("--most", type=int, help="frames of each clip (default all)")


def measure(args: argparse.Namespace) -> Record:
    """Looks at every clip. Raises SettingsError where there is none."""
    clips = [(name, clip) for name in CAST for clip in CLIPS if frames_of(args.frames / name / clip)]
    if not clips:
        raise SettingsError(
            f"{args.frames}: no NAME/CLIP/00000.png, with NAME one of {', '.join(CAST)}; render first"
        )
    return {
        "clips": {
            f"{name}, {clip}": look_at(args.frames / name / clip, name, clip, args.data, args.most)
            for name, clip in clips
        }
    }


main = Instrument("found", __doc__, add_options, measure, quick={"most": 10})
