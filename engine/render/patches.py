"""Pieces of a key frame that are laid over the torso: where they are, which points carry them, their masks.

Mouth and eyes come in soft ellipses, a hand along its outline together with its forearm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isfinite

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.compiled import compiled, inlined
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from engine.render.warp import Flow, cell_middles

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 px

FOREARM_WIDTH = 0.24  # shoulder distances, sleeve included
UNSEEN_FOREARM = 1.6  # palm lengths of forearm that are drawn where the elbow is not known
BEYOND_WRIST = 0.6  # forearm lengths that a hand reaches where only the wrist is known
FADE = (
    0.2  # confidence above VISIBLE at which a hand is fully there: a lost one fades instead of blinking out
)
EYE_CELL_PX = 1  # at 256 px
MOST_CELLS = 64  # of a flow across a patch
IRIS_GIVES_WAY = 1.9  # iris radii from its middle at which the white of the eye stays
LID_EDGE = 0.25  # iris radii inside the lids from which the eye moves as told
IRIS_GAIN = 1.5  # finders see an iris move less than it does: held-out eyes are nearest so
IRIS_REACH = 1.6  # iris radii that it is moved at most; a key frame that is further off is another look
_MOUTH_GROWS, _EYE_GROWS = np.array([1.5, 2.0], np.float32), np.array([1.35, 1.5], np.float32)
_EYE_AND_BROW = {
    "eye_left": np.concatenate([topo.EYE_LEFT, topo.BROWS[1]]),
    "eye_right": np.concatenate([topo.EYE_RIGHT, topo.BROWS[3]]),
}
_LIDS = np.stack([np.arange(9), np.r_[8:16, 0]])  # rows of an eye: the lower lid, the upper one
_AROUND_HAND = 0.13  # shoulder distances: shadows, and fingers that the tracker misplaced
_ALONG_FOREARM = (0.33, 0.66, 1.0)
_HAND_SAY, _FOREARM_SAY = 0.1, 0.3  # weights of their points


def face_box(region: str, target: Landmarks) -> Box | None:
    """The patch of mouth, eye_left or eye_right; may reach over the canvas. None where it makes no sense."""
    if region == "mouth":
        points, grow = target.face[topo.LIPS_OUTER, :2], _MOUTH_GROWS
    else:
        points, grow = target.face[_EYE_AND_BROW[region], :2], _EYE_GROWS
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 4.0) * grow
    return _whole_px(centre - half, centre + half, target.width)


def eye_cell_px(box: Box, canvas_px: int) -> int:
    """Cell of an eye's flow: an iris is six pixels wide at 256 px. No more cells than a graph takes."""
    side_px = max(box[2] - box[0], box[3] - box[1])
    return max(EYE_CELL_PX * canvas_px // 256, -(-side_px // MOST_CELLS), 1)


@dataclass(frozen=True, slots=True, eq=False)
class Gaze:
    """Where the iris of an eye is to be, all px."""

    centre: FloatArray  # (2,)
    source: FloatArray  # (2,) where the key frame has it
    radius: float
    lids: FloatArray  # (2, 9, 2): the lower and the upper one, from left to right

    @classmethod
    def of(cls, side: int, target: Landmarks, source: Landmarks) -> Gaze:
        """side: LEFT or RIGHT."""
        iris, eye = target.face[topo.IRISES[side], :2], target.face[topo.EYES[side], :2]
        rim = iris[1:] - iris[0]
        lids = eye[_LIDS]
        order = lids[..., 0].argsort(1)
        return cls(
            iris[0],
            source.face[topo.IRISES[side][0], :2],
            max(float(np.sqrt((rim * rim).sum(1)).sum() / len(rim)), 1e-3),
            np.take_along_axis(lids, order[..., None], 1),
        )


def look(flow: Flow, gaze: Gaze) -> None:
    """Brings the iris in an eye's flow to where the target has it; lids stay. Changes the flow.

    Among the points of lids and brows the iris is one of many, and a smooth flow would hardly move it:
    between the lids it slides as a disc, and the white beside it gives way.
    """
    missing = IRIS_GAIN * (gaze.source - gaze.centre - flow.shift_at(gaze.centre))
    missing *= min(1.0, IRIS_REACH * gaze.radius / max(float(np.linalg.norm(missing)), 1e-6))
    xs, ys = cell_middles(flow.box, *flow.grid.shape[1:])
    lids = np.stack([np.interp(xs, *lid.T) for lid in gaze.lids])
    _slide(flow.grid, xs, ys, lids, gaze.centre, gaze.radius, missing)


@compiled
def _slide(
    grid: FloatArray,
    xs: FloatArray,
    ys: FloatArray,
    lids: NDArray[np.float64],
    centre: FloatArray,
    radius: float,
    missing: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Adds `missing`, (2,) px, to a grid between the lids around the iris, as far as the white gives way."""
    for row in range(ys.size):
        for column in range(xs.size):
            away = np.hypot(xs[column] - centre[0], ys[row] - centre[1]) / radius
            near = _smooth((IRIS_GIVES_WAY - away) / (IRIS_GIVES_WAY - 1.0))
            depth = min(lids[0, column] - ys[row], ys[row] - lids[1, column])
            share = near * _smooth(depth / (LID_EDGE * radius))
            grid[0, row, column] += share * missing[0]
            grid[1, row, column] += share * missing[1]


@inlined
def _smooth(value: float) -> float:  # pragma: no cover - compiled
    """0 below 0, 1 above 1, eased between."""
    way = min(max(value, 0.0), 1.0)
    return way * way * (3.0 - 2.0 * way)


def arm_box(points: FloatArray, body_scale: float, canvas_px: int) -> Box | None:
    """The patch around `arm_points`; it may reach over the canvas. None where it makes no sense."""
    pad = 0.5 * FOREARM_WIDTH * body_scale
    return _whole_px(points.min(0) - pad, points.max(0) + pad, canvas_px)


def clipped(box: Box, canvas_px: int) -> Box | None:
    """The part of the box on the canvas; None where that is next to nothing."""
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], canvas_px), min(box[3], canvas_px)
    return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 - y0 >= 8 else None


def elbow_known(landmarks: Landmarks, side: int) -> bool:
    """Whether the forearm's direction is known, and not guessed from the hand."""
    return bool(landmarks.pose_confidence[topo.ELBOWS[side]] > VISIBLE)


def arm_points(landmarks: Landmarks, side: int, with_elbow: bool, body_scale: float) -> FloatArray:
    """(27, 2) px: the hand's points, then pairs left and right of the forearm's bone, towards the elbow."""
    hand = landmarks.hands[side, :, :2]
    wrist = hand[0]
    along = (
        landmarks.pose[topo.ELBOWS[side], :2] if with_elbow else wrist + UNSEEN_FOREARM * (wrist - hand[9])
    ) - wrist
    across = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-3)
    across *= 0.5 * FOREARM_WIDTH * body_scale
    pairs = [wrist + share * along + way * across for share in _ALONG_FOREARM for way in (1, -1)]
    return np.asarray(np.concatenate([hand, np.stack(pairs)]), np.float32)


def arm_weights() -> FloatArray:
    """(27,) what each of `arm_points` has to say."""
    return np.repeat(np.array([_HAND_SAY, _FOREARM_SAY], np.float32), [21, 2 * len(_ALONG_FOREARM)])


def arm_mask(points: FloatArray, box: Box, body_scale: float, presence: float = 1.0) -> U8Image:
    """(h, w) uint8 over `box`: 255 * presence on hand and forearm, soft just outside them.

    points: as `arm_points`; presence: 0..1.
    """
    x0, y0, x1, y1 = box
    mask, full = np.zeros((y1 - y0, x1 - x0), np.uint8), round(255 * presence)
    finger_px = max(2, round(0.28 * float(np.linalg.norm(points[9] - points[0]))))
    local = np.round(points - (x0, y0)).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(local[topo.PALM]), full)
    for start, end in topo.HAND_BONES:
        cv2.line(mask, local[start].tolist(), local[end].tolist(), full, finger_px)
    elbow = (local[-1] + local[-2]) // 2
    cv2.line(mask, local[0].tolist(), elbow.tolist(), full, max(2, round(FOREARM_WIDTH * body_scale)))
    return np.asarray(cv2.blur(mask, (finger_px // 2 * 2 + 1,) * 2), np.uint8)


def hand_presence(confidence: float) -> float:
    """0..1: how much of a hand is drawn."""
    return float(np.clip((confidence - VISIBLE) / FADE, 0.0, 1.0))


def shown_arm(landmarks: Landmarks, side: int, canvas_px: int, body_scale: float) -> U8Image:
    """(S, S) uint8: 255 generously over hand and forearm of one frame; all 0 where neither is known."""
    mask = np.zeros((canvas_px, canvas_px), np.uint8)
    around = max(3, round(_AROUND_HAND * body_scale)) | 1
    if landmarks.hand_confidence[side] > VISIBLE:
        points = arm_points(landmarks, side, elbow_known(landmarks, side), body_scale)
        cv2.fillConvexPoly(mask, cv2.convexHull(_drawable(points[:21])), 255)
        mask = np.asarray(
            cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (around, around))), np.uint8
        )
        ends = np.stack([points[0], points[-2:].mean(0)])
    elif min(landmarks.pose_confidence[[topo.ELBOWS[side], topo.WRISTS[side]]]) > VISIBLE:
        elbow, wrist = landmarks.pose[topo.ELBOWS[side], :2], landmarks.pose[topo.WRISTS[side], :2]
        ends = np.stack([wrist + BEYOND_WRIST * (wrist - elbow), elbow])
    else:
        return mask
    start, end = _drawable(ends).tolist()
    cv2.line(mask, start, end, 255, max(2, round(FOREARM_WIDTH * body_scale) + around // 3))
    return mask


def head_outline(target: Landmarks) -> NDArray[np.int32]:
    """(N, 2) px, convex: face and hair."""
    face = target.face[topo.FACE_OVAL, :2]
    away = face - face.mean(0)
    grown = face + np.where(away[:, 1:] < 0, np.float32(0.87), np.float32(0.12)) * away
    return np.asarray(cv2.convexHull(_drawable(np.trunc(grown)))[:, 0], np.int32)


def outline_soft_px(canvas_px: int) -> int:
    """Width of the blur at the edge of `filled_outline`: it fades on the neck."""
    return max(3, canvas_px // 20) | 1


def filled_outline(outline: NDArray[np.int32], canvas_px: int) -> U8Image:
    """(S, S) uint8: 255 inside of (N, 2) px, fading over its edge."""
    mask = np.zeros((canvas_px, canvas_px), np.uint8)
    cv2.fillConvexPoly(mask, outline, 255)
    soft = outline_soft_px(canvas_px)
    x, y, width, height = cv2.boundingRect(outline)
    ends = max(y + height + soft, 0), max(x + width + soft, 0)
    inside = mask[max(y - soft, 0) : ends[0], max(x - soft, 0) : ends[1]]  # the rest stays empty
    if inside.size:
        inside[:] = cv2.blur(inside, (soft, soft))
    return mask


def ellipse(width: int, height: int) -> U8Image:
    """(height, width) uint8: 255 in the middle, falling softly to 0 at the ellipse that touches the box."""
    x = (np.arange(width, dtype=np.float32) + 0.5) * (2.0 / width) - 1.0
    y = (np.arange(height, dtype=np.float32) + 0.5) * (2.0 / height) - 1.0
    inside = (1.0 - np.sqrt(x * x + y[:, None] * y[:, None])) * np.float32(3 * 255)
    return np.asarray(np.clip(inside + np.float32(0.5), 0, 255), np.uint8)


def _whole_px(low: FloatArray, high: FloatArray, canvas_px: int) -> Box | None:
    ends = (*low.tolist(), *high.tolist())
    x0, y0, x1, y1 = ends
    if not (all(map(isfinite, ends)) and max(x1 - x0, y1 - y0) < 2 * canvas_px):
        return None
    # Far off the canvas an integer would overflow.
    x0, y0, x1, y1 = (min(max(end, -4.0 * canvas_px), 4.0 * canvas_px) for end in ends)
    return floor(x0), floor(y0), ceil(x1), ceil(y1)


def _drawable(points: FloatArray) -> NDArray[np.int32]:
    return np.asarray(np.round(np.clip(points, -20000, 20000)), np.int32)
