"""Frames whose size changes on the way: a phone that is turned, a sender that saves bits, another camera."""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import U8Image


def sized_alike(rgb: U8Image, width: int, height: int) -> U8Image:
    """The frame (H, W, 3) as (height, width, 3), middle and diagonal alike.

    A phone that is turned keeps its lens, a sender that saves bits its view. The same array where it is so.
    """
    if (rgb.shape[1], rgb.shape[0]) == (width, height):
        return rgb
    rows, columns = rgb.shape[:2]
    scale = np.hypot(width, height) / np.hypot(columns, rows)
    corner = [(width - scale * columns) / 2, (height - scale * rows) / 2]
    moved = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    return np.asarray(cv2.warpAffine(rgb, moved, (width, height)), np.uint8)
