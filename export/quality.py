"""Judges footage before time is spent on it.

What makes an avatar impossible is an error, what makes it poor a warning; both say what to film instead.

Pure: works on tracked landmarks and a few numbers per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import FootageError
from engine.face_measures import (
    BLINK,
    CLOSED_LIPS,
    GOOD_BLINKS,
    GOOD_CLOSED_SHARE,
    GOOD_FACE_PX,
    GOOD_HAND_SHARE,
    GOOD_LUMA,
    GOOD_YAW_DEG,
    MIN_FACE_PX,
    MIN_LUMA,
    SEEN,
    lid_openness,
    lip_openness,
    yaw_deg,
)
from engine.landmarks import LEFT, RIGHT, Landmarks

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

MIN_USABLE_S = 8.0  # our shortest trial that still generalised to the held-out tail
GOOD_USABLE_S = 19.5  # 20 s clips gave 25 dB and more; half a second of slack for a lost frame or two
MIN_FACE_SHARE = 0.6  # of the frames; below, the person is mostly elsewhere
MAX_CROWD_SHARE = 0.15  # of the frames looked at; a passer-by is forgiven, a second sitter is not
SECOND_FACE = 0.4  # of the first one's width, from which a face is a person and not a picture on a wall
# Laplacian variance over grey variance, face scaled to 96 px: see `sharpness`. Footage that trained well
# measured 0.15 and more, a cheap webcam 0.11, good footage blurred by 2 % of the face's width about 0.02.
MIN_SHARPNESS, GOOD_SHARPNESS = 0.02, 0.12

_SHARPNESS_PX = 96


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What the picture itself says of one frame."""

    time_s: float  # within its clip
    change: float  # levels of a thumbnail since the frame before, see export/cuts.py
    luma: float  # mean grey of the face, 0..255; nan without a face
    sharpness: float  # of the face; nan without a face
    second_face: (
        float | None
    )  # width of the second largest face by the largest, 0 if alone; None: not looked at


def sharpness(grey: Image) -> float:
    """Laplacian variance of the face at 96 px over its grey variance: free of size, exposure and contrast."""
    size = (_SHARPNESS_PX, _SHARPNESS_PX)
    face = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(cv2.Laplacian(face, cv2.CV_32F).var() / max(float(face.var()), 1.0))


def usable(landmarks: Sequence[Landmarks]) -> NDArray[np.bool_]:
    """(N,) the frames that show the face well enough to learn from."""
    return np.array([frame.face_confidence >= SEEN for frame in landmarks], bool)


def judge(stats: Sequence[FrameStats], landmarks: Sequence[Landmarks], frame_s: float) -> tuple[str, ...]:
    """Warnings, possibly none. One FrameStats and one Landmarks per frame, of `frame_s` seconds on average.

    Raises FootageError for what no training can mend.
    """
    seen = usable(landmarks)
    faces = [frame.face for frame, good in zip(landmarks, seen, strict=True) if good]
    warnings = [_duration(float(seen.sum()) * frame_s)] if faces else []
    if not faces or seen.mean() < MIN_FACE_SHARE:
        raise FootageError(
            f"a face is in {100 * float(np.mean(seen)) if len(seen) else 0:.0f} % of the frames, wanted "
            f"{100 * MIN_FACE_SHARE:.0f} %: stay in the picture, facing the camera, in good light"
        )
    _alone(stats)
    widths = np.array([np.ptp(face[:, 0]) for face in faces])
    warnings += [
        _size(float(np.median(widths))),
        _light(_median([frame.luma for frame in stats])),
        _focus(_median([frame.sharpness for frame in stats])),
        *_variety(np.stack(faces)),
        _hands(landmarks),
    ]
    return tuple(warning for warning in warnings if warning)


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def _duration(seconds: float) -> str:
    if seconds < MIN_USABLE_S:
        raise FootageError(
            f"{seconds:.1f} s of usable footage, wanted {MIN_USABLE_S:.0f} s or more, best 30 s: film longer"
        )
    if seconds < GOOD_USABLE_S:
        return f"only {seconds:.0f} s of usable footage: 30 s give a better avatar"
    return ""


def _alone(stats: Sequence[FrameStats]) -> None:
    looked = [frame.second_face for frame in stats if frame.second_face is not None]
    share = float(np.mean([size >= SECOND_FACE for size in looked])) if looked else 0.0
    if share > MAX_CROWD_SHARE:
        raise FootageError(
            f"a second person is in {100 * share:.0f} % of the frames: film one person alone, "
            "without mirrors or screens that show faces"
        )


def _size(width_px: float) -> str:
    if width_px < MIN_FACE_PX:
        raise FootageError(
            f"the face is {width_px:.0f} px wide, wanted {GOOD_FACE_PX:.0f}: come closer or film larger"
        )
    if width_px < GOOD_FACE_PX:
        return (
            f"the face is only {width_px:.0f} px wide: come closer, {GOOD_FACE_PX:.0f} px or more are better"
        )
    return ""


def _light(luma: float) -> str:
    if luma < MIN_LUMA:
        raise FootageError(
            f"the face is too dark (grey {luma:.0f} of 255): put a lamp or a window in front of you"
        )
    if luma < GOOD_LUMA:
        return f"the face is dark (grey {luma:.0f} of 255): more light from the front gives cleaner skin"
    return ""


def _focus(sharp: float) -> str:
    if sharp < MIN_SHARPNESS:
        raise FootageError(
            f"the face is blurred (sharpness {sharp:.3f}, wanted {GOOD_SHARPNESS:.2f}): "
            "clean the lens, let it focus on the face, add light"
        )
    if sharp < GOOD_SHARPNESS:
        return (
            f"the face is soft (sharpness {sharp:.2f}, good is {GOOD_SHARPNESS:.2f}): check focus and light"
        )
    return ""


def _variety(faces: FloatArray) -> list[str]:
    """What the avatar will not know how to do. faces: (N, 478, 3) px."""
    closed = float(np.mean(lip_openness(faces) < CLOSED_LIPS))
    yaw = yaw_deg(faces)
    turned = float(np.percentile(yaw, 97) - np.percentile(yaw, 3))
    blinks = _blinks(faces)
    missing = []
    if closed < GOOD_CLOSED_SHARE:
        share = f"the mouth is closed in {100 * closed:.0f} % of the frames"
        missing.append(f"{share}: say 'mmm' and keep the lips shut for some seconds")
    if blinks < GOOD_BLINKS:
        missing.append(f"{blinks} blinks were seen: blink a few times, slowly as well")
    if turned < GOOD_YAW_DEG:
        missing.append(
            f"the head turns by {turned:.0f} degrees in all: look around, left, right, up and down"
        )
    return missing


def _blinks(faces: FloatArray) -> int:
    """How often both lids close and open again."""
    eyes = lid_openness(faces)
    shut = eyes < BLINK * np.median(eyes)
    return int(np.count_nonzero(shut[1:] & ~shut[:-1]))


def _hands(landmarks: Sequence[Landmarks]) -> str:
    share = np.mean([frame.hand_confidence >= SEEN for frame in landmarks], axis=0)
    hidden = [name for side, name in ((LEFT, "left"), (RIGHT, "right")) if share[side] < GOOD_HAND_SHARE]
    if not hidden:
        return ""
    what = "hands are" if len(hidden) == 2 else f"{hidden[0]} hand is"
    return f"the {what} hardly ever seen: show both hands and move the fingers, if the avatar shall have them"
