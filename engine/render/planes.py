"""Pictures as a network takes and gives them: planes of float32 on [-1, 1]; training and serving share it."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray, U8Image


def to_planes(rgb: U8Image, out: FloatArray | None = None) -> FloatArray:
    """(..., S, S, 3) uint8 RGB to (..., 3, S, S) float32, [-1, 1]; into `out` where it is given."""
    planes = np.multiply(np.moveaxis(rgb, -1, -3), np.float32(1 / 127.5), out=out, order="C")
    planes -= np.float32(1)
    return planes


def to_picture(planes: FloatArray) -> U8Image:
    """(..., 3, S, S) float32, about [-1, 1], to (..., S, S, 3) uint8, rounded and clipped; NaN is black."""
    with np.errstate(over="ignore"):  # of a network from elsewhere; infinity is clipped too
        values = np.moveaxis(planes, -3, -1) * np.float32(127.5) + np.float32(128)
    values = np.fmin(np.fmax(values, np.float32(0)), np.float32(255))  # unlike clip, these leave no NaN
    return np.ascontiguousarray(values, np.uint8)
