"""What a face's points and picture tell: how open mouth and lids are, where the head turns, how much light.

One meaning of each for the footage that is judged and for the person who is filming it. Pure.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks

MIN_FACE_PX, GOOD_FACE_PX = 56.0, 110.0  # width; the rendered presenters, at 60 px, enrol well
# Mean grey of the face. Well-exposed dark skin measured 90; 50 is a face hardly lit, of whatever skin.
MIN_LUMA, GOOD_LUMA = 28.0, 50.0
CLOSED_LIPS, GOOD_CLOSED_SHARE = 0.06, 0.05  # lip gap by mouth width; share of the frames
BLINK, GOOD_BLINKS = 0.55, 2  # of the usual lid gap; blinks in all
GOOD_YAW_DEG = 15.0  # between the 3rd and 97th percentile
GOOD_PITCH_DEG = 8.0  # likewise
SMILE, GOOD_SMILE_SHARE = 1.09, 0.015  # of the mouth's usual width; share of the frames
SWING, GOOD_SWINGS = 0.06, 12  # change of the lips' gap that speech makes, by mouth width; a dozen syllables
ONE_SIDED = 2.0  # brighter half of the face by the darker
GOOD_HAND_SHARE = 0.02  # of the frames, each hand

_MIN_CROP_PX = 8


def face_crop(rgb: U8Image, landmarks: Landmarks) -> U8Image | None:
    """The face's box as grey (h, w) uint8; None if there is none within the picture. rgb: (H, W, 3) uint8."""
    if landmarks.face_confidence < VISIBLE:
        return None
    low, high = landmarks.face[:, :2].min(axis=0), landmarks.face[:, :2].max(axis=0)
    x0, y0 = (max(0, int(value)) for value in low)
    x1, y1 = (max(0, int(np.ceil(value))) for value in high)
    crop = rgb[y0:y1, x0:x1]
    if min(crop.shape[:2]) < _MIN_CROP_PX:
        return None
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)


def lip_openness(faces: FloatArray) -> FloatArray:
    """Gap of the inner lips by the width of the mouth, (...). faces: (..., 478, 3) px."""
    mouth = np.maximum(_distance(faces, *topo.MOUTH_CORNERS), np.float32(1e-3))
    return np.asarray(_distance(faces, *topo.LIP_MIDDLES) / mouth, np.float32)


def lid_openness(faces: FloatArray) -> FloatArray:
    """Gap of the lids by the width of the eye, mean of both eyes, (...). faces: (..., 478, 3) px."""
    eyes = [
        _distance(faces, upper, lower) / np.maximum(_distance(faces, outer, inner), np.float32(1e-3))
        for upper, lower, outer, inner in topo.LIDS
    ]
    return np.asarray((eyes[0] + eyes[1]) / 2, np.float32)


def mouth_spread(faces: FloatArray) -> FloatArray:
    """Width of the mouth by the distance between the eyes, in space, (...). faces: (..., 478, 3) px."""
    mouth, eyes = (
        np.linalg.norm(faces[..., start, :] - faces[..., end, :], axis=-1)
        for start, end in (topo.MOUTH_CORNERS, topo.EYE_OUTER_CORNERS)
    )
    return np.asarray(mouth / np.maximum(eyes, 1e-3), np.float32)


def swings(openness: FloatArray) -> int:
    """How often the lips' gap turns after a change of more than SWING. openness: (N,) of `lip_openness`."""
    count, turning_point, opening = 0, float(openness[0]), False
    for value in openness.tolist():
        if (value > turning_point) == opening:
            turning_point = value
        elif abs(value - turning_point) > SWING:
            turning_point, opening, count = value, not opening, count + 1
    return count


def one_sidedness(grey: U8Image) -> float:
    """Mean of the face's brighter half by that of the darker, 1 or more. grey: of `face_crop`."""
    middle = grey.shape[1] // 2
    dark, bright = sorted((float(grey[:, :middle].mean()), float(grey[:, middle:].mean())))
    return bright / max(dark, 1.0)


def yaw_deg(faces: FloatArray) -> FloatArray:
    """Where the head turns, (...) degrees, positive towards image right. faces: (..., 478, 3) px."""
    cheeks = faces[..., topo.FACE_SIDES[1], :] - faces[..., topo.FACE_SIDES[0], :]
    return np.asarray(np.degrees(np.arctan2(cheeks[..., 2], cheeks[..., 0])), np.float32)


def pitch_deg(faces: FloatArray) -> FloatArray:
    """How far the head nods, (...) degrees, positive downwards. faces: (..., 478, 3) px."""
    down = faces[..., topo.CHIN, :] - faces[..., topo.FOREHEAD, :]
    return np.asarray(np.degrees(np.arctan2(down[..., 2], down[..., 1])), np.float32)


def _distance(faces: FloatArray, start: int, end: int) -> FloatArray:
    """Between two points, in the picture."""
    return np.asarray(np.linalg.norm(faces[..., start, :2] - faces[..., end, :2], axis=-1), np.float32)
