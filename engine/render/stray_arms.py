"""Arms that key frames show and their landmarks know nothing of.

A hand at the picture's edge, flat, or under the other one is missed by the tracker. Such a frame counts as
one of a person at rest: its torso would bring along a hand that nobody moves, of which the network rubs out
all but the outline. Told by what differs from the person without arms, on a small copy. Knows nothing of
networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import VISIBLE, Landmarks
from engine.render.keyframes import KeyFrame
from engine.render.patches import shown_arm
from engine.render.warp import ControlPoints, Flow, FlowSolver, lay, trunk_pairs

SMALL_PX = 64  # side of the copies
DIFFERENT = 60  # levels of 255 in any channel: folds and shadows differ less
BELOW_CHIN = 0.3  # shoulder distances: further up hair and collar move
LEAST = 0.004  # of the canvas: less is an outline that the warp missed
_OUTLINE = np.ones((3, 3), np.uint8)  # a sleeve that hangs elsewhere shows as a line, a hand as a patch
_PERSON = 128  # of the matte


def stray_arms(
    bank: Sequence[KeyFrame],
    points: Sequence[ControlPoints],
    bare_torso: U8Image,
    solver: FlowSolver,
    body_scale: float,
) -> FloatArray:
    """(K,) float32, 1 for each key frame that shows part of an arm which its landmarks lack, else 0.

    points: control points of each; bare_torso: (S, S, 4) uint8, the person of bank[0] without arms; solver:
    of flows over the whole canvas; body_scale: px between the shoulders.
    """
    bare = _small(bare_torso)
    stray = np.zeros(len(bank), np.float32)
    for index, key in enumerate(bank):
        if key.landmarks.face_confidence <= 0 or key.landmarks.hand_confidence.min() > VISIBLE:
            continue
        grid = trunk_pairs(solver, points[index], points[0]).flow().grid * np.float32(
            SMALL_PX / solver.canvas_px
        )
        stray[index] = _unknown(key, bare, Flow((0, 0, SMALL_PX, SMALL_PX), grid), body_scale) >= LEAST
    return stray


def _unknown(key: KeyFrame, bare: U8Image, flow: Flow, body_scale: float) -> float:
    """Share of the canvas where the key frame shows something else than a torso or an arm that is known."""
    scale = SMALL_PX / len(key.rgba)
    there, torso = _small(key.rgba), np.zeros_like(bare)
    lay(torso, bare, flow, np.full(torso.shape[:2], 255, np.uint8))
    unlike = (cv2.absdiff(there, torso)[..., :3].max(2) > DIFFERENT) & (there[..., 3] >= _PERSON)
    small = key.landmarks.transformed(scale, 0.0, 0.0, SMALL_PX, SMALL_PX)
    for side in (0, 1):
        unlike &= shown_arm(small, side, SMALL_PX, body_scale * scale) == 0
    unlike[: _chest(small, body_scale * scale)] = False
    return float(cv2.morphologyEx(unlike.astype(np.uint8), cv2.MORPH_OPEN, _OUTLINE).mean())


def _chest(landmarks: Landmarks, body_scale: float) -> int:
    """The first row, px, that shows neither hair nor collar."""
    return int(np.clip(float(landmarks.face[:, 1].max()) + BELOW_CHIN * body_scale, 0, SMALL_PX))


def _small(rgba: U8Image) -> U8Image:
    return np.asarray(cv2.resize(rgba, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA), np.uint8)
