"""Differences between colours as people see them."""

from __future__ import annotations

import numpy as np

from engine.arrays import DoubleArray

_XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ_OF_RGB.sum(1)  # D65
_FAR = 25.0**7


def lab(rgb: DoubleArray) -> DoubleArray:
    """CIE L*a*b* (D65) of one sRGB colour, (3,), 0..255 (IEC 61966-2-1; OpenCV's is rounded to a table)."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    ratio = _XYZ_OF_RGB @ linear / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def de2000(one: DoubleArray, other: DoubleArray) -> float:
    """CIEDE2000 of two L*a*b* colours, (3,); 1 is about what can just be seen.

    Formula, names and reference values: Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula", 2005.
    """
    chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    grow = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + _FAR))
    c1, h1 = _polar(one, grow)
    c2, h2 = _polar(other, grow)
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    delta_l, delta_c = other[0] - one[0], c2 - c1
    delta_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (one[0] + other[0]) / 2, (c1 + c2) / 2
    mean_h = h1 + h2 if c1 * c2 == 0 else h1 + turn / 2
    weight = (
        1
        - 0.17 * _cos(mean_h - 30)
        + 0.24 * _cos(2 * mean_h)
        + 0.32 * _cos(3 * mean_h + 6)
        - 0.20 * _cos(4 * mean_h - 63)
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * weight
    spread = 30 * np.exp(-((((mean_h % 360) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(mean_c**7 / (mean_c**7 + _FAR)) * np.sin(np.radians(2 * spread))
    l_part, c_part, h_part = delta_l / s_l, delta_c / s_c, delta_h / s_h
    return float(np.sqrt(l_part**2 + c_part**2 + h_part**2 + rotation * c_part * h_part))


def _polar(colour: DoubleArray, grow: float) -> tuple[float, float]:
    """Chroma and hue in degrees, 0..360, with a* stretched."""
    a, b = grow * colour[1], colour[2]
    return float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a)) % 360)


def _cos(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))
