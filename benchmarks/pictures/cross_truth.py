"""An avatar driven by one video and compared with another that shows what it should look like.

Both show the same motion, frame for frame; `truth` shows it on the avatar's own person and canvas. See
benchmarks/pictures/cross_driving.py for what is measured and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import Avatar
from engine.errors import FootageError, SettingsError
from engine.media.video import probe, read_frames
from engine.person import topology as topo
from engine.person.landmarks import FACE_POINTS, Landmarks
from engine.person.motion import Neutral, build_neutral
from engine.pipeline import CALIBRATION_NS
from engine.stages import percentiles
from engine.tracking.landmark_filter import LandmarkFilter
from engine.tracking.tracker import EveryFrameTracker
from export.evaluate.baselines import BASELINES, Methods, NearestFrame
from export.evaluate.faithfulness import compare_motion, hand_distances
from export.evaluate.held_out import Box, Scores, region_boxes, ssim_map
from export.evaluate.retrack import Retracker
from export.footage.prepared import Prepared
from export.progress import StageFramesDone

OUTPUT = "output"  # the avatar's own pictures, among the methods
RETRACKED = (OUTPUT, "warp_only", "shuffled_conditions", "zero_prior")
FACE_PARTS = {
    "face": np.arange(FACE_POINTS),
    "rigid": topo.RIGID,
    "lips": np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER]),
    "lids": np.concatenate([*topo.LID_UPPER, *topo.LID_LOWER]),
}
HAND_PARTS = {"wrists": np.array([0]), "fingertips": topo.FINGERTIPS}


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video of one presenter."""

    file: Path
    fps: float  # Hz
    rgb: Sequence[U8Image]  # N pictures, (H, W, 3) uint8
    landmarks: Sequence[Landmarks] = ()  # N once tracked, px, unfiltered

    @classmethod
    def read(cls, file: Path, seconds: float | None = None) -> Clip:
        """Decoded, not tracked; seconds: of its start, None for all. Raises VideoError."""
        fps = probe(file).fps
        most = None if seconds is None else max(2, round(seconds * fps))
        return cls(file, fps, [frame.rgb for frame in islice(read_frames(file), most)])

    def tracked(self, tell: StageFramesDone) -> Clip:
        """With landmarks. Raises FootageError where no frame shows a face."""
        found = retrack(self.rgb, self.fps, f"tracking {self.label}", tell)
        if not any(frame.face_confidence > 0 for frame in found):
            raise FootageError(
                f"{self.file}: no face in any of {len(found)} frames; give a clip that faces the camera"
            )
        return Clip(self.file, self.fps, self.rgb, found)

    @property
    def label(self) -> str:
        """Whom it shows, by the file's name."""
        return self.file.stem

    def time_ns(self, index: int) -> int:
        """Of a frame, since the first."""
        return round(index / self.fps * 1e9)

    def steadied(self) -> list[Landmarks]:
        """The landmarks filtered in time: what drives an avatar."""
        steady = LandmarkFilter()
        return [steady(frame, self.time_ns(index)) for index, frame in enumerate(self.landmarks)]

    def neutral(self) -> Neutral:
        """The person at rest, from what a call collects before its neutral stands.

        Raises FootageError where those frames show no face.
        """
        early = [self.time_ns(index) <= CALIBRATION_NS for index in range(len(self.landmarks))]
        return build_neutral(list(compress(self.steadied(), early)))


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Frames of the avatar's own footage, to look the nearest one up in."""

    landmarks: Sequence[Landmarks]  # canvas px
    rgb: Sequence[U8Image]  # (S, S, 3) uint8
    source: str

    @classmethod
    def of(cls, avatar: Avatar, prepared: Prepared | None) -> Training:
        """All frames that it was trained on; the key frames that it keeps of them without its footage."""
        if prepared is None:
            keys = avatar.keyframes
            return cls([key.landmarks for key in keys], [key.rgb for key in keys], "key frames")
        end = prepared.tail_start
        return cls(prepared.landmarks[:end], list(prepared.rgb[:end]), "training frames")


@dataclass(frozen=True, slots=True, eq=False)
class Driven:
    """What each method made of one driver, beside the truth; all lists have one entry a frame compared."""

    avatar: str
    driver: Clip
    truth: Clip
    frames: Sequence[int]  # which of the clips' frames are compared
    pictures: Mapping[str, Sequence[U8Image]]  # method -> (S, S, 3) uint8
    landmarks: Mapping[str, Sequence[Landmarks]]  # method -> canvas px, tracked in those pictures
    runner_reason: str

    @property
    def own(self) -> bool:
        """Whether the avatar's own person drives it."""
        return self.driver is self.truth


def check_pair(name: str, avatar: Avatar, truth: Clip, driver: Clip) -> None:
    """Raises SettingsError unless the truth fits the avatar's canvas and the driver, frame for frame."""
    height, width = truth.rgb[0].shape[:2]
    if (width, height) != (avatar.size, avatar.size):
        raise SettingsError(
            f"{truth.file}: {width}x{height} px; the canvas of {name} is {avatar.size}x{avatar.size}: "
            "render the truth in that size"
        )
    if len(truth.rgb) != len(driver.rgb) or abs(truth.fps - driver.fps) > 0.01:
        raise SettingsError(
            f"{driver.file}: {len(driver.rgb)} frames at {driver.fps:g} fps, {truth.file} has "
            f"{len(truth.rgb)} at {truth.fps:g}; wanted the same motion in both, frame for frame"
        )
    framings = avatar.training.get("framings", [])
    if any(not str(framing).startswith("0,0,") for framing in framings):
        raise SettingsError(
            f"{name}: enrolled from the square {', '.join(framings)} of its footage; wanted one enrolled "
            "with --framing full, whose canvas is the whole picture"
        )


def drive(
    name: str,
    avatar: Avatar,
    truth: Clip,
    driver: Clip,
    training: Training,
    how: Mapping[str, Any],
    tell: StageFramesDone,
) -> Driven:
    """Renders the avatar and its baselines for every frame of the driver, and tracks what comes out.

    Every frame but the first, which has no previous one, is compared where the truth shows a face. how:
    `runner`, `steps`. Raises RunnerError when the runner cannot start.
    """
    neutral = avatar.neutral
    nearest = NearestFrame(training.landmarks, neutral)
    made: dict[str, list[U8Image]] = {method: [] for method in RETRACKED}
    output = str(how["steps"])
    count = len(driver.rgb)
    rest = driver.neutral()
    with Methods(avatar, driver.steadied(), rest, driver.fps, how["runner"], [how["steps"]]) as methods:
        for done in range(count):
            for method, rendered in methods.render(done).items():
                made[OUTPUT if method == output else method].append(rendered.rgb)
            tell(f"{name} by {driver.label}", done + 1, count)
        reason = methods.runner_reason
    frames = [i for i in range(1, count) if truth.landmarks[i].face_confidence > 0]
    pictures = {method: [made[method][i] for i in frames] for method in RETRACKED}
    landmarks: dict[str, list[Landmarks]] = {}
    for method in RETRACKED:
        found = retrack(made[method], driver.fps, f"tracking {method}", tell)
        landmarks[method] = [found[i] for i in frames]
    pictures["previous_frame"] = [truth.rgb[i - 1] for i in frames]
    landmarks["previous_frame"] = [truth.landmarks[i - 1] for i in frames]
    alike = [nearest.index(truth.landmarks[i]) for i in frames]
    pictures["nearest_frame"] = [training.rgb[i] for i in alike]
    landmarks["nearest_frame"] = [training.landmarks[i] for i in alike]
    return Driven(name, driver, truth, frames, pictures, landmarks, reason)


def retrack(pictures: Sequence[U8Image], fps: float, stage: str, tell: StageFramesDone) -> list[Landmarks]:
    """Landmarks of pictures (H, W, 3) that follow each other, every part looked for in each, unfiltered."""
    with Retracker(EveryFrameTracker) as tracker:
        for index, picture in enumerate(pictures):
            tracker.add(picture, round(index / fps * 1e9))
            tell(stage, index + 1, len(pictures))
    return tracker.landmarks


def figures(driven: Driven) -> dict[str, Any]:
    """What the record says of one avatar and driver: the avatar's own figures, and `baselines`."""
    truth = [driven.truth.landmarks[i] for i in driven.frames]
    driver = [driven.driver.landmarks[i] for i in driven.frames]
    output = driven.landmarks[OUTPUT]
    found = _pictures_compared(driven, truth)
    for method, compared in found.items():
        compared |= landmark_figures(truth, driven.landmarks[method])
        compared["motion"] = _motion(truth, driven.landmarks[method], "motion")
    return {
        "avatar": driven.avatar,
        "driver": driven.driver.label,
        "truth": driven.truth.label,
        "own": driven.own,
        "frames": len(driven.driver.rgb),
        "compared": len(driven.frames),
        **found[OUTPUT],
        "motion_shuffled": _motion(truth, output, "motion_shuffled"),
        "motion_against_driver": _motion(driver, output, "motion"),
        "motion_of_driver": _motion(truth, driver, "motion"),
        "baselines": {name: found[name] for name in BASELINES},
    }


def _pictures_compared(driven: Driven, truth: Sequence[Landmarks]) -> dict[str, dict[str, Any]]:
    """By method: `psnr_db`, `ssim` and `sharpness`, each by region."""
    scores = Scores(())
    similar: dict[str, dict[str, list[float]]] = {method: {} for method in driven.pictures}
    for at, (index, landmarks) in enumerate(zip(driven.frames, truth, strict=True)):
        real = driven.truth.rgb[index]
        boxes = region_boxes(landmarks, len(real))
        pictures = {method: made[at] for method, made in driven.pictures.items()}
        scores.add(pictures, real, boxes)
        for method, picture in pictures.items():
            for region, values in ssim_of_boxes(picture, real, boxes).items():
                similar[method].setdefault(region, []).extend(values)
    return {
        method: {
            "psnr_db": scores.means(method),
            "ssim": {name: round(float(np.mean(v)), 4) if v else None for name, v in similar[method].items()},
            "sharpness": scores.sharpness(method),
        }
        for method in driven.pictures
    }


def ssim_of_boxes(
    picture: U8Image, real: U8Image, boxes: Mapping[str, Sequence[Box]]
) -> dict[str, list[float]]:
    """Region to the mean SSIM in each of its boxes."""
    found = ssim_map(picture, real)
    return {
        region: [float(found[y0:y1, x0:x1].mean()) for x0, y0, x1, y1 in parts]
        for region, parts in boxes.items()
    }


def landmark_figures(truth: Sequence[Landmarks], other: Sequence[Landmarks]) -> dict[str, Any]:
    """`landmarks_px`, `faces_found` and `hands_found` of pictures beside the truth, both tracked.

    landmarks_px: part to p50 and p95 of the distance in px, over its points in all frames where both show it;
    None where none does. faces_found, hands_found: share of the truth's that are found again; None of none.
    truth, other: landmarks of the same frames on the same canvas, px.
    """
    shown, both = [], []
    for real, made in zip(truth, other, strict=True):
        if real.face_confidence > 0:
            shown.append(real)
            if made.face_confidence > 0:
                both.append(np.linalg.norm(real.face[:, :2] - made.face[:, :2], axis=1))
    faces = np.stack(both) if both else np.zeros((0, len(FACE_PARTS["face"])), np.float32)
    hands, hands_found = hand_distances(truth, other)
    parts = {part: faces[:, rows] for part, rows in FACE_PARTS.items()}
    parts |= {part: hands[:, rows] for part, rows in HAND_PARTS.items()}
    return {
        "landmarks_px": {part: _ranks(distances) for part, distances in parts.items()},
        "faces_found": round(len(both) / len(shown), 3) if shown else None,
        "hands_found": None if hands_found is None else round(hands_found, 3),
    }


def _ranks(distances: FloatArray) -> dict[str, float | None] | None:
    found = percentiles(distances)
    return {rank: found[rank] for rank in ("p50", "p95")} if distances.size else None


def _motion(truth: Sequence[Landmarks], other: Sequence[Landmarks], which: str) -> dict[str, Any] | None:
    """One part of `compare_motion`; None where one of them never shows a face."""
    if not all(any(frame.face_confidence > 0 for frame in side) for side in (truth, other)):
        return None
    found: dict[str, Any] = compare_motion(truth, other)[which]
    return found
