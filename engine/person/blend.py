"""Two motions as one: the lips of a voice on the head of a camera, or one driver fading into another.

Both must be measured against the same neutral. Knows nothing of cameras, voices or time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.landmarks import FACE_POINTS
from engine.person.motion import Motion, canonical_reference


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the second motion goes into each region, 0 to 1."""

    lips: float  # the lower face, jaw and chin with it
    upper_face: float  # brows, lids, gaze, cheeks
    head: float  # its pose
    body: float  # chest, shoulders, arms and hands

    @classmethod
    def of_all(cls, share: float) -> Shares:
        """The same everywhere."""
        return cls(share, share, share, share)

    @property
    def is_none(self) -> bool:
        """The first motion stays as it is."""
        return not (self.lips or self.upper_face or self.head or self.body)


def blended(first: Motion, second: Motion, shares: Shares) -> Motion:
    """The first motion with as much of the second as `shares` say.

    A limb that only one of the two has seen stays where that one has it, and fades in confidence alone.
    """
    if shares.is_none:
        return first
    lips = lower_face()[:, None]
    by_point = shares.upper_face + (shares.lips - shares.upper_face) * lips
    body = shares.body
    elbows, elbow_seen = _limbs(
        first.elbows, first.elbow_confidence, second.elbows, second.elbow_confidence, body
    )
    wrists, wrist_seen = _limbs(
        first.wrists, first.wrist_confidence, second.wrists, second.wrist_confidence, body
    )
    hands, hand_seen = _limbs(first.hands, first.hand_confidence, second.hands, second.hand_confidence, body)
    return Motion(
        rotation=_turned(first.rotation, second.rotation, shares.head),
        centre=_mixed(first.centre, second.centre, shares.head),
        scale=first.scale + shares.head * (second.scale - first.scale),
        expression=np.asarray(
            first.expression + by_point * (second.expression - first.expression), np.float32
        ),
        lip_gap=first.lip_gap + shares.lips * (second.lip_gap - first.lip_gap),
        lid_gap=_mixed(first.lid_gap, second.lid_gap, shares.upper_face),
        face_confidence=first.face_confidence
        + shares.head * (second.face_confidence - first.face_confidence),
        shoulders=_mixed(first.shoulders, second.shoulders, body),
        elbows=elbows,
        wrists=wrists,
        hands=hands,
        shoulder_confidence=first.shoulder_confidence
        + body * (second.shoulder_confidence - first.shoulder_confidence),
        chest=_mixed(first.chest, second.chest, body),
        chest_shape=_mixed(first.chest_shape, second.chest_shape, body),
        chest_confidence=first.chest_confidence + body * (second.chest_confidence - first.chest_confidence),
        elbow_confidence=elbow_seen,
        wrist_confidence=wrist_seen,
        hand_confidence=hand_seen,
    )


@cache
def lower_face() -> FloatArray:
    """(478,) 1 from the upper lip down, 0 from the tip of the nose up, eased between: no crease."""
    height = canonical_reference()[:, 1]  # y points down
    nose, lip = height[topo.NOSE_BRIDGE[-1]], height[topo.LIPS_UPPER_OUTER].mean()
    way = np.clip((height - nose) / (lip - nose), 0.0, 1.0)
    weights = np.zeros(FACE_POINTS, np.float32)  # irises come after the mesh: none of the lower face
    weights[: len(height)] = way * way * (3.0 - 2.0 * way)
    return weights


def _mixed(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    return np.asarray(first + np.float32(share) * (second - first), np.float32)


def _turned(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """Along the shortest turn from one rotation (3, 3) to the other."""
    axis = cv2.Rodrigues(np.asarray(second @ first.T, np.float64))[0]
    return np.asarray(cv2.Rodrigues(share * axis)[0] @ first, np.float32)


def _limbs(
    first: FloatArray, first_seen: FloatArray, second: FloatArray, second_seen: FloatArray, share: float
) -> tuple[FloatArray, FloatArray]:
    """Both sides' points (2, ..., 3) and confidence (2,): each counts as it was seen."""
    seen = np.stack([(1.0 - share) * first_seen, share * second_seen])
    of_second = (seen[1] / np.maximum(seen.sum(0), 1e-6)).reshape(2, *[1] * (first.ndim - 1))
    return np.asarray(first + of_second * (second - first), np.float32), seen.sum(0).astype(np.float32)
