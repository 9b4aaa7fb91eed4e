"""How well a camera sees somebody's lips, from the few pixels around them: light, sharpness, and whether they
look as they did.

The face mesh says nothing of it: it draws lips also where there are none to be seen.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo

_WIDTH, _HEIGHT = 64, 40
_UNIT = 48.0  # of its pixels: the distance between the outer corners of the eyes
# From none of it to all. Chosen on three films made darker, smaller, softer, or with the mouth covered.
_LIGHT = (0.35, 1.0)  # standard deviation of lips above the noise
_SHARP = (0.24, 0.32)  # fine detail in shares of coarse detail
_ALIKE = (0.65, 0.8)  # correlation with how they looked, at best of the last second or so
_FADES = 0.25  # a second, of that best: an open mouth looks like no shut one
_LEARNS_S = 20.0  # of how they look
_ANEW_S = 30.0  # unlike what they were for so long: it is learnt anew
_LEAST_NOISE = 0.3  # of 255: of a clean picture
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkaer, 1996
_LIPS = np.unique(np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER]))


class LipSight:
    """Of one person before one camera. Time comes in as an argument."""

    def __init__(self) -> None:
        self._look: FloatArray | None = None  # of their lips, usually
        self._best = 1.0
        self._unlike_s = self._last_s = 0.0

    def of(self, rgb: U8Image, face: FloatArray, time_s: float) -> float:
        """0, lips cannot be seen, to 1, clearly. rgb: (H, W, 3); face: (478, 3) px, tracked in it."""
        lips = _around_lips(rgb, face)
        noise = float(np.median(np.abs(cv2.filter2D(lips, -1, _NOISE)))) / (6.0 * 0.6745)
        fine, mid, coarse = (cv2.GaussianBlur(lips, (0, 0), sigma) for sigma in (1.0, 2.0, 6.0))
        detail = float((mid - coarse).std())
        light = _way(detail / max(noise, _LEAST_NOISE), _LIGHT)
        sharp = _way(float((fine - mid).std()) / max(detail, 1e-3), _SHARP)
        return min(light, sharp, _way(self._likeness(mid, time_s), _ALIKE))

    def _likeness(self, lips: FloatArray, time_s: float) -> float:
        look = lips[::4, ::4] - lips[::4, ::4].mean()
        look = look / max(float(np.linalg.norm(look)), 1e-3)
        passed_s = min(max(time_s - self._last_s, 0.0), 1.0)
        self._last_s = time_s
        if self._look is None or self._unlike_s > _ANEW_S:
            self._look, self._best, self._unlike_s = look, 1.0, 0.0
        usual = self._look / max(float(np.linalg.norm(self._look)), 1e-3)
        self._best = max(float((usual * look).sum()), self._best - _FADES * passed_s)
        if self._best > _ALIKE[0]:
            self._look = self._look + np.float32(passed_s / _LEARNS_S) * (look - self._look)
            self._unlike_s = 0.0
        else:
            self._unlike_s += passed_s
        return self._best


def _around_lips(rgb: U8Image, face: FloatArray) -> FloatArray:
    """(_HEIGHT, _WIDTH) float32, 0..255: grey, upright, of one size."""
    right, left = (face[topo.EYE_CORNERS[side][1], :2] for side in (1, 0))
    across = left - right
    across = across if across[0] >= 0 else -across
    scale = max(float(np.linalg.norm(across)), 1.0) / _UNIT
    x, y = across / max(float(np.linalg.norm(across)), 1e-6) * scale
    back = np.array([[x, -y, 0.0], [y, x, 0.0]], np.float32)
    back[:, 2] = face[_LIPS, :2].mean(0) - back[:, :2] @ np.array([_WIDTH / 2, _HEIGHT / 2], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(rgb, back, (_WIDTH, _HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_RGB2GRAY), np.float32)


def _way(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max((value - low) / (high - low), 0.0), 1.0)
