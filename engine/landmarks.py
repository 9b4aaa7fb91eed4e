"""Landmarks of one frame: the one shape in which tracked and retargeted people travel through the engine.

Knows nothing of trackers, drawing or networks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

FACE_POINTS = 478  # MediaPipe face mesh with irises
POSE_POINTS = 33  # MediaPipe (BlazePose) body points
HAND_POINTS = 21
LEFT, RIGHT = 0, 1  # the person's own left and right hand


def _zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, np.float32)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Where a person's parts are, in pixels of the image they were found in.

    A part with confidence 0 is lost, and its coordinates mean nothing. z has the scale of x, grows away from the
    camera, and is relative: to the head's centre (face), the hips (pose), the wrist (hands).
    """

    width: int  # px, of the image
    height: int  # px
    face: FloatArray = field(default_factory=lambda: _zeros(FACE_POINTS, 3))  # (478, 3) px
    face_confidence: float = 0.0  # 0..1
    pose: FloatArray = field(default_factory=lambda: _zeros(POSE_POINTS, 3))  # (33, 3) px
    pose_confidence: FloatArray = field(default_factory=lambda: _zeros(POSE_POINTS))  # (33,) 0..1
    hands: FloatArray = field(default_factory=lambda: _zeros(2, HAND_POINTS, 3))  # (2, 21, 3) px, left then right
    hand_confidence: FloatArray = field(default_factory=lambda: _zeros(2))  # (2,) 0..1

    def transformed(self, scale: float, shift_x: float, shift_y: float, width: int, height: int) -> Landmarks:
        """The same landmarks in another image: xy -> xy * scale + shift, z -> z * scale."""
        shift = np.array([shift_x, shift_y, 0.0], np.float32)
        return replace(
            self,
            width=width,
            height=height,
            face=self.face * np.float32(scale) + shift,
            pose=self.pose * np.float32(scale) + shift,
            hands=self.hands * np.float32(scale) + shift,
        )

    def mirrored(self) -> Landmarks:
        """As seen in a mirror is *not* this: these are the landmarks of the horizontally flipped image.

        The person's left becomes right, so sided points change places.
        """
        from engine.topology import FACE_MIRROR, POSE_MIRROR  # tables only needed here

        def flip(points: FloatArray) -> FloatArray:
            flipped = points.copy()
            flipped[..., 0] = self.width - flipped[..., 0]
            return flipped

        return replace(
            self,
            face=flip(self.face)[FACE_MIRROR],
            pose=flip(self.pose)[POSE_MIRROR],
            pose_confidence=self.pose_confidence[POSE_MIRROR],
            hands=flip(self.hands)[::-1].copy(),
            hand_confidence=self.hand_confidence[::-1].copy(),
        )
