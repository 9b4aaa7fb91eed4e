"""Says which of the found hands is the person's left and which the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.landmarks import HAND_POINTS, LEFT, RIGHT

_MEMORY_NS = 300_000_000  # a hand seen this recently still says which side it is
_NEVER_NS = -(1 << 62)
_SAME_HAND = 0.25  # mean distance of two finds of one hand, in hand sizes
_FAR = 3.0  # hand sizes; further away is no less likely
# Real hands had a wrist of visibility 0.87 or more within 1.7 hand sizes; what has none is an ear or a cheek.
_UNSEEN = 0.4  # visibility of a wrist that the body model takes to be hidden or out of the picture
_ASTRAY = 3.0  # hand sizes; room for a body found some frames ago
_LIKELY = (0.02, 0.98)  # no label is surer than this


class PoseFound(NamedTuple):
    """The body as found: points (33, 3) px, visibility (33,) 0..1."""

    points: FloatArray
    visibility: FloatArray


class HandFound(NamedTuple):
    """A hand as found: points (21, 3) px, score 0..1, how likely its label makes it the person's left."""

    points: FloatArray
    score: float
    left_probability: float


def hand_size_px(points: FloatArray) -> float:
    """Wrist to the middle finger's root, in px: a length that a fist does not change."""
    return max(1.0, float(np.linalg.norm(points[9] - points[0])))


class HandSides:
    """Weighs three witnesses: the detector's label, the body's wrists, where each hand was a moment ago."""

    def __init__(self) -> None:
        self._wrists = np.zeros((2, 2), np.float32)  # px
        self._seen_ns = [_NEVER_NS, _NEVER_NS]

    def reset(self) -> None:
        """Forget where the hands were."""
        self._seen_ns = [_NEVER_NS, _NEVER_NS]

    def assign(
        self, found: Sequence[HandFound], pose: PoseFound | None, time_ns: int
    ) -> tuple[FloatArray, FloatArray]:
        """-> hands (2, 21, 3) px, left then right, and their confidence (2,), 0 for a hand not found."""
        hands = np.zeros((2, HAND_POINTS, 3), np.float32)
        confidence = np.zeros(2, np.float32)
        distinct = _distinct([hand for hand in found if not _astray(hand, pose)])
        costs = [[self._cost(hand, side, pose, time_ns) for side in (LEFT, RIGHT)] for hand in distinct]
        if len(distinct) == 2:
            straight, crossed = costs[0][LEFT] + costs[1][RIGHT], costs[0][RIGHT] + costs[1][LEFT]
            sides = [LEFT, RIGHT] if straight <= crossed else [RIGHT, LEFT]
        else:
            sides = [LEFT if left <= right else RIGHT for left, right in costs]
        for hand, side in zip(distinct, sides, strict=True):
            hands[side] = hand.points
            confidence[side] = hand.score
            self._wrists[side] = hand.points[0, :2]
            self._seen_ns[side] = time_ns
        return hands, confidence

    def _cost(self, hand: HandFound, side: int, pose: PoseFound | None, time_ns: int) -> float:
        """How unlikely it is that `hand` is the one on `side`: about a negative log likelihood."""
        likely = hand.left_probability if side == LEFT else 1.0 - hand.left_probability
        cost = -math.log(min(max(likely, _LIKELY[0]), _LIKELY[1]))
        wrist, size_px = hand.points[0, :2], hand_size_px(hand.points)
        if pose is not None:
            away = math.dist(wrist, pose.points[topo.WRISTS[side], :2]) / size_px
            cost += 2.0 * float(pose.visibility[topo.WRISTS[side]]) * min(away, _FAR)
        if time_ns - self._seen_ns[side] <= _MEMORY_NS:
            cost += 2.0 * min(math.dist(wrist, self._wrists[side]) / size_px, _FAR)
        return cost


def _astray(hand: HandFound, pose: PoseFound | None) -> bool:
    """True for a find that the body contradicts: no visible wrist is near it."""
    if pose is None:
        return False
    reach = _ASTRAY * hand_size_px(hand.points)
    return not any(
        pose.visibility[wrist] >= _UNSEEN and math.dist(hand.points[0, :2], pose.points[wrist, :2]) <= reach
        for wrist in topo.WRISTS
    )


def _apart(hand: HandFound, other: HandFound) -> float:
    """Mean distance of their points, in hand sizes."""
    return float(np.abs(hand.points - other.points)[:, :2].mean()) / hand_size_px(other.points)


def _distinct(found: Sequence[HandFound]) -> list[HandFound]:
    """At most two hands, best first, without a second find of the same one."""
    kept: list[HandFound] = []
    for hand in sorted(found, key=lambda h: -h.score):
        if all(_apart(hand, other) > _SAME_HAND for other in kept):
            kept.append(hand)
    return kept[:2]
