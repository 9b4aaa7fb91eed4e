"""Do emotions show in the picture, do lips stay as they are driven, and do eyes meet the camera?

    avatarcast bench expression --driver CLIP [--avatar FILE] [--start 0] [--frames 60] [--pictures FOLDER]

Drives the avatar with a stretch of the clip, as it is and with each emotion at four strengths, and finds the
face in what comes out. An emotion is read back as how strongly its own combination of action units shows
beyond the same frames without it: its sign, and whether more is more. Lips are judged by the correlation of
their gap with that of the same frames without the emotion. The same finder drove the avatar, so what it
cannot see counts on neither side; --pictures writes the frames, for another yardstick and for eyes.

Eye contact is the angle beside the camera at which the found irises look, of frames with open eyes whose head
is turned by less than 15 degrees, without and with the correction. What a finder can tell of such small eyes
stands beside it for a presenter: of the true render of one motion (see cross_driving), whose eyes turn as the
generator says, the angle between that and what is found; and `gain`, degrees found a degree turned.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.pictures.clips import FILMS
from benchmarks.records.instrument import DEFAULT_DRIVER, Instrument, add_common, counted
from benchmarks.records.record import Record
from benchmarks.synthetic.presenter.performance import (
    ARKIT_NAMES,
    FULL_LOOK,
    PERFORMANCE_FILE,
    load_performance,
)
from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.motion_file import SUFFIX, RecordedMotion
from engine.errors import SettingsError
from engine.expression.emotion import EmotionControl
from engine.expression.eye_contact import FULL_DEG, EyeContact
from engine.expression.feeling import EMOTIONS, feeling_of, steady
from engine.expression.repertoire import repertoire_of
from engine.media.video import read_frames
from engine.person.gaze import EYEBALL, beside_camera_deg, camera_axis, iris_shift
from engine.person.motion import Neutral, in_head_axes, lid_gaps, lip_gap
from engine.pipeline import Adjustment, PipelineConfig, build_pipeline
from engine.tracking.mediapipe_parts import FacePart
from engine.tracking.tracker import EveryFrameTracker
from export.drivers import Driver, FilmDriver, MotionDriver
from export.evaluate.replay import NoTracker

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_NOTHING = np.zeros((1, 1, 3), np.uint8)  # the landmarks are known
OPEN = 0.5  # of the lids' gap at rest
WITHIN_DEG = 3.0
TRUE_RENDER = "finder on a true render, beside the truth"
Seen = tuple[FloatArray, FloatArray]  # face (478, 3) in head axes, rotation (3, 3)


class Stage:
    """One avatar, driven again and again by the same motion."""

    def __init__(self, avatar: Avatar, motion: RecordedMotion, args: argparse.Namespace) -> None:
        self.neutral = avatar.neutral
        self._motion = motion
        self._shown = range(args.start, min(args.start + args.frames, len(motion.landmarks)))
        self._pictures: Path | None = args.pictures
        self._pipeline = build_pipeline(avatar, PipelineConfig(args.runner, live=False), NoTracker())

    def play(self, name: str, adjustments: Sequence[Adjustment]) -> list[Seen | None]:
        """What the finder sees of each picture."""
        self._pipeline.reset()
        self._pipeline.calibrate_from(self._motion.landmarks)
        self._pipeline.adjust(adjustments)
        finder = FacePart()
        seen: list[Seen | None] = []
        for number in self._shown:
            time_ns, found = round(self._motion.times_s[number] * 1e9), self._motion.landmarks[number]
            rgb = self._pipeline.process(_NOTHING, time_ns, landmarks=found).rgb
            faces = finder.find(rgb)
            seen.append(in_head_axes(faces[0], self.neutral.face)[:2] if faces else None)
            if self._pictures is not None:
                folder = self._pictures / name
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{number:04}.png"), rgb[..., ::-1])
        return seen

    def close(self) -> None:
        self._pipeline.close()


def measure(args: argparse.Namespace) -> Record:
    """Plays the stretch 27 times."""
    avatar = load_avatar(args.avatar)
    path = Path(args.driver or DEFAULT_DRIVER)
    driver: Driver = MotionDriver(path) if path.suffix == SUFFIX else FilmDriver(path)
    with EveryFrameTracker(filtered=True) as tracker:
        motion = driver.motion(tracker, [])
    stage = Stage(avatar, motion, args)
    try:
        calm = stage.play("neutral", [])
        contact = stage.play("eye_contact", [EyeContact()])
        felt = {
            emotion: [
                stage.play(f"{emotion}_{strength}", [EmotionControl(steady(feeling_of({emotion: strength})))])
                for strength in STRENGTHS
            ]
            for emotion in EMOTIONS
        }
    finally:
        stage.close()
    filmed = repertoire_of(avatar.neutral, [frame.landmarks for frame in avatar.keyframes])
    emotions: dict[str, dict[str, Any]] = {
        emotion: {
            "filmed": round(filmed.filmed[row], 2),
            "read_back": [round(read_back(calm, seen, filmed.offsets[row]), 3) for seen in felt[emotion]],
            "lips_correlation": [round(lips_alike(calm, seen), 3) for seen in felt[emotion]],
        }
        for row, emotion in enumerate(EMOTIONS)
    }
    steps = [step for one in emotions.values() for step in pairwise([0.0, *one["read_back"]])]
    return {
        "name": avatar.name,
        "emotions": emotions,
        "right_sign": float(np.mean([value > 0 for one in emotions.values() for value in one["read_back"]])),
        "monotone": float(np.mean([after > before for before, after in steps])),
        "lips_correlation": min(value for one in emotions.values() for value in one["lips_correlation"]),
        "eye_contact": {
            "without": beside_camera(calm, avatar.neutral),
            "with": beside_camera(contact, avatar.neutral),
            **({TRUE_RENDER: beside_truth(avatar)} if avatar.name in FILMS else {}),
        },
    }


def read_back(calm: Sequence[Seen | None], felt: Sequence[Seen | None], emotion: FloatArray) -> float:
    """How strongly the emotion's own shape (478, 3) shows beyond the frames without it."""
    added = [b[0] - a[0] for a, b in zip(calm, felt, strict=True) if a is not None and b is not None]
    return float((np.mean(added, axis=0) * emotion).sum() / (emotion**2).sum())


def lips_alike(calm: Sequence[Seen | None], felt: Sequence[Seen | None]) -> float:
    """Correlation of the lips' gaps."""
    both = [(a[0], b[0]) for a, b in zip(calm, felt, strict=True) if a is not None and b is not None]
    pairs = [(lip_gap(without), lip_gap(with_it)) for without, with_it in both]
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def beside_camera(seen: Sequence[Seen | None], neutral: Neutral) -> dict[str, float]:
    """Degrees beside the camera, of frames with open eyes and a head that faces it."""
    angles = [beside_camera_deg(*one, neutral) for one in filter(None, seen) if _faces(one, neutral)]
    if not angles:
        raise SettingsError("no frame of the stretch faces the camera with open eyes: choose another --start")
    return _spread(angles)


def beside_truth(avatar: Avatar) -> dict[str, float]:
    """Degrees between where a presenter's eyes turn in the film of a known motion and what is found there."""
    performance = load_performance(PERFORMANCE_FILE, "driver")
    weights = dict(zip(ARKIT_NAMES, performance.face.T, strict=True))
    right = weights["eyeLookOutLeft"] + weights["eyeLookInRight"]  # in the picture: the person's left
    right = (right - weights["eyeLookInLeft"] - weights["eyeLookOutRight"]) / 2
    turned_deg = np.degrees(FULL_LOOK) * np.stack(
        [right, weights["eyeLookDownLeft"] - weights["eyeLookUpLeft"]], 1
    )
    finder, neutral = FacePart(), avatar.neutral
    found_deg, true_deg = [], []
    for frame, truth in zip(read_frames(FILMS[avatar.name]), turned_deg, strict=True):
        faces = finder.find(frame.rgb)
        if faces and _faces(seen := in_head_axes(faces[0], neutral.face)[:2], neutral):
            sine = iris_shift(seen[0] - neutral.face) / EYEBALL
            found_deg.append(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))))
            true_deg.append(truth)
    found, true = np.array(found_deg), np.array(true_deg)
    gain = float(np.polyfit(true[:, 0], found[:, 0], 1)[0])
    return {**_spread(np.linalg.norm(found - true, axis=1)), "gain": round(gain, 2)}


def _faces(seen: Seen, neutral: Neutral) -> bool:
    """Whether the eyes are open and the head faces the camera."""
    face, rotation = seen
    turned = camera_axis(rotation) @ camera_axis(neutral.rotation)
    opened = (lid_gaps(face) - neutral.lid_closed) / (neutral.lid_open - neutral.lid_closed)
    return bool(np.degrees(np.arccos(np.clip(turned, -1.0, 1.0))) <= FULL_DEG and opened.mean() > OPEN)


def _spread(angles: Sequence[float] | FloatArray) -> dict[str, float]:
    return {
        "frames": len(angles),
        "within_3_deg": round(float(np.mean(np.array(angles) < WITHIN_DEG)), 3),
        **{f"p{q}_deg": round(float(np.percentile(angles, q)), 2) for q in (50, 90)},
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who drives whom, and which stretch."""
    parser.add_argument("--driver", help="a clip, or the .motion of one")
    parser.add_argument("--start", type=int, default=0, help="first frame (default 0)")
    parser.add_argument("--frames", type=counted, default=60, help="how many (default 60)")
    parser.add_argument("--pictures", type=Path, help="a folder for what was rendered")
    add_common(parser, "avatar", "runner")


main = Instrument("expression", __doc__, add_options, measure, quick={"frames": 4})
