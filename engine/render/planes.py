"""Pictures as a network takes and gives them: planes of float32 on [-1, 1]; training and serving share it."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.render import kernels


def to_planes(rgb: U8Image, out: FloatArray | None = None) -> FloatArray:
    """(..., S, S, 3) uint8 RGB to (..., 3, S, S) float32, [-1, 1]; into `out` where it is given."""
    *batch, height, width, channels = rgb.shape
    planes = np.empty((*batch, channels, height, width), np.float32) if out is None else out
    for index in np.ndindex(*batch):
        kernels.into_planes(np.ascontiguousarray(rgb[index]), planes[index])
    return planes


def to_picture(planes: FloatArray) -> U8Image:
    """(..., 3, S, S) float32, about [-1, 1], to (..., S, S, 3) uint8, rounded and clipped; NaN is black."""
    *batch, channels, height, width = planes.shape
    rgb = np.empty((*batch, height, width, channels), np.uint8)
    for index in np.ndindex(*batch):
        kernels.into_picture(np.ascontiguousarray(planes[index], np.float32), rgb[index])
    return rgb
