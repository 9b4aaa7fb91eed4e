"""Keeps a tracker on the person it began with when others are in the picture.

The finders follow whom they have, but search the whole picture once they lost them, and take who
scores best. So other faces are looked for now and then, what shows the others is covered before any finder
looks, and a face that cannot be the followed one is not taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.tracking.hand_sides import PoseFound

# How often others are looked for: at rest, and where one was seen or the followed one is lost.
_LOOK_NS, _BUSY_LOOK_NS = 500_000_000, 150_000_000
_GONE_NS = 3_000_000_000  # another face not seen for so long is not reckoned with any more
WAIT_NS = 5_000_000_000  # for the followed one to come back, before another is taken
# The same where no other was seen: then it is mostly they, elsewhere in the picture.
_WAIT_ALONE_NS = 1_500_000_000
_LOST_NS = 150_000_000  # without the face for so long, it is searched for
# Where the followed face may be, in face sizes from where it was, at once and after each second without it.
_NEAR, _NEAR_PER_S = 1.0, 3.0
_ALIKE = 1.6  # the larger by the smaller: one face, a moment later
_SAME = 0.6  # sizes: what is found so near to a face that is in sight is that face
_GAP_NS = 2_000_000_000  # a longer one between two frames is a gap of the camera's, or another clock
_COVER = 127  # grey
_APART = 0.6  # of both sizes together: faces that far apart stand side by side


class Place(NamedTuple):
    """Where a face is in the picture, px."""

    x: float  # of its middle
    y: float
    size: float  # the larger side of its box

    def away(self, other: Place) -> float:
        """Distance of the middles, in sizes of the smaller one."""
        return float(np.hypot(self.x - other.x, self.y - other.y)) / max(min(self.size, other.size), 1.0)

    def like(self, other: Place) -> bool:
        """About as large."""
        return max(self.size, other.size) <= _ALIKE * min(self.size, other.size)


def place_of(face: FloatArray) -> Place:
    """face: (478, 3) px."""
    low, high = face[topo.FACE_OVAL, :2].min(axis=0), face[topo.FACE_OVAL, :2].max(axis=0)
    x, y = (low + high) / 2
    return Place(float(x), float(y), float((high - low).max()))


class Counter(Protocol):
    """engine.tracking.mediapipe_parts.FaceCounter."""

    def find(self, rgb: U8Image) -> FloatArray: ...


class Bystanders:
    """Use for each frame: cover() it, find in what that gives, then ask follow() about the face."""

    def __init__(self, counter: Counter) -> None:
        """counter: finds all faces, of the followed one too."""
        self.person = 0  # counts those who were followed one after the other
        self._counter = counter
        self.reset()

    def reset(self) -> None:
        """Forget everybody: the next one is whoever is nearest to the camera."""
        self._followed: Place | None = None
        self._seen_ns = 0  # when the followed one was seen last
        self._others: list[Place] = []
        self._others_ns = 0  # when any of them was seen last
        self._looked_ns: int | None = None
        self._time_ns = 0  # of the last frame

    @property
    def others(self) -> int:
        """Faces beside the followed one."""
        return len(self._others)

    def cover(self, rgb: U8Image, time_ns: int) -> U8Image:
        """The picture (H, W, 3) without the others; the same array where there are none.

        A stream may begin anew, at any time: what lies between two frames is not time without the person.
        """
        if not 0 <= time_ns - self._time_ns <= _GAP_NS:
            self._restart(time_ns)
        self._time_ns = time_ns
        self._look(rgb, time_ns)
        if self._followed is None or not self._others:
            return rgb
        return _covered(rgb, self._followed, self._others)

    def follow(self, face: FloatArray, time_ns: int) -> bool:
        """Takes in what was found, (478, 3) px; False: it is someone else, whom the finder is to drop."""
        place = place_of(face)
        if self._followed is not None and not self._is_followed(place, time_ns):
            if not self._others:
                return False
            if time_ns - self._seen_ns < WAIT_NS:
                self._others.append(place)  # so that it is covered from the next frame on
                return False
            self._others = [other for other in self._others if other.away(place) > _NEAR]
            self.person += 1
        self._followed, self._seen_ns = place, time_ns
        return True

    def is_astray(self, pose: PoseFound) -> bool:
        """The body is that of another one."""
        if self._followed is None or not self._others:
            return False
        x, y = pose.points[topo.HEAD, :2].mean(axis=0)
        return Place(float(x), float(y), self._followed.size).away(self._followed) > _NEAR

    def _restart(self, time_ns: int) -> None:
        """Time begins anew here, with the same people: how long they were not seen is not known."""
        if not self._others:
            self.reset()
        self._seen_ns = self._others_ns = time_ns
        self._looked_ns = None

    def _is_followed(self, place: Place, time_ns: int) -> bool:
        assert self._followed is not None
        if self._others:
            nearest = min(place.away(other) for other in self._others)
            return place.away(self._followed) <= min(_NEAR, nearest) and place.like(self._followed)
        missed_ns = time_ns - self._seen_ns
        if missed_ns >= _WAIT_ALONE_NS:
            return True
        near = _NEAR + _NEAR_PER_S * missed_ns * 1e-9
        return place.away(self._followed) <= near and place.like(self._followed)

    def _look(self, rgb: U8Image, time_ns: int) -> None:
        """Counts the faces when that is due."""
        is_lost = self._followed is not None and time_ns - self._seen_ns > _LOST_NS
        wait_ns = _BUSY_LOOK_NS if self._others or is_lost else _LOOK_NS
        if self._looked_ns is not None and time_ns - self._looked_ns < wait_ns:
            return
        self._looked_ns = time_ns
        places = [
            Place(float(x + width / 2), float(y + height / 2), float(max(width, height)))
            for x, y, width, height, _ in self._counter.find(rgb)
        ]
        if self._followed is None:
            if len(places) > 1:
                places.sort(key=lambda place: place.size)
                self._followed, self._seen_ns = places.pop(), time_ns
                self._others, self._others_ns = places, time_ns
            return
        own = self._own(places, time_ns)
        others = [place for place in places if place is not own]
        if own is None and others and time_ns - self._seen_ns >= WAIT_NS:
            own = max(others, key=lambda place: place.size)
            others.remove(own)
            self._followed, self._seen_ns = own, time_ns
            self._others = others
            self.person += 1
        if own is None and not self._others:
            return  # it may be the followed one, who has moved
        if others or time_ns - self._others_ns >= _GONE_NS:
            self._others, self._others_ns = others, time_ns

    def _own(self, places: Sequence[Place], time_ns: int) -> Place | None:
        """Which of them is the followed one."""
        assert self._followed is not None
        is_seen = time_ns - self._seen_ns <= _LOST_NS
        near = [
            place
            for place in places
            if self._is_followed(place, time_ns) or (is_seen and place.away(self._followed) < _SAME)
        ]
        return min(near, key=self._followed.away, default=None)


def _covered(rgb: U8Image, followed: Place, others: Sequence[Place]) -> U8Image:
    """A copy of rgb (H, W, 3) in which the others are grey.

    Of one beside the followed person all is covered that lies beyond the line between both; of one behind or
    below them the face alone.
    """
    covered = rgb.copy()
    height, width = rgb.shape[:2]
    for other in others:
        both = other.size + followed.size
        if abs(other.x - followed.x) > _APART * both:
            line = max(round(followed.x + (other.x - followed.x) * followed.size / both), 0)
            beyond = slice(line, width) if other.x > followed.x else slice(0, line)
            covered[:, beyond] = _COVER
            continue
        top, bottom, left, right = _box(other, 0.7, height, width)
        covered[top:bottom, left:right] = _COVER
        top, bottom, left, right = _box(followed, 0.7, height, width)
        covered[top:bottom, left:right] = rgb[top:bottom, left:right]
    return covered


def _box(place: Place, reach: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right px of the square within reach (in sizes) of the middle, inside the picture."""
    x, y, away = place.x, place.y, reach * place.size
    top, bottom = np.clip([y - away, y + away], 0, height).astype(int)
    left, right = np.clip([x - away, x + away], 0, width).astype(int)
    return int(top), int(bottom), int(left), int(right)
