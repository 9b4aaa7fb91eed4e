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

from engine.arrays import FloatArray, U8Image
from engine.errors import FootageError
from engine.person import topology as topo
from engine.person.face_measures import (
    BLINK,
    CLOSED_LIPS,
    GOOD_BLINKS,
    GOOD_CLOSED_SHARE,
    GOOD_FACE_PX,
    GOOD_HAND_SHARE,
    GOOD_LUMA,
    GOOD_PITCH_DEG,
    GOOD_SMILE_SHARE,
    GOOD_SWINGS,
    GOOD_YAW_DEG,
    MIN_FACE_PX,
    MIN_LUMA,
    ONE_SIDED,
    SMILE,
    lid_openness,
    lip_openness,
    mouth_spread,
    pitch_deg,
    swings,
    yaw_deg,
)
from engine.person.landmarks import LEFT, RIGHT, VISIBLE, Landmarks

MIN_USABLE_S = 8.0  # our shortest trial that still generalised to the held-out tail
GOOD_USABLE_S = 19.5  # 20 s clips gave 25 dB and more; half a second of slack for a lost frame or two
MIN_FACE_SHARE = 0.6  # of the frames; below, the person is mostly elsewhere
MAX_CROWD_SHARE = 0.15  # of the frames looked at; a passer-by is forgiven, a second sitter is not
SECOND_FACE = 0.4  # of the first one's width, from which a face is a person and not a picture on a wall
# Laplacian variance over grey variance, face scaled to 96 px: see `sharpness`. Footage that trained well
# measured 0.15 and more, a cheap webcam 0.11, good footage blurred by 2 % of the face's width about 0.02.
MIN_SHARPNESS, GOOD_SHARPNESS = 0.02, 0.12
MAX_COVERED_SHARE, GOOD_COVERED_SHARE = 0.4, 0.02  # of the faces, with a hand over mouth or eyes
COVER_REACH = 0.15  # distances between the eyes: fingers are thicker than the lines between their joints

_SHARPNESS_PX = 96


@dataclass(frozen=True, slots=True)
class FrameStats:
    """What the picture itself says of one frame."""

    time_s: float  # within its clip
    change: float  # levels of a thumbnail since the frame before, see export/footage/cuts.py
    luma: float  # mean grey of the face, 0..255; nan without a face
    sharpness: float  # of the face; nan without a face
    one_sided: float  # brighter half of the face by the darker; nan without a face
    second_face: (
        float | None
    )  # width of the second largest face by the largest, 0 if alone; None: not looked at


def sharpness(grey: U8Image) -> float:
    """Laplacian variance of the face at 96 px over its grey variance: free of size, exposure and contrast."""
    size = (_SHARPNESS_PX, _SHARPNESS_PX)
    face = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(cv2.Laplacian(face, cv2.CV_32F).var() / max(float(face.var()), 1.0))


def covered(frame: Landmarks) -> bool:
    """Whether a hand lies over the mouth or an eye: what is below is the tracker's guess."""
    left, right = (frame.face[rows, :2].mean(axis=0) for rows in topo.EYES)
    reach = COVER_REACH * float(np.linalg.norm(left - right))
    points = frame.face[np.concatenate([topo.LIPS_OUTER, *topo.EYES]), :2].astype(float).tolist()
    return any(
        cv2.pointPolygonTest(hull, (x, y), True) > -reach
        for hull in (
            cv2.convexHull(hand[:, :2].astype(np.float32))
            for hand in frame.hands[frame.hand_confidence >= VISIBLE]
        )
        for x, y in points
    )


def usable(landmarks: Sequence[Landmarks], stats: Sequence[FrameStats]) -> NDArray[np.bool_]:
    """(N,) the frames to learn from: they show the face, no hand over it, and nobody else."""
    shown = np.array([frame.face_confidence >= VISIBLE and not covered(frame) for frame in landmarks], bool)
    looked = [index for index, frame in enumerate(stats) if frame.second_face is not None]
    for before, here, after in zip([0, *looked], looked, [*looked[1:], len(stats)], strict=False):
        if (stats[here].second_face or 0.0) >= SECOND_FACE:
            shown[before:after] = False  # they came and went between two looks
    return shown


def judge(stats: Sequence[FrameStats], landmarks: Sequence[Landmarks], frame_s: float) -> tuple[str, ...]:
    """Warnings, possibly none. One FrameStats and one Landmarks per frame, of `frame_s` seconds on average.

    Raises FootageError for what no training can mend.
    """
    seen = np.array([frame.face_confidence >= VISIBLE for frame in landmarks], bool)
    if not seen.any() or seen.mean() < MIN_FACE_SHARE:
        raise FootageError(
            f"a face is in {100 * float(np.mean(seen)) if len(seen) else 0:.0f} % of the frames, wanted "
            f"{100 * MIN_FACE_SHARE:.0f} %: stay in the picture, facing the camera, in good light"
        )
    hidden = [covered(frame) for frame, face in zip(landmarks, seen, strict=True) if face]
    _alone(stats)
    warnings = [_uncovered(float(np.mean(hidden)))]
    good = usable(landmarks, stats)
    faces = np.stack([frame.face for frame, use in zip(landmarks, good, strict=True) if use])
    warnings += [
        _size(float(np.median(np.ptp(faces[..., 0], axis=1)))),
        _light(_median([frame.luma for frame in stats])),
        _evenness(_median([frame.one_sided for frame in stats])),
        _focus(_median([frame.sharpness for frame in stats])),
        _duration(float(good.sum()) * frame_s),  # last of the errors: longer footage would mend none of them
        *_variety(faces),
        _hands(landmarks),
    ]
    return tuple(warning for warning in warnings if warning)


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def _duration(seconds: float) -> str:
    if round(seconds, 1) < MIN_USABLE_S:
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


def _uncovered(hidden_share: float) -> str:
    what = f"a hand is over mouth or eyes in {100 * hidden_share:.0f} % of the frames"
    cure = "keep the hands below the chin or beside the face"
    if hidden_share > MAX_COVERED_SHARE:
        raise FootageError(f"{what}, wanted {100 * MAX_COVERED_SHARE:.0f} % at most: {cure}")
    return f"{what}, which are left out: {cure}" if hidden_share > GOOD_COVERED_SHARE else ""


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


def _evenness(ratio: float) -> str:
    if ratio > ONE_SIDED:
        return (
            f"one half of the face is {ratio:.1f} times as bright as the other: turn towards the window or "
            "lamp, or put a second one on the dark side; the shadow stays on the avatar"
        )
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
    lips, mouth = lip_openness(faces), mouth_spread(faces)
    closed, smiling = float(np.mean(lips < CLOSED_LIPS)), float(np.mean(mouth > SMILE * np.median(mouth)))
    turned, nodded = _spread(yaw_deg(faces)), _spread(pitch_deg(faces))
    blinks, spoken = _blinks(faces), swings(lips)
    missing = []
    if closed < GOOD_CLOSED_SHARE:
        share = f"the mouth is closed in {100 * closed:.0f} % of the frames"
        missing.append(f"{share}: say 'mmm' and keep the lips shut for some seconds")
    if blinks < GOOD_BLINKS:
        missing.append(f"{blinks} blinks were seen: blink a few times, slowly as well")
    if turned < GOOD_YAW_DEG:
        missing.append(f"the head turns by {turned:.0f} degrees in all: look to the left and to the right")
    if nodded < GOOD_PITCH_DEG:
        missing.append(f"the head nods by {nodded:.0f} degrees in all: look up and down")
    if smiling < GOOD_SMILE_SHARE:
        missing.append("no smile was seen: smile for some seconds, with the lips shut and with the teeth")
    if spoken < GOOD_SWINGS:
        missing.append(f"the lips moved {spoken} times as in speech: speak a few sentences")
    return missing


def _spread(values: FloatArray) -> float:
    return float(np.percentile(values, 97) - np.percentile(values, 3))


def _blinks(faces: FloatArray) -> int:
    """How often both lids close and open again."""
    eyes = lid_openness(faces)
    shut = eyes < BLINK * np.median(eyes)
    return int(np.count_nonzero(shut[1:] & ~shut[:-1]))


def _hands(landmarks: Sequence[Landmarks]) -> str:
    share = np.mean([frame.hand_confidence >= VISIBLE for frame in landmarks], axis=0)
    hidden = [name for side, name in ((LEFT, "left"), (RIGHT, "right")) if share[side] < GOOD_HAND_SHARE]
    if not hidden:
        return ""
    what = "hands are" if len(hidden) == 2 else f"{hidden[0]} hand is"
    return f"the {what} hardly ever seen: show both hands and move the fingers, if the avatar shall have them"
