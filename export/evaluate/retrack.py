"""Pictures that follow each other, tracked: what a tracker makes of an avatar's output.

A machine without LiteRT has no tracker; whoever asks is told so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.person.landmarks import Landmarks

if TYPE_CHECKING:
    from engine.tracking.face_finder import FaceFinder
    from engine.tracking.tracker import Tracker

MakeTracker = Callable[[], "Tracker | None"]


def every_frame_tracker() -> Tracker | None:
    """Looks at every part of every frame, unfiltered; None where LiteRT is not installed."""
    try:
        from engine.tracking.tracker import EveryFrameTracker
    except ModuleNotFoundError:
        return None
    return EveryFrameTracker()


def face_tracker() -> Tracker | None:
    """Looks at the face alone, which is quick; None where LiteRT is not installed."""
    try:
        from engine.tracking.face_finder import FaceFinder
    except ModuleNotFoundError:
        return None
    return _FaceTracker(FaceFinder())


class _FaceTracker:
    """Landmarks with nothing but a face."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder

    def track(self, rgb: NDArray[np.uint8], time_ns: int) -> Landmarks:
        face = self._finder.find(np.ascontiguousarray(rgb))
        found = Landmarks(rgb.shape[1], rgb.shape[0])
        return found if face is None else replace(found, face=face, face_confidence=1.0)

    def look_less(self, share: float) -> None:
        """It looks for no body and no hands."""

    def reset(self) -> None:
        self._finder.reset()

    def close(self) -> None:
        """It has no threads to end."""


class Retracker:
    """Collects the landmarks of pictures; none at all without a tracker. Opens it with `with`."""

    def __init__(self, make_tracker: MakeTracker) -> None:
        self.landmarks: list[Landmarks] = []
        self._make_tracker = make_tracker
        self._tracker: Tracker | None = None

    def add(self, rgb: NDArray[np.uint8], time_ns: int) -> None:
        """The next picture, (H, W, 3) uint8 RGB."""
        if self._tracker is not None:
            self.landmarks.append(self._tracker.track(rgb, time_ns))

    @property
    def there(self) -> bool:
        """Whether there is a tracker at all."""
        return self._tracker is not None

    @property
    def saw_a_face(self) -> bool:
        """In any picture so far."""
        return any(frame.face_confidence > 0 for frame in self.landmarks)

    def __enter__(self) -> Retracker:
        self._tracker = self._make_tracker()
        return self

    def __exit__(self, *_: object) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
