"""Finds one face, also a small one.

MediaPipe's detector sees the picture at 128 px and misses a distant face, so after a miss the head that the
body model sees is looked at through a window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE
from engine.tracking.hand_sides import PoseFound
from engine.tracking.mediapipe_parts import FacePart

_SIDE_IN_SHOULDERS = 1.5  # window side: the head then fills about a third of it
_MARGIN = 0.08  # of the window; a face nearer to its border asks for a new window


class _Window(NamedTuple):
    x: int  # px
    y: int
    side: int


class FaceFinder:
    """Looks at the whole picture, or through a window that follows a face too small for that."""

    def __init__(self) -> None:
        self._part = FacePart()
        self._window: _Window | None = None

    def find(self, rgb: U8Image) -> FloatArray | None:
        """rgb: (H, W, 3) uint8 -> (478, 3) px, or None: then ask `find_near`, if there is a body."""
        if self._window is None:
            faces = self._part.find(rgb)
            return faces[0] if faces else None
        face = self._through(self._window, rgb)
        self._window = _following(face, self._window, rgb) if face is not None else None
        return face

    def find_near(self, rgb: U8Image, pose: PoseFound | None) -> FloatArray | None:
        """The face at the head of the body, through a window; later calls of `find` keep to it."""
        if (
            pose is None
            or min(pose.visibility[topo.HEAD].mean(), pose.visibility[topo.SHOULDERS].min()) < VISIBLE
        ):
            return None
        left, right = pose.points[topo.SHOULDERS, :2]
        side_px = _SIDE_IN_SHOULDERS * float(np.linalg.norm(left - right))
        window = _around(pose.points[topo.HEAD, :2].mean(0), side_px, rgb)
        face = self._through(window, rgb)
        self._window = window if face is not None else None
        return face

    def _through(self, window: _Window, rgb: U8Image) -> FloatArray | None:
        faces = self._part.find(rgb[window.y : window.y + window.side, window.x : window.x + window.side])
        return faces[0] + np.array([window.x, window.y, 0], np.float32) if faces else None

    def reset(self) -> None:
        """Forget where the face was."""
        self._window = None
        self._part.reset()


def _around(centre: FloatArray, side_px: float, rgb: U8Image) -> _Window:
    """A square about `centre`, moved (and if need be shrunk) to lie within the picture."""
    height, width = rgb.shape[:2]
    side = int(np.clip(side_px, 48, min(height, width)))
    x, y = np.clip(centre - side / 2, 0, [width - side, height - side])
    return _Window(int(x), int(y), side)


def _following(face: FloatArray, window: _Window, rgb: U8Image) -> _Window | None:
    """The same window while the face lies well within it; a new one when it strays; None once it is large."""
    low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
    size = float((high - low).max())
    if size > 0.2 * max(rgb.shape[:2]):
        return None  # large enough for the whole picture
    inset = _MARGIN * window.side
    corner = np.array([window.x, window.y], np.float32)
    if (low < corner + inset).any() or (high > corner + window.side - inset).any():
        return _around((low + high) / 2, 3.0 * size, rgb)
    return window
