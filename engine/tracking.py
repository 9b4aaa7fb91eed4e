"""From a picture to Landmarks: the Tracker contract, and the tracker that looks at every part on every frame.

Knows nothing of sources or display. For live use see engine/live_tracker.py, which never waits for body or hands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.landmarks import FACE_POINTS, HAND_POINTS, LEFT, POSE_POINTS, RIGHT, Landmarks
from engine.mediapipe_parts import FacePart, HandFound, HandsPart, PersonMatte, PoseFound, PosePart, limited
from engine.one_euro import OneEuroFilter

__all__ = ["EveryFrameTracker", "HandSides", "LandmarkFilter", "PersonMatte", "Tracker"]

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

_LEFT_WRIST, _RIGHT_WRIST = 15, 16  # pose points
_MEMORY_NS = 300_000_000  # a hand seen this recently still says which side it is


class Tracker(Protocol):
    """Finds a person in frames that follow each other. One caller; time only ever grows between resets."""

    def track(self, rgb: Image, time_ns: int) -> Landmarks:
        """rgb: (H, W, 3) uint8 RGB, not mirrored."""

    def reset(self) -> None:
        """Forget the person: for a cut or another source."""

    def close(self) -> None:
        """Release models and threads; a second call does nothing."""


class HandSides:
    """Says which found hand is the person's left and which the right, from three witnesses:
    MediaPipe's label, the body's wrists, and where each hand was a moment ago."""

    def __init__(self) -> None:
        self._wrists = np.zeros((2, 2), np.float32)  # px
        self._seen_ns = [-_MEMORY_NS - 1] * 2

    def reset(self) -> None:
        """Forget where the hands were."""
        self._seen_ns = [-_MEMORY_NS - 1] * 2

    def assign(
        self, found: Sequence[HandFound], pose: PoseFound | None, time_ns: int
    ) -> tuple[FloatArray, FloatArray]:
        """-> hands (2, 21, 3) px, left then right, and their confidence (2,); a missing hand has confidence 0."""
        hands = np.zeros((2, HAND_POINTS, 3), np.float32)
        confidence = np.zeros(2, np.float32)
        distinct = _distinct(found)
        costs = [[self._cost(hand, side, pose, time_ns) for side in (LEFT, RIGHT)] for hand in distinct]
        sides: tuple[int, ...] = ()
        if len(distinct) == 2:
            straight, crossed = costs[0][LEFT] + costs[1][RIGHT], costs[0][RIGHT] + costs[1][LEFT]
            sides = (LEFT, RIGHT) if straight <= crossed else (RIGHT, LEFT)
        elif distinct:
            sides = (LEFT if costs[0][LEFT] <= costs[0][RIGHT] else RIGHT,)
        for hand, side in zip(distinct, sides):
            hands[side] = hand.points
            confidence[side] = hand.score
            self._wrists[side] = hand.points[0, :2]
            self._seen_ns[side] = time_ns
        return hands, confidence

    def _cost(self, hand: HandFound, side: int, pose: PoseFound | None, time_ns: int) -> float:
        """How unlikely it is that `hand` is the one on `side` (a negative log likelihood, about)."""
        likely = hand.left_probability if side == LEFT else 1.0 - hand.left_probability
        cost = -math.log(min(max(likely, 0.02), 0.98))
        size_px = hand_size_px(hand.points)
        if pose is not None:
            wrist = _LEFT_WRIST if side == LEFT else _RIGHT_WRIST
            away = math.dist(hand.points[0, :2], pose.points[wrist, :2]) / size_px
            cost += 2.0 * float(pose.visibility[wrist]) * min(away, 3.0)
        if time_ns - self._seen_ns[side] <= _MEMORY_NS:
            cost += 2.0 * min(math.dist(hand.points[0, :2], self._wrists[side]) / size_px, 3.0)
        return cost


def hand_size_px(points: FloatArray) -> float:
    """Wrist to the middle finger's root, in px: a length that a fist does not change."""
    return max(1.0, float(np.linalg.norm(points[9] - points[0])))


def _distinct(found: Sequence[HandFound]) -> list[HandFound]:
    """At most two hands, best first, without a second find of the same hand."""
    kept: list[HandFound] = []
    for hand in sorted(found, key=lambda h: -h.score):
        near = (np.abs(hand.points[:, :2] - other.points[:, :2]).mean() / hand_size_px(other.points) for other in kept)
        if all(distance > 0.25 for distance in near):
            kept.append(hand)
    return kept[:2]


class LandmarkFilter:
    """One-Euro filters for all parts. Speeds are measured in face widths (or hand sizes), so resolution is no matter.

    A part that comes back after it was lost starts afresh: it does not sweep in from where it vanished.
    """

    def __init__(self) -> None:
        self._face = OneEuroFilter(min_cutoff_hz=1.0, beta=30.0, derivative_cutoff_hz=3.0)
        self._pose = OneEuroFilter(min_cutoff_hz=0.8, beta=12.0, derivative_cutoff_hz=2.0)
        self._hands = tuple(OneEuroFilter(min_cutoff_hz=1.5, beta=12.0, derivative_cutoff_hz=3.0) for _ in range(2))

    def reset(self) -> None:
        """Forget the past."""
        for part in (self._face, self._pose, *self._hands):
            part.reset()

    def __call__(self, raw: Landmarks, time_ns: int) -> Landmarks:
        """The same landmarks, steadied; confidences are passed on."""
        face, pose, hands = raw.face, raw.pose, raw.hands.copy()
        face_px = max(1.0, float(np.ptp(face[:, 0]))) if raw.face_confidence > 0 else 0.12 * raw.width
        if raw.face_confidence > 0:
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
        return Landmarks(
            raw.width, raw.height, face, raw.face_confidence, pose, raw.pose_confidence, hands, raw.hand_confidence
        )


class EveryFrameTracker:
    """Face, body and hands on each frame, side by side on three threads; the same frames give the same landmarks."""

    def __init__(self, filtered: bool = False, max_side_px: int = 0) -> None:
        """filtered: steady the result in time. max_side_px: shrink larger pictures for the models (0: never)."""
        self._max_side_px = max_side_px
        self._face = FacePart()
        self._pose = PosePart()
        self._hands = HandsPart()
        self._sides = HandSides()
        self._filter = LandmarkFilter() if filtered else None
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="avatarcast-track")

    def track(self, rgb: Image, time_ns: int) -> Landmarks:
        """rgb: (H, W, 3) uint8 RGB, not mirrored."""
        height, width = rgb.shape[:2]
        small = limited(rgb, self._max_side_px)
        body = self._pool.submit(self._pose.find, small, width, height)
        palms = self._pool.submit(self._hands.find, small, width, height)
        faces = self._face.find(small, width, height)
        pose = body.result()
        hands, hand_confidence = self._sides.assign(palms.result(), pose, time_ns)
        found = Landmarks(
            width,
            height,
            faces[0] if faces else np.zeros((FACE_POINTS, 3), np.float32),
            1.0 if faces else 0.0,
            pose.points if pose else np.zeros((POSE_POINTS, 3), np.float32),
            pose.visibility if pose else np.zeros(POSE_POINTS, np.float32),
            hands,
            hand_confidence,
        )
        return self._filter(found, time_ns) if self._filter else found

    def reset(self) -> None:
        """Forget the person: for a cut or another source."""
        for part in (self._face, self._pose, self._hands):
            part.reset()
        self._sides.reset()
        if self._filter:
            self._filter.reset()

    def close(self) -> None:
        """Release models and threads; a second call does nothing."""
        self._pool.shutdown()
        for part in (self._face, self._pose, self._hands):
            part.close()

    def __enter__(self) -> EveryFrameTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
