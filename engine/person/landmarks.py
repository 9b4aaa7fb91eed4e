"""Landmarks of one frame: the one shape in which tracked and retargeted people travel through the engine.

Knows nothing of trackers, drawing or networks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from engine.arrays import FloatArray

FACE_POINTS = 478  # MediaPipe face mesh with irises
POSE_POINTS = 33  # MediaPipe (BlazePose) body points
HAND_POINTS = 21
VISIBLE = 0.5  # confidence from which a face, a hand or a point counts
LEFT, RIGHT = 0, 1  # the person's own left and right hand


def _zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Where a person's parts are, in pixels of the image they were found in.

    A part with confidence 0 is lost, and its coordinates mean nothing. z has the scale of x, grows away from
    the camera, and is relative: to the head's centre (face), the hips (pose), the wrist (hands).
    """

    width: int  # px, of the image
    height: int  # px
    face: FloatArray = field(default_factory=lambda: _zeros(FACE_POINTS, 3))  # (478, 3) px
    face_confidence: float = 0.0  # 0..1
    pose: FloatArray = field(default_factory=lambda: _zeros(POSE_POINTS, 3))  # (33, 3) px
    pose_confidence: FloatArray = field(default_factory=lambda: _zeros(POSE_POINTS))  # (33,) 0..1
    hands: FloatArray = field(
        default_factory=lambda: _zeros(2, HAND_POINTS, 3)
    )  # (2, 21, 3) px, left then right
    hand_confidence: FloatArray = field(default_factory=lambda: _zeros(2))  # (2,) 0..1
    chest: FloatArray = field(
        default_factory=lambda: _zeros(2)
    )  # (2,) px, shift of the chest's middle since the tracker's reference picture
    chest_middle: FloatArray = field(default_factory=lambda: _zeros(2))  # (2,) px, in the reference picture
    chest_shape: FloatArray = field(
        default_factory=lambda: _zeros(2, 2)
    )  # (2, 2): what was p px from the middle has moved by chest + chest_shape @ p
    chest_confidence: float = 0.0  # 0..1
    person: int = 0  # another number: another person is followed from here on
    others: int = 0  # faces in the picture beside theirs

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
            chest=self.chest * np.float32(scale),
            chest_middle=self.chest_middle * np.float32(scale) + shift[:2],
        )
