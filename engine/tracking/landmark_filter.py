"""Steadies the landmarks of a whole person in time: still when still, quick when moving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.person.landmarks import Landmarks
from engine.tracking.hand_sides import hand_size_px
from engine.tracking.one_euro import OneEuroFilter

_TYPICAL_FACE = 0.12  # of the picture's width, when there is no face to measure


class LandmarkFilter:
    """One-Euro filters for all parts. Speeds count in face or hand sizes, so resolution does not matter.

    A part that comes back after it was lost starts afresh: it does not sweep in from where it vanished.
    """

    def __init__(self) -> None:
        # Tuned on a still picture with camera noise (jitter) and on fast head turns (lag).
        self._face = OneEuroFilter(min_cutoff_hz=1.0, beta=30.0, derivative_cutoff_hz=3.0)
        self._pose = OneEuroFilter(min_cutoff_hz=0.8, beta=12.0, derivative_cutoff_hz=2.0)
        self._chest = OneEuroFilter(min_cutoff_hz=1.0, beta=20.0, derivative_cutoff_hz=3.0)
        self._hands = [
            OneEuroFilter(min_cutoff_hz=1.5, beta=12.0, derivative_cutoff_hz=3.0) for _ in range(2)
        ]

    def reset(self) -> None:
        """Forget the past."""
        for part in (self._face, self._pose, self._chest, *self._hands):
            part.reset()

    def __call__(self, raw: Landmarks, time_ns: int) -> Landmarks:
        """The same landmarks, steadied; confidences are passed on."""
        face, pose, hands = raw.face, raw.pose, raw.hands.copy()
        face_px = _TYPICAL_FACE * raw.width
        if raw.face_confidence > 0:
            face_px = max(1.0, float(np.ptp(face[:, 0])))
            face = self._face(face, time_ns, face_px)
        else:
            self._face.reset()
        if raw.pose_confidence.any():
            pose = self._pose(pose, time_ns, face_px)
        else:
            self._pose.reset()
        for side, smooth in enumerate(self._hands):
            if raw.hand_confidence[side] > 0:
                hands[side] = smooth(hands[side], time_ns, hand_size_px(hands[side]))
            else:
                smooth.reset()
        # The shape counts as the px by which it moves what is an ordinary face's width away.
        reach = np.float32(_TYPICAL_FACE * raw.width)
        chest = np.concatenate([raw.chest[None], raw.chest_shape * reach])
        chest = self._chest(chest, time_ns, face_px)
        shape = chest[1:] / reach
        return replace(raw, face=face, pose=pose, hands=hands, chest=chest[0], chest_shape=shape)
