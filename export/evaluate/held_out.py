"""How good an avatar is on footage it has never seen, beside baselines that cost nothing.

The held-out part is a contiguous tail. PSNR is the mean of all frames' in dB; motion is that of the output,
tracked again, against that of the real frames, tracked in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import Avatar
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from export.evaluate.baselines import BASELINES, Methods, NearestFrame
from export.evaluate.faithfulness import MOTION_FIGURES, compare_hands, compare_motion, lip_apertures
from export.evaluate.flip import flip_error
from export.evaluate.report_picture import ReportFrame
from export.evaluate.retrack import MakeTracker, Retracker, every_frame_tracker
from export.footage.prepared import Prepared

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px

REGIONS = ("frame", "face", "mouth", "hands", "torso")
MAX_FRAMES = 150  # of the tail are compared; more tell no more
STEPS = (1, 2, 4, 8)
STEP_FRAMES = 50  # of them with many steps, which cost many times as much and tell little
CURVES = ("1", "warp_only", "nearest_frame")  # of each frame
SHARPNESS_REGIONS = ("frame", "face", "mouth", "hands")
MIN_SPECTRUM_PX = 8  # a smaller box has no spectrum to speak of
_MANY_STEPS = tuple(str(steps) for steps in STEPS if steps > 1)


def psnr_db(a: U8Image, b: U8Image) -> float:
    """PSNR of two uint8 pictures, peak 255."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return 10.0 * float(np.log10(255.0**2 / max(error, 1e-4)))


def ssim(a: U8Image, b: U8Image) -> float:
    """SSIM of two uint8 pictures, mean over the colours (Wang et al., IEEE TIP 2004)."""
    return float(ssim_map(a, b).mean())


def ssim_map(a: U8Image, b: U8Image) -> FloatArray:
    """SSIM about each pixel of two (H, W, 3) uint8 pictures, (H, W), mean over the colours."""
    _, by_colour = cv2.quality.QualitySSIM_compute(a, b)  # type: ignore[attr-defined]  # not in the stubs
    return np.asarray(np.mean(by_colour, axis=-1), np.float32)


def fine_power(rgb: U8Image) -> float:
    """Power of a picture, (H, W, 3), in the upper half of its spectrum: 1/4 to 1/2 cycle per pixel."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window, fine = _spectrum(*grey.shape)
    spectrum = cv2.dft((grey - grey.mean()) * window, flags=cv2.DFT_COMPLEX_OUTPUT)
    return float((spectrum[fine].astype(np.float64) ** 2).sum())


@lru_cache(maxsize=64)
def _spectrum(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The window (H, W) for a picture of this size, and which of its spectrum (H, W) is fine."""
    radius = np.hypot(np.fft.fftfreq(width), np.fft.fftfreq(height)[:, None])
    window = np.hanning(height)[:, None] * np.hanning(width)
    return window.astype(np.float32), (radius > 0.25) & (radius < 0.5)


def region_boxes(landmarks: Landmarks, canvas_px: int) -> dict[str, list[Box]]:
    """Boxes of each region; a region that is not shown has none."""
    face = landmarks.face[:, :2]
    chin = float(face[:, 1].max())
    shoulders = landmarks.pose[topo.SHOULDERS, 0]
    left, right = float(np.clip(shoulders.min(), 0, canvas_px)), float(np.clip(shoulders.max(), 0, canvas_px))
    boxes: dict[str, list[Box]] = {
        "frame": [(0, 0, canvas_px, canvas_px)],
        "face": _box(face, 0.05, canvas_px),
        "mouth": _box(face[topo.LIPS_OUTER], 0.25, canvas_px),
        "hands": [],
        "torso": [],
    }
    for hand, seen in zip(landmarks.hands, landmarks.hand_confidence, strict=True):
        if seen > VISIBLE:
            boxes["hands"] += _box(hand[:, :2], 0.15, canvas_px)
    if chin < 0.9 * canvas_px and right - left > 16:
        boxes["torso"] = [(int(left), int(chin), int(right), canvas_px)]
    return boxes


def _box(points: NDArray[np.float32], pad: float, canvas_px: int) -> list[Box]:
    low, high = points.min(0), points.max(0)
    grow = pad * (high - low)
    x0, y0 = np.clip(np.floor(low - grow), 0, canvas_px).astype(int)
    x1, y1 = np.clip(np.ceil(high + grow), 0, canvas_px).astype(int)
    return [(int(x0), int(y0), int(x1), int(y1))] if x1 - x0 >= 4 and y1 - y0 >= 4 else []


class Scores:
    """PSNR in dB, FLIP and fine power by method and region, as in `region_boxes`, frame after frame."""

    def __init__(self, seen: Collection[str]) -> None:
        """seen: methods of which FLIP is measured too, which takes ten times as long as the rest."""
        self._seen = seen
        self._flip: dict[str, dict[str, list[float]]] = {}
        self._db: dict[str, dict[str, list[float]]] = {}
        self._power: dict[str, dict[str, float]] = {}
        self._true_power: dict[str, dict[str, float]] = {}

    def add(self, pictures: Mapping[str, U8Image], truth: U8Image, boxes: Mapping[str, list[Box]]) -> None:
        """One frame: a picture of each method, and what the camera saw, all (H, W, 3) uint8."""
        true_powers = _powers(truth, boxes)
        for method, picture in pictures.items():
            for region, parts in boxes.items():
                for x0, y0, x1, y1 in parts:
                    value = psnr_db(picture[y0:y1, x0:x1], truth[y0:y1, x0:x1])
                    self._db.setdefault(method, {}).setdefault(region, []).append(value)
            if method in self._seen:
                for region, error in _flips(picture, truth, boxes).items():
                    self._flip.setdefault(method, {}).setdefault(region, []).append(error)
            _add(self._power.setdefault(method, {}), _powers(picture, boxes))
            _add(self._true_power.setdefault(method, {}), true_powers)

    def means(self, method: str) -> dict[str, float | None]:
        """PSNR by region, in dB; None where it was never shown."""
        return _means(self._db.get(method, {}), 2)

    def flip(self, method: str) -> dict[str, float | None]:
        """FLIP by region, 0 for alike; None where it was never shown or measured."""
        return _means(self._flip.get(method, {}), 4)

    def sharpness(self, method: str) -> dict[str, float | None]:
        """Fine power over that of the real frames, by region."""
        made, real = self._power[method], self._true_power[method]
        return {
            region: round(made[region] / real[region], 3) if real.get(region) else None
            for region in SHARPNESS_REGIONS
        }

    def of_frames(self, method: str) -> list[float]:
        """PSNR of each frame."""
        return self._db[method]["frame"]


def _flips(picture: U8Image, truth: U8Image, boxes: Mapping[str, list[Box]]) -> dict[str, float]:
    """Mean FLIP error of each region that is shown. picture, truth: (H, W, 3) uint8."""
    error = flip_error(picture, truth)
    return {
        region: float(np.mean([error[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in parts]))
        for region, parts in boxes.items()
        if parts
    }


def _means(values: Mapping[str, list[float]], digits: int) -> dict[str, float | None]:
    return {
        region: round(float(np.mean(values[region])), digits) if region in values else None
        for region in REGIONS
    }


def _powers(picture: U8Image, boxes: Mapping[str, list[Box]]) -> dict[str, float]:
    """Fine power by region, all its boxes together."""
    return {
        region: sum(
            fine_power(picture[y0:y1, x0:x1])
            for x0, y0, x1, y1 in boxes[region]
            if min(x1 - x0, y1 - y0) >= MIN_SPECTRUM_PX
        )
        for region in SHARPNESS_REGIONS
    }


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What was measured on the tail, and the pictures that it was measured on, one a frame."""

    report: dict[str, Any]
    report_frames: list[ReportFrame]
    psnr_db: dict[str, list[float]]  # of each frame, by method
    lip_aperture: tuple[FloatArray, FloatArray] | None  # of truth and output, (N,); None if not tracked


def measure_held_out(
    avatar: Avatar,
    prepared: Prepared,
    runner: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    make_tracker: MakeTracker = every_frame_tracker,
) -> HeldOut:
    """The held-out table: `held_out`, `baselines`, `steps`, in the names of the machine-readable report.

    `sharpness` is `fine_power` of all pictures over that of the real frames: 1 is as sharp as the footage.
    `steps`, and `sharpness` by method, are of the first `steps_frames` frames. What needs the output tracked
    again is None where LiteRT is not installed, or sees no face.

    avatar: enrolled from `prepared`, whose tail is compared. progress is called with frames done and frames
    in all. make_tracker: opens a tracker, or gives None.
    """
    tail = np.arange(prepared.tail_start, len(prepared.rgb))[:MAX_FRAMES]
    shown = [int(i) for i in tail if prepared.landmarks[i].face_confidence > 0]
    neutral = avatar.neutral
    nearest = NearestFrame(prepared.landmarks[: prepared.tail_start], neutral)
    scores, short = Scores(CURVES), Scores(())
    similarity, report_frames = [], []
    driver = [prepared.landmarks[index] for index in shown]
    with (
        Methods(avatar, driver, neutral, prepared.fps, runner, STEPS) as methods,
        Retracker(make_tracker) as of_truth,
        Retracker(make_tracker) as of_output,
    ):
        for done, index in enumerate(shown):
            truth, landmarks = prepared.rgb[index], prepared.landmarks[index]
            rendered = methods.render(done, leave_out=_MANY_STEPS if done >= STEP_FRAMES else ())
            pictures = {method: made.rgb for method, made in rendered.items()}
            pictures["nearest_frame"] = prepared.rgb[nearest.index(landmarks)]
            pictures["previous_frame"] = prepared.rgb[index - 1]
            target = rendered["1"].target or landmarks
            output, boxes = pictures["1"], region_boxes(landmarks, prepared.size)
            scores.add(pictures, truth, boxes)
            if done < STEP_FRAMES:
                short.add(pictures, truth, boxes)
            similarity.append(ssim(output, truth))
            report_frames.append(ReportFrame(truth, landmarks, target, pictures["warp_only"], output, truth))
            time_ns = round(done / prepared.fps * 1e9)
            of_truth.add(truth, time_ns)
            of_output.add(output, time_ns)
            if progress:
                progress(done + 1, len(shown))
    report = {
        "held_out": {
            "frames": len(shown),
            "psnr_db": scores.means("1"),
            "ssim": round(float(np.mean(similarity)), 4),
            "flip": scores.flip("1"),
            "sharpness": scores.sharpness("1"),
            **_motion(of_truth, of_output),
        },
        "baselines": {name: scores.means(name) for name in BASELINES},
        "flip": {method: scores.flip(method) for method in CURVES},
        "steps": {str(steps): short.means(str(steps)) for steps in STEPS},
        "steps_frames": min(STEP_FRAMES, len(shown)),
        "sharpness": {method: short.sharpness(method)["frame"] for method in methods.names},
    }
    lips = None
    if of_truth.saw_a_face and of_output.saw_a_face:
        lips = lip_apertures(of_truth.landmarks), lip_apertures(of_output.landmarks)
    return HeldOut(report, report_frames, {name: scores.of_frames(name) for name in CURVES}, lips)


def _motion(of_truth: Retracker, of_output: Retracker) -> dict[str, Any]:
    """How the output moves beside the truth, both tracked; None for all where there is nothing to compare."""
    if not (of_truth.saw_a_face and of_output.saw_a_face):
        return dict.fromkeys(MOTION_FIGURES)
    truth, output = of_truth.landmarks, of_output.landmarks
    return {**compare_motion(truth, output), **compare_hands(truth, output)}
