"""How good an avatar is on footage it has never seen, beside baselines that cost nothing.

The held-out part is a contiguous tail. Figures are means over frames of each frame's PSNR in dB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import topology as topo
from engine.avatar import Avatar
from engine.keyframes import region_features
from engine.landmarks import Landmarks
from engine.motion import VISIBLE, Neutral
from engine.pipeline import Pipeline, PipelineConfig, build_pipeline
from engine.temporal_cache import CacheConfig
from export.prepared import Prepared

U8Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px

REGIONS = ("frame", "face", "mouth", "hands", "torso")
MAX_FRAMES = 150  # of the tail are compared; more tell no more
STEPS = (1, 2, 4, 8)
_FAR_FRAMES = 37  # shuffled conditions come from this far away in the tail


def psnr_db(a: U8Image, b: U8Image) -> float:
    """PSNR of two uint8 pictures, peak 255."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return 10.0 * float(np.log10(255.0**2 / max(error, 1e-4)))


def ssim(a: U8Image, b: U8Image) -> float:
    """SSIM of two uint8 pictures, mean over the colours (Wang et al., IEEE TIP 2004)."""
    by_colour, _ = cv2.quality.QualitySSIM_compute(a, b)  # type: ignore[attr-defined]  # not in the stubs
    return float(np.mean(by_colour[:3]))


def fine_power(rgb: U8Image) -> float:
    """Power of a square picture in the upper half of its spectrum, a quarter to half a cycle per pixel."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = grey.shape[0]
    window = np.hanning(side)
    spectrum = np.fft.fft2((grey - grey.mean()) * window * window[:, None])
    rate = np.fft.fftfreq(side)
    radius = np.hypot(rate, rate[:, None])
    return float((np.abs(spectrum) ** 2)[(radius > 0.25) & (radius < 0.5)].sum())


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


class _Scores:
    """PSNR by method and region, frame after frame."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {}

    def add(self, method: str, picture: U8Image, truth: U8Image, boxes: Mapping[str, list[Box]]) -> None:
        for region, parts in boxes.items():
            for x0, y0, x1, y1 in parts:
                value = psnr_db(picture[y0:y1, x0:x1], truth[y0:y1, x0:x1])
                self._values.setdefault(method, {}).setdefault(region, []).append(value)

    def means(self, method: str) -> dict[str, float | None]:
        found = self._values.get(method, {})
        return {
            region: round(float(np.mean(found[region])), 2) if region in found else None for region in REGIONS
        }


def held_out_report(
    avatar: Avatar,
    prepared: Prepared,
    runner: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The held-out table: `held_out`, `baselines`, `steps`, in the names of the machine-readable report.

    `sharpness` is the mean of `fine_power` over the real frame's: 1 is as sharp as the footage.

    avatar: enrolled from `prepared`, whose tail is compared. progress is called with frames done and frames
    in all.
    """
    tail = np.arange(prepared.tail_start, len(prepared.rgb))[:MAX_FRAMES]
    shown = [int(i) for i in tail if prepared.landmarks[i].face_confidence > 0]
    neutral = Neutral.from_arrays(avatar.neutral)
    scores, similarity = _Scores(), []
    sharpness: dict[str, list[float]] = {}
    nearest = _NearestFrame(prepared, neutral)
    pipelines = {
        **{
            str(steps): _driven(avatar, PipelineConfig(runner=runner, steps=steps), neutral)
            for steps in STEPS
        },
        "warp_only": _driven(
            avatar, PipelineConfig(runner="null", cache=CacheConfig(previous_output=False)), neutral
        ),
        "shuffled_conditions": _driven(avatar, PipelineConfig(runner=runner), neutral),
        "zero_prior": _driven(replace_keyframes(avatar), PipelineConfig(runner=runner), neutral),
    }
    try:
        for done, index in enumerate(shown):
            truth, boxes = prepared.rgb[index], region_boxes(prepared.landmarks[index], prepared.size)
            for method, pipeline in pipelines.items():
                source = (
                    shown[(done + _FAR_FRAMES) % len(shown)] if method == "shuffled_conditions" else index
                )
                picture = _render(pipeline, prepared, source, done)
                scores.add(method, picture, truth, boxes)
                sharpness.setdefault(method, []).append(fine_power(picture) / fine_power(truth))
                if method == "1":
                    similarity.append(ssim(picture, truth))
            scores.add("nearest_frame", prepared.rgb[nearest.index(prepared.landmarks[index])], truth, boxes)
            scores.add("previous_frame", prepared.rgb[index - 1], truth, boxes)
            if progress:
                progress(done + 1, len(shown))
    finally:
        for pipeline in pipelines.values():
            pipeline.close()
    baselines = ("nearest_frame", "previous_frame", "warp_only", "shuffled_conditions", "zero_prior")
    return {
        "held_out": {
            "frames": len(shown),
            "psnr_db": scores.means("1"),
            "ssim": round(float(np.mean(similarity)), 4),
        },
        "baselines": {name: scores.means(name) for name in baselines},
        "steps": {str(steps): scores.means(str(steps)) for steps in STEPS},
        "sharpness": {method: round(float(np.mean(values)), 3) for method, values in sharpness.items()},
    }


def _driven(avatar: Avatar, config: PipelineConfig, neutral: Neutral) -> Pipeline:
    pipeline = build_pipeline(avatar, config)
    pipeline.drive_by(neutral)
    return pipeline


def _render(pipeline: Pipeline, prepared: Prepared, index: int, done: int) -> U8Image:
    time_ns = int(done / prepared.fps * 1e9)
    return pipeline.process(prepared.rgb[index], time_ns, landmarks=prepared.landmarks[index]).rgb


def replace_keyframes(avatar: Avatar) -> Avatar:
    """The avatar with mid-grey key frames: what the network makes of guidance alone."""
    grey = tuple(replace(key, rgb=np.full_like(key.rgb, 128)) for key in avatar.keyframes)
    return replace(avatar, keyframes=grey, plate=np.full_like(avatar.plate, 128))


class _NearestFrame:
    """The training frame whose landmarks are most alike: what a video index without a network would show."""

    def __init__(self, prepared: Prepared, neutral: Neutral) -> None:
        self._neutral = neutral
        end = prepared.tail_start
        self._usable = np.flatnonzero([frame.face_confidence > 0 for frame in prepared.landmarks[:end]])
        self._table = np.stack([self._vector(prepared.landmarks[i]) for i in self._usable])

    def _vector(self, landmarks: Landmarks) -> NDArray[np.float32]:
        features = region_features(landmarks, self._neutral)
        return np.concatenate(
            [features[name] for name in ("head", "mouth", "eye_left", "eye_right", "torso")]
        )

    def index(self, landmarks: Landmarks) -> int:
        return int(self._usable[np.linalg.norm(self._table - self._vector(landmarks), axis=1).argmin()])
