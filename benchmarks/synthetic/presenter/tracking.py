"""Turns one video clip of a person into motion curves with MediaPipe: face weights, head, wrists, hands.

`motion.py` retimes and combines these tracks.
Coordinates are the person's: +x to the person's left, +y up, +z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import mediapipe as mp
import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.signal import savgol_filter

from benchmarks.synthetic.presenter.performance import ARKIT_NAMES, Array
from engine.media.video import read_frames

# Hand landmark indices: (base, middle, far, tip) joint of thumb, index, middle, ring and little finger.
FINGER_JOINTS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
ANALYSIS_SIDE_PX = 640


@dataclass(frozen=True)
class Track:
    """Motion of one clip at a fixed rate; sides are ordered left, right (the person's own)."""

    face: Array  # (T, 52) ARKit weights, 0..1, in ARKIT_NAMES order
    head: Array  # (T, 3) radians: yaw to the person's left, pitch down, roll to the person's left
    lean: Array  # (T, 2) radians: sideways lean (to the person's left) and shoulder turn
    wrist: Array  # (T, 2, 3) wrist minus shoulder centre, in shoulder widths
    forward: Array  # (T, 2, 3) unit vector from wrist to middle knuckle
    palm: Array  # (T, 2, 3) unit vector out of the palm
    fingers: Array  # (T, 2, 5, 3) radians: flexion, spread towards the thumb, curl
    seen: Array  # (T, 2) 1 where the hand was found, 0 elsewhere

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)})

    @staticmethod
    def load(path: Path) -> Track:
        with np.load(path) as stored:
            return Track(**{f.name: stored[f.name].astype(np.float64) for f in fields(Track)})


def unit(vectors: Array) -> Array:
    """vectors: (..., 3) -> the same directions with length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def hand_frame(points: Array, is_left: bool) -> tuple[Array, Array, Array]:
    """Axes of a hand: (forward, palm, towards the thumb), each (3,).

    points: (21, 3) hand landmarks in person coordinates.
    """
    forward = unit(points[9] - points[0])
    across = points[5] - points[17]
    across = unit(across - forward * (across @ forward))
    palm = np.cross(forward, across) if is_left else np.cross(across, forward)
    return forward, palm, across


def finger_angles(points: Array, is_left: bool) -> Array:
    """points: (21, 3) hand landmarks -> (5, 3) radians: flexion, spread towards the thumb, curl."""
    forward, palm, across = hand_frame(points, is_left)
    angles = np.zeros((5, 3))
    for finger, (base, middle, far, _tip) in enumerate(FINGER_JOINTS):
        near_bone, next_bone = unit(points[middle] - points[base]), unit(points[far] - points[middle])
        angles[finger, 0] = np.arctan2(near_bone @ palm, near_bone @ forward)
        angles[finger, 1] = np.arcsin(np.clip(near_bone @ across, -1, 1))
        angles[finger, 2] = np.arccos(np.clip(near_bone @ next_bone, -1, 1))
    return angles


def head_angles(rotation: Array) -> Array:
    """rotation: (3, 3) canonical face to camera (x right, y up, z to the viewer) -> yaw, pitch, roll (3,)."""
    yaw = np.arctan2(rotation[0, 2], rotation[2, 2])
    pitch = np.arcsin(np.clip(-rotation[1, 2], -1, 1))
    roll = np.arctan2(-rotation[1, 0], rotation[1, 1])
    return np.array([yaw, pitch, roll])


class ClipTracker:
    """Runs the face and holistic models over one clip, frame by frame. Close it after use."""

    def __init__(self, face_model: Path) -> None:
        tasks = mp.tasks
        if not face_model.is_file():
            raise FileNotFoundError(f"{face_model}: MediaPipe's face_landmarker.task is missing")
        self._face = tasks.vision.FaceLandmarker.create_from_options(
            tasks.vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_path=str(face_model)),
                running_mode=tasks.vision.RunningMode.VIDEO,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
        )
        self._holistic = mp.solutions.holistic.Holistic(model_complexity=1, refine_face_landmarks=False)

    def close(self) -> None:
        self._face.close()
        self._holistic.close()

    def track(self, rgb: npt.NDArray[np.uint8], time_ms: int) -> dict[str, Array]:
        """rgb: (H, W, 3) uint8 -> one row for every field of Track, NaN where nothing was found."""
        row: dict[str, Array] = {
            "face": np.full(52, np.nan), "head": np.full(3, np.nan), "lean": np.full(2, np.nan),
            "wrist": np.full((2, 3), np.nan), "forward": np.full((2, 3), np.nan),
            "palm": np.full((2, 3), np.nan), "fingers": np.full((2, 5, 3), np.nan), "seen": np.zeros(2),
        }  # fmt: skip
        found = self._face.detect_for_video(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb), time_ms)
        if found.face_blendshapes:
            scores = {c.category_name: c.score for c in found.face_blendshapes[0]}
            row["face"] = np.array([scores.get(name, 0.0) for name in ARKIT_NAMES])
            row["head"] = head_angles(np.asarray(found.facial_transformation_matrixes[0])[:3, :3])
        self._track_body(row, rgb)
        return row

    def _track_body(self, row: dict[str, Array], rgb: npt.NDArray[np.uint8]) -> None:
        found = self._holistic.process(rgb)
        if not found.pose_landmarks:
            return
        to_person = np.array([1.0, -rgb.shape[0] / rgb.shape[1], -1.0])
        pose = as_points(found.pose_landmarks) * to_person
        world = as_points(found.pose_world_landmarks) * np.array([1.0, -1.0, -1.0])
        across = pose[11] - pose[12]
        width = float(np.hypot(across[0], across[1])) + 1e-6
        centre = 0.5 * (pose[11] + pose[12])
        row["lean"] = np.array([-np.arctan2(across[1], across[0]), 0.0])
        shoulder_turn = world[11] - world[12]
        row["lean"][1] = -np.arctan2(shoulder_turn[2], shoulder_turn[0])
        for side, (wrist, hand) in enumerate(
            ((15, found.left_hand_landmarks), (16, found.right_hand_landmarks))
        ):
            if not hand:
                continue
            points = as_points(hand) * to_person
            depth = (world[wrist] - 0.5 * (world[11] + world[12]))[2] / np.linalg.norm(shoulder_turn)
            row["wrist"][side] = [*((points[0] - centre)[:2] / width), depth]
            row["forward"][side], row["palm"][side], _ = hand_frame(points, side == 0)
            row["fingers"][side] = finger_angles(points, side == 0)
            row["seen"][side] = 1.0


def as_points(landmarks: Any) -> Array:
    """A MediaPipe landmark list -> (N, 3) float64."""
    return np.array([[p.x, p.y, p.z] for p in landmarks.landmark])


def fill_gaps(values: Array) -> Array:
    """values: (T, ...) with NaN rows -> (T, ...) with gaps filled linearly; all zero if nothing was found."""
    flat = values.reshape(len(values), -1).copy()
    good = ~np.isnan(flat).any(axis=1)
    if not good.any():
        return np.zeros_like(values)
    index = np.arange(len(flat))
    for column in flat.T:
        column[~good] = np.interp(index[~good], index[good], column[good])
    return flat.reshape(values.shape)


def smooth(values: Array, seconds: float, rate_hz: float) -> Array:
    """values: (T, ...) -> Savitzky-Golay smoothed over about `seconds`, which keeps the peaks of lips."""
    window = round(seconds * rate_hz) | 1
    if window < 5 or len(values) < window:
        return values
    return np.asarray(savgol_filter(values, window, 2, axis=0, mode="nearest"))


def resample(values: Array, times_s: Array, rate_hz: float) -> Array:
    """values: (T, ...) at times_s: (T,) -> (T2, ...) at a constant rate from the first time on."""
    wanted = np.arange(times_s[0], times_s[-1], 1.0 / rate_hz)
    return np.asarray(PchipInterpolator(times_s, values, axis=0)(wanted))


def track_clip(
    clip: Path, face_model: Path, rate_hz: float, crop: tuple[int, int, int] | None = None
) -> Track:
    """Tracks a whole clip.

    crop: (x, y, side) square in pixels, or None for the whole picture.
    """
    rows: list[dict[str, Array]] = []
    times: list[float] = []
    tracker = ClipTracker(face_model)
    try:
        for frame in read_frames(clip):
            rgb = frame.rgb
            if crop is not None:
                rgb = rgb[crop[1] : crop[1] + crop[2], crop[0] : crop[0] + crop[2]]
            scale = ANALYSIS_SIDE_PX / max(rgb.shape[:2])
            if scale < 1:
                rgb = np.asarray(
                    cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
                )
            times.append(frame.time_s)
            rows.append(tracker.track(np.ascontiguousarray(rgb), round(times[-1] * 1000)))
    finally:
        tracker.close()
    if len(rows) < 5:
        raise ValueError(f"{clip}: only {len(rows)} frames could be read, need at least 5")
    return rows_to_track(rows, np.array(times), rate_hz)


def rows_to_track(rows: list[dict[str, Array]], times_s: Array, rate_hz: float) -> Track:
    """Gap-filled, smoothed and resampled Track of the raw per-frame rows."""
    native_hz = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    spans = {
        "face": 0.17,
        "head": 0.3,
        "lean": 0.6,
        "wrist": 0.3,
        "forward": 0.3,
        "palm": 0.3,
        "fingers": 0.3,
    }
    curves = {}
    for name in rows[0]:
        values = fill_gaps(np.stack([row[name] for row in rows]))
        curves[name] = resample(smooth(values, spans.get(name, 0.0), native_hz), times_s, rate_hz)
    curves["face"] = np.clip(curves["face"], 0.0, 1.0)
    curves["forward"], curves["palm"] = unit(curves["forward"]), unit(curves["palm"])
    return Track(**curves)
