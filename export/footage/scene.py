"""The room that the footage shows around the canvas, without the person where they move."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.render.frame import MAX_PX
from engine.render.scene import Scene
from export.footage.framing import Framing

FRAMES = 24  # enough for a median
_ROWS = 64  # that are worked on at a time
_PERSON_GONE = 25  # matte below which a pixel surely shows background
_LEAST_SEEN = 3  # frames that must show a pixel before their median is believed
_GROWN = 1 / 28  # of the canvas: how far around the matte the person may still be


class SceneLearner:
    """Use: add() some frames of one clip, then scene(). Holds up to 6 MB of each.

    What the room shows below the canvas is left out: the person would end there.
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._rooms: list[Scene] = []
        self._shown: list[NDArray[np.bool_]] = []

    def add(self, rgb: U8Image, matte: U8Image) -> None:
        """rgb: (H, W, 3) uint8, a frame of the clip; matte: (S, S) uint8 of its canvas, 255 is the person."""
        room = room_of(rgb, self._framing)
        if room is None:
            return
        reach = max(3, round(room.side * _GROWN)) | 1
        grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        person = np.zeros(room.rgb.shape[:2], np.uint8)
        person[room.top :, room.left : room.left + room.side] = cv2.dilate(
            cv2.resize(matte, (room.side, room.side)), grow
        )
        self._rooms.append(room)
        self._shown.append(person < _PERSON_GONE)

    def scene(self) -> Scene | None:
        """The median of what the frames show past the person; None where the canvas is all there is."""
        if not self._rooms:
            return None
        rgb, seen = _median_where(np.stack([room.rgb for room in self._rooms]), np.stack(self._shown))
        filled = cv2.inpaint(rgb, (seen < _LEAST_SEEN).astype(np.uint8), 5, cv2.INPAINT_TELEA)
        return replace(self._rooms[0], rgb=np.asarray(filled, np.uint8))


def room_of(rgb: U8Image, framing: Framing) -> Scene | None:
    """The frame down to the canvas's last row, MAX_PX a side at most.

    None where the canvas is all of that, or reaches beyond the picture.
    """
    height, width = rgb.shape[:2]
    right, bottom = framing.x + framing.side, framing.y + framing.side
    if framing.x < 0 or framing.y < 0 or right > width or bottom > height:
        return None
    if (width, bottom) == (framing.side, framing.side):
        return None
    scale = min(1.0, MAX_PX / max(width, bottom))
    side = round(framing.side * scale)
    room_w, room_h = max(side, round(width * scale)), max(side, round(bottom * scale))
    room = cv2.resize(rgb[:bottom], (room_w, room_h), interpolation=cv2.INTER_AREA)
    return Scene(
        np.asarray(room, np.uint8), min(round(framing.x * scale), room_w - side), room_h - side, side
    )


def _median_where(pictures: U8Image, shown: NDArray[np.bool_]) -> tuple[U8Image, NDArray[np.int64]]:
    """(H, W, 3) the median of those of the N pictures where `shown`, (N, H, W); and how many those are."""
    seen = shown.sum(axis=0)
    rgb = np.empty(pictures.shape[1:], np.uint8)
    for row in range(0, len(rgb), _ROWS):
        rows = slice(row, row + _ROWS)
        ordered = np.sort(np.where(shown[:, rows, :, None], pictures[:, rows], np.uint8(255)), axis=0)
        middle = np.maximum(seen[rows] - 1, 0) // 2
        rgb[rows] = np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]
    return rgb, seen
