"""How different two pictures look to somebody who flips between them (FLIP, for standard range).

P. Andersson, J. Nilsson, T. Akenine-Möller, M. Oskarsson, K. Åström, M. D. Fairchild: FLIP: A Difference
Evaluator for Alternating Images, HPG 2020. Written from the paper: the authors' own package has no wheels for
half of our platforms, and takes ten times as long. `tests/export/evaluate/test_flip.py` compares the two.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image

PIXELS_PER_DEGREE = (
    67.02  # a monitor 0.7 m wide with 3840 px, seen from 0.7 m: what the authors take as usual
)

# Contrast sensitivity by opponent channel: amplitude and width (degrees squared) of one or two Gaussians.
_SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
_WIDEST = 0.04
_FEATURE_DEG = 0.082  # width of an edge or a point that is noticed
_COLOUR_POWER, _FEATURE_POWER = 0.7, 0.5
_KNEE, _ERROR_AT_KNEE = (
    0.4,
    0.95,
)  # as a share of the largest colour difference; beyond it errors are squeezed
_LINEAR = np.where(
    (_GREY := np.arange(256) / 255) <= 0.04045, _GREY / 12.92, ((_GREY + 0.055) / 1.055) ** 2.4
).astype(np.float32)  # sRGB without its curve
_XYZ_OF_RGB = np.array(
    [[0.4123866, 0.3575915, 0.1804505], [0.2126368, 0.7151830, 0.0721802], [0.0193306, 0.1191972, 0.9503726]],
    np.float32,
)
_WHITE = _XYZ_OF_RGB.sum(axis=1)


def flip_error(picture: U8Image, truth: U8Image) -> FloatArray:
    """(H, W) float32 by pixel, from 0, alike, to 1. picture, truth: (H, W, 3) uint8 RGB."""
    opponent, true_opponent = (_opponent(_LINEAR[rgb]) for rgb in (picture, truth))
    colour = _distance(_seen(opponent), _seen(true_opponent)) ** _COLOUR_POWER
    knee = np.float32(_KNEE) * _largest_colour()
    squeezed = _ERROR_AT_KNEE + (colour - knee) / (_largest_colour() - knee) * (1 - _ERROR_AT_KNEE)
    colour = np.where(colour < knee, colour * (_ERROR_AT_KNEE / knee), squeezed)
    features = [_features((one[..., 0] + 16) / 116) for one in (opponent, true_opponent)]
    changed = np.abs(features[0] - features[1]).max(axis=0)
    feature = np.minimum(changed / np.sqrt(2), 1.0) ** _FEATURE_POWER
    return np.asarray(np.clip(colour, 0, 1) ** (1 - feature), np.float32)


def _opponent(linear: FloatArray) -> FloatArray:
    """YyCxCz (H, W, 3) of linear RGB in 0..1: luminance, red to green, blue to yellow."""
    x, y, z = np.moveaxis(linear @ _XYZ_OF_RGB.T / _WHITE, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _seen(opponent: FloatArray) -> FloatArray:
    """What an eye resolves of it, in L*a*b* (H, W, 3), less colourful where it is dark (Hunt)."""
    blurred = np.stack(
        [
            sum(share * _filtered(opponent[..., channel], line, line) for share, line in gaussians)
            for channel, gaussians in enumerate(_contrast())
        ],
        axis=-1,
    )
    y = (blurred[..., 0] + 16) / 116
    xyz = np.stack([y + blurred[..., 1] / 500, y, y - blurred[..., 2] / 200], axis=-1) * _WHITE
    linear = np.clip(xyz @ np.linalg.inv(_XYZ_OF_RGB).T, 0, 1)
    return _hunt_lab(np.asarray(linear, np.float32))


def _hunt_lab(linear: FloatArray) -> FloatArray:
    ratio = linear @ _XYZ_OF_RGB.T / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness = 116 * root[..., 1] - 16
    red, yellow = 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])
    return np.stack([lightness, 0.01 * lightness * red, 0.01 * lightness * yellow], axis=-1)


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    """HyAB (Abasi et al. 2020), (...) of (..., 3): better than Euclid's for large differences."""
    gap = np.abs(one - other)
    return np.asarray(gap[..., 0] + np.hypot(gap[..., 1], gap[..., 2]), np.float32)


@lru_cache(maxsize=1)
def _largest_colour() -> np.float32:
    """Of pure green and pure blue, which differ most."""
    green, blue = _hunt_lab(np.eye(3, dtype=np.float32)[1:])
    return np.float32(_distance(green, blue) ** _COLOUR_POWER)


def _features(luminance: FloatArray) -> FloatArray:
    """(2, H, W): how much of an edge, and of a point, there is."""
    gaussian, edge, point = _detectors()
    return np.stack(
        [
            np.hypot(_filtered(luminance, detector, gaussian), _filtered(luminance, gaussian, detector))
            for detector in (edge, point)
        ]
    )


def _filtered(plane: FloatArray, across: FloatArray, down: FloatArray) -> NDArray[np.float32]:
    return np.asarray(cv2.sepFilter2D(plane, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE))


@lru_cache(maxsize=1)
def _contrast() -> list[list[tuple[float, FloatArray]]]:
    """By opponent channel: Gaussians of sum 1, each with its share."""
    radius = int(np.ceil(3 * np.sqrt(_WIDEST / (2 * np.pi**2)) * PIXELS_PER_DEGREE))
    degrees = np.arange(-radius, radius + 1) / PIXELS_PER_DEGREE
    channels = []
    for gaussians in _SENSITIVITY:
        lines = [np.exp(-(np.pi**2) * degrees**2 / width) for _, width in gaussians]
        pairs = zip(gaussians, lines, strict=True)
        weights = [amplitude * np.sqrt(np.pi / width) * line.sum() ** 2 for (amplitude, width), line in pairs]
        shares = [weight / sum(weights) for weight in weights]
        unit = [(line / line.sum()).astype(np.float32) for line in lines]
        channels.append(list(zip(shares, unit, strict=True)))
    return channels


@lru_cache(maxsize=1)
def _detectors() -> tuple[FloatArray, FloatArray, FloatArray]:
    """A Gaussian, its first and its second derivative; what is above and what is below 0 sums to 1 each."""
    deviation = 0.5 * _FEATURE_DEG * PIXELS_PER_DEGREE
    radius = int(np.ceil(3 * deviation))
    steps = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(steps**2) / (2 * deviation**2))
    edge, point = -steps * gaussian, (steps**2 / deviation**2 - 1) * gaussian
    balanced = [
        np.where(one > 0, one / one[one > 0].sum(), -one / one[one < 0].sum()) for one in (edge, point)
    ]
    first, second = (one.astype(np.float32) for one in balanced)
    return (gaussian / gaussian.sum()).astype(np.float32), first, second
