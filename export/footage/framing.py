"""Chooses the square of the footage that becomes the avatar's canvas, and cuts it out.

Works on tracked landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.errors import FootageError, SettingsError
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks

MODES = ("auto", "head", "upper", "full")

_NEARLY_SQUARE = 1.15  # long side by short side
_FILLED = 0.2  # face width by frame side from which a square frame needs no cropping
_HANDS_SHARE = 0.2  # of the frames; hands seen less often do not earn a wider view
_RARE = 3.0  # percent of the frames at either end whose extremes may leave the square
_HAIR = 0.4  # of the face's height above the mesh: it ends at the forehead
_MARGIN = 0.04  # of the side around what must be seen
_MIN_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class Framing:
    """A square of the source picture, px. Where it reaches beyond, the picture's edge is continued."""

    x: int
    y: int
    side: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.side}"


def parse_framing(text: str) -> str | Framing:
    """A mode of `MODES`, or a square given as `x,y,side` in source px. Raises SettingsError."""
    if text in MODES:
        return text
    numbers = text.split(",")
    try:
        framing = Framing(*(int(number) for number in numbers))
    except (TypeError, ValueError):
        choices = "|".join(MODES)
        raise SettingsError(
            f"framing '{text}': give {choices}, or x,y,side in pixels such as 40,420,1000"
        ) from None
    if framing.side < _MIN_SIDE_PX:
        raise SettingsError(
            f"framing '{text}': side {framing.side} px is below {_MIN_SIDE_PX}; choose a larger square"
        )
    return framing


def choose_framing(landmarks: Sequence[Landmarks], mode: str | Framing = "auto") -> Framing:
    """The square for the frames of one clip. FootageError without any face, SettingsError for a bad mode.

    auto: the whole frame if it is nearly square and the person fills it; else the upper body if hands are
    often seen; else head and shoulders.
    """
    if isinstance(mode, Framing):
        return _checked(mode, landmarks)
    if mode not in MODES:
        raise SettingsError(f"framing '{mode}': give one of {', '.join(MODES)}, or x,y,side in pixels")
    seen = [frame for frame in landmarks if frame.face_confidence >= VISIBLE]
    if not seen:
        raise FootageError(
            f"no face in any of {len(landmarks)} frames: film yourself facing the camera in good light"
        )
    width, height = seen[0].width, seen[0].height
    faces = np.stack([frame.face[:, :2] for frame in seen])
    face_width = float(np.median(np.ptp(faces[..., 0], axis=1)))
    if mode == "auto":
        square = max(width, height) <= _NEARLY_SQUARE * min(width, height)
        if square and face_width >= _FILLED * min(width, height):
            mode = "full"
        else:
            mode = "upper" if _hands_share(seen) > _HANDS_SHARE else "head"
    if mode == "full":
        side = min(width, height)
        centre = np.median(faces.mean(axis=1), axis=0)
        return _inside(float(centre[0]) - side / 2, float(centre[1]) - side / 2, side, width, height)
    low, high = _extent([_head_box(face) for face in faces], width, height)
    parts = [
        frame.pose[topo.SHOULDERS, :2][frame.pose_confidence[topo.SHOULDERS] >= VISIBLE] for frame in seen
    ]
    if mode == "upper":
        parts += [
            frame.hands[side, :, :2]
            for frame in seen
            for side in (0, 1)
            if frame.hand_confidence[side] >= VISIBLE
        ]
    boxes = [np.stack([part.min(axis=0), part.max(axis=0)]) for part in parts if len(part)]
    if boxes:
        part_low, part_high = _extent(boxes, width, height)
        low, high = np.minimum(low, part_low), np.maximum(high, part_high)
    side = int(np.ceil(float((high - low).max()) * (1 + 2 * _MARGIN)))
    side = min(max(side, round(2.0 * face_width), _MIN_SIDE_PX), width, height)
    # What does not fit is lost below: the head is what must not be cut.
    above = min(_MARGIN * side, max(0.0, float(side - (high[1] - low[1])) / 2))
    return _inside(float(low[0] + high[0] - side) / 2, float(low[1]) - above, side, width, height)


def crop_resize(rgb: U8Image, framing: Framing, size: int) -> U8Image:
    """rgb: (H, W, 3) uint8 -> the square as (size, size, 3) uint8."""
    height, width = rgb.shape[:2]
    left, top = max(0, -framing.x), max(0, -framing.y)
    right, bottom = max(0, framing.x + framing.side - width), max(0, framing.y + framing.side - height)
    if left or top or right or bottom:
        rgb = np.asarray(cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)
    x, y = framing.x + left, framing.y + top
    square = rgb[y : y + framing.side, x : x + framing.side]
    how = cv2.INTER_AREA if framing.side > size else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(square, (size, size), interpolation=how), np.uint8)


def to_canvas(landmarks: Landmarks, framing: Framing, size: int) -> Landmarks:
    """Landmarks of the source picture -> of the canvas that `crop_resize` cuts."""
    scale = size / framing.side
    return landmarks.transformed(scale, -framing.x * scale, -framing.y * scale, size, size)


def _hands_share(frames: Sequence[Landmarks]) -> float:
    return float(np.mean([bool((frame.hand_confidence >= VISIBLE).any()) for frame in frames]))


def _head_box(face: FloatArray) -> FloatArray:
    """The head with its hair: (2, 2) low and high corner, px."""
    low, high = face.min(axis=0), face.max(axis=0)
    low[1] -= _HAIR * (high[1] - low[1])
    return np.stack([low, high])


def _extent(boxes: Sequence[FloatArray], width: int, height: int) -> tuple[FloatArray, FloatArray]:
    """The corners that hold nearly all boxes, within the picture."""
    low, high = np.stack(boxes).transpose(1, 0, 2)
    limit = np.array([width, height], np.float32)
    return (
        np.clip(np.percentile(low, _RARE, axis=0), 0, limit).astype(np.float32),
        np.clip(np.percentile(high, 100 - _RARE, axis=0), 0, limit).astype(np.float32),
    )


def _inside(x: float, y: float, side: int, width: int, height: int) -> Framing:
    """The square moved to lie within the picture."""
    return Framing(round(min(max(x, 0.0), width - side)), round(min(max(y, 0.0), height - side)), side)


def _checked(framing: Framing, landmarks: Sequence[Landmarks]) -> Framing:
    """A square given by hand must at least touch the picture."""
    for frame in landmarks[:1]:
        outside = framing.x >= frame.width or framing.y >= frame.height
        if outside or framing.x + framing.side <= 0 or framing.y + framing.side <= 0:
            size = f"{frame.width}x{frame.height}"
            raise SettingsError(
                f"framing {framing}: lies outside the {size} picture; choose a square within it"
            )
    return framing
