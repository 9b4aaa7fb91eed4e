"""Rotated squares of a picture: what MediaPipe's networks look at, and the way back to its pixels."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image


class Region(NamedTuple):
    """A square about (x, y), px, turned by `angle` radians, clockwise as seen."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def cut_out(self, rgb: U8Image, size: int, black_around: bool = False) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (1, size, size, 3) float32, 0..1.

        black_around: what lies outside the picture is black, else its border is repeated.
        """
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        step, half = self.side / size, self.side / 2
        to_picture = np.array(
            [
                [cos * step, -sin * step, self.x - (cos - sin) * half],
                [sin * step, cos * step, self.y - (sin + cos) * half],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_CONSTANT if black_around else cv2.BORDER_REPLICATE
        square = cv2.warpAffine(rgb, to_picture, (size, size), flags=flags, borderMode=border)
        return np.asarray(square[None] * np.float32(1 / 255), np.float32)

    def to_picture(self, points: FloatArray) -> FloatArray:
        """points: (N, 2) or (N, 3), 0..1 of the square -> px of the picture; z has the scale of x."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
        placed: FloatArray = np.array(points, np.float32) * np.float32(self.side)
        placed[:, 0] = (cos * x - sin * y) * self.side + self.x
        placed[:, 1] = (sin * x + cos * y) * self.side + self.y
        return placed

    def shares(self, other: Region) -> float:
        """Intersection over union of the two squares, their turn left out."""
        reach = (self.side + other.side) / 2
        across = max(0.0, min(reach - abs(self.x - other.x), self.side, other.side))
        down = max(0.0, min(reach - abs(self.y - other.y), self.side, other.side))
        both = across * down
        return both / max(self.side**2 + other.side**2 - both, 1e-6)


def whole(rgb: U8Image) -> Region:
    """The square about the whole picture."""
    height, width = rgb.shape[:2]
    return Region(width / 2, height / 2, max(width, height))


def turn(start: FloatArray, end: FloatArray, upright: float) -> float:
    """How far the way from start to end, px, is turned from `upright`.

    Radians, clockwise as seen; `upright` itself counts counter-clockwise from the right.
    """
    angle = upright - math.atan2(float(start[1] - end[1]), float(end[0] - start[0]))
    return angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))


def around_points(points: FloatArray, angle: float) -> tuple[FloatArray, FloatArray]:
    """points: (N, 2) px -> middle (2,) and size (2,) of the box about them that is turned by `angle`."""
    cos, sin = math.cos(angle), math.sin(angle)
    axes = np.array([[cos, sin], [-sin, cos]], np.float32)
    turned = points @ axes.T
    low, high = turned.min(0), turned.max(0)
    return (low + high) / 2 @ axes, high - low


def about(middle: FloatArray, size: FloatArray, angle: float, scale: float, down: float = 0.0) -> Region:
    """The square `scale` times the longer side, moved along its own y by `down` times the box's height."""
    shift = down * float(size[1])
    x = float(middle[0]) - shift * math.sin(angle)
    y = float(middle[1]) + shift * math.cos(angle)
    return Region(x, y, float(max(size)) * scale, angle)
