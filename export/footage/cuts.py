"""Finds the cuts in a clip: frames that do not follow from the one before.

Works on how much the picture and the face change from frame to frame.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import Landmarks

_THUMBNAIL_PX = 48
# Mean change of a thumbnail (0..255) between frames. Gesturing people stay below 6.5, and a fast movement is
# fast in the neighbouring frames too; clips of converted frame rate skip a frame here and there (2.9 times
# the neighbours at 8 levels). Jump cuts within one take measured 6.9 to 11.6, 3.4 to 16 times the neighbours.
_CHANGE, _CHANGE_RATIO = 6.5, 3.1
_LARGE_CHANGE, _LARGE_RATIO = 10.0, 2.2  # with a blended frame at the cut
_NEW_SCENE = 30.0  # no movement changes this much
_STILL = 0.5  # levels; neighbours count as at least this
# A jump of the face, in face widths, and against its neighbours: cuts that hardly change the picture.
_JUMP, _JUMP_RATIO, _JUMP_STILL = 0.08, 8.0, 0.004


def thumbnail(rgb: U8Image) -> FloatArray:
    """rgb: (H, W, 3) uint8 -> a small picture, 0..255, whose changes tell movement from cuts."""
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32)


def face_jumps(landmarks: list[Landmarks]) -> FloatArray:
    """(N,) how far the face moved since the frame before, in face widths; 0 where either frame has none."""
    jumps = np.zeros(len(landmarks), np.float32)
    for index, (before, after) in enumerate(pairwise(landmarks), 1):
        if before.face_confidence > 0 and after.face_confidence > 0:
            width = max(1.0, float(np.ptp(before.face[:, 0])))
            jumps[index] = np.abs(after.face - before.face)[:, :2].mean() / width
    return jumps


def find_cuts(changes: FloatArray, jumps: FloatArray) -> list[int]:
    """Frames that begin a new shot. changes: (N,) levels since the frame before; jumps: of `face_jumps`."""
    change_ratio = changes / _around(changes, _STILL)
    jump_ratio = jumps / _around(jumps, _JUMP_STILL)
    cut = (changes > _CHANGE) & (change_ratio > _CHANGE_RATIO)
    cut |= (changes > _LARGE_CHANGE) & (change_ratio > _LARGE_RATIO)
    cut |= changes > _NEW_SCENE
    cut |= (jumps > _JUMP) & (jump_ratio > _JUMP_RATIO)
    return [int(index) for index in np.flatnonzero(cut) if index > 0]


class CutWatch:
    """Says of the last frame but one whether it begins a shot, by the pictures alone, as they come."""

    def __init__(self) -> None:
        self.change = 0.0  # of the last frame but one since the one before it, as `find_cuts` takes it
        self.cut = False
        self._before: FloatArray | None = None
        self._changes = [0.0] * 4  # of the last four frames

    def next(self, small: FloatArray) -> None:
        """The next frame. small: of `thumbnail`."""
        self._push(0.0 if self._before is None else float(np.abs(small - self._before).mean()))
        self._before = small

    def end(self) -> None:
        """There is no next frame: the last one can be told of."""
        self._push(0.0)

    def _push(self, change: float) -> None:
        self._changes = [*self._changes[1:], change]
        self.change = self._changes[2]
        self.cut = 2 in find_cuts(np.array(self._changes, np.float32), np.zeros(4, np.float32))


def _around(values: FloatArray, least: float) -> FloatArray:
    """The larger of both neighbours, at least `least`."""
    padded = np.concatenate([[0.0], values, [0.0]])
    padded[1] = 0.0  # the first frame has no change
    return np.maximum(np.maximum(padded[:-2], padded[2:]), least).astype(np.float32)
