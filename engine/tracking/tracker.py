"""From a picture to Landmarks: the Tracker contract, and the tracker that looks at every part on every frame.

Live use: engine/tracking/live_tracker.py, which never waits for body or hands.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from engine.arrays import U8Image
from engine.person.landmarks import FACE_POINTS, POSE_POINTS, Landmarks
from engine.tracking.bystanders import Bystanders
from engine.tracking.chest import ChestTracker
from engine.tracking.face_finder import FaceFinder
from engine.tracking.hand_sides import HandSides
from engine.tracking.landmark_filter import LandmarkFilter
from engine.tracking.mediapipe_parts import FaceCounter, HandsPart, PersonMatte, PosePart

__all__ = ["EveryFrameTracker", "PersonMatte", "Tracker"]


class Tracker(Protocol):
    """Finds a person in frames that follow each other. One caller; time only grows between resets."""

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        """rgb: (H, W, 3) uint8 RGB, not mirrored."""

    def look_less(self, share: float) -> None:
        """Body and hands need this share of the usual looks, until told otherwise."""

    def reset(self) -> None:
        """Forget the person: for a cut or another source."""

    def close(self) -> None:
        """End its threads; a second call does nothing."""


class EveryFrameTracker:
    """Face, body and hands on each frame, on three threads; the same frames give the same landmarks."""

    def __init__(self, filtered: bool = False) -> None:
        """filtered: steady the result in time (live and rendering); training wants it raw."""
        self._bystanders = Bystanders(FaceCounter())
        self._face = FaceFinder()
        self._pose = PosePart()
        self._hands = HandsPart()
        self._chest = ChestTracker()
        self._sides = HandSides()
        self._filter = LandmarkFilter() if filtered else None
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="avatarcast-track")

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        """rgb: (H, W, 3) uint8 RGB, not mirrored."""
        rgb = np.ascontiguousarray(rgb)
        alone = self._bystanders.cover(rgb, time_ns)
        body = self._pool.submit(self._pose.find, alone)
        hands_found = self._pool.submit(self._hands.find, alone)
        face = self._face.find(alone)
        pose = body.result()
        if pose is not None and self._bystanders.is_astray(pose):
            self._pose.reset()
            pose = None
        if face is None:
            face = self._face.find_near(alone, pose)
        if face is not None and not self._bystanders.follow(face, time_ns):
            self._face.reset()
            face = None
        chest = self._chest.update(rgb, face)
        hands, hand_confidence = self._sides.assign(hands_found.result(), pose, time_ns)
        found = Landmarks(
            width=rgb.shape[1],
            height=rgb.shape[0],
            face=np.zeros((FACE_POINTS, 3), np.float32) if face is None else face,
            face_confidence=0.0 if face is None else 1.0,
            pose=np.zeros((POSE_POINTS, 3), np.float32) if pose is None else pose.points,
            pose_confidence=np.zeros(POSE_POINTS, np.float32) if pose is None else pose.visibility,
            hands=hands,
            hand_confidence=hand_confidence,
            chest=chest.shift,
            chest_middle=chest.middle,
            chest_shape=chest.shape,
            chest_confidence=chest.confidence,
            person=self._bystanders.person,
            others=self._bystanders.others,
        )
        return self._filter(found, time_ns) if self._filter else found

    def look_less(self, share: float) -> None:
        """Nothing: it looks at every frame."""

    def reset(self) -> None:
        """Forget the person: for a cut or another source."""
        for part in (self._bystanders, self._face, self._pose, self._hands, self._chest):
            part.reset()
        self._sides.reset()
        if self._filter:
            self._filter.reset()

    def close(self) -> None:
        """End the threads; a second call does nothing."""
        self._pool.shutdown()

    def __enter__(self) -> EveryFrameTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
