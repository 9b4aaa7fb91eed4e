"""Finds the visible mark where it is known to stand: "AI-generated" in one of a picture's corners.

By normalised cross-correlation with the letters as engine.media.disclosure draws them. Anybody may write
these words into a picture, so they are a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.media.disclosure import CORNERS, MAX_PERCENT, MIN_PERCENT, plate

LIKELY = 0.6  # of the correlation; films without the mark reach 0.4, see TRUST.md
_SIZES = 11  # tried, between the least and the largest
_HEIGHT_PX = 360  # to which larger pictures are brought


@dataclass(frozen=True, slots=True)
class Label:
    """Where the mark stands most likely."""

    corner: str
    score: float  # -1..1, the correlation with its letters

    @property
    def is_likely(self) -> bool:
        """Whether it is there, as far as this can tell."""
        return self.score >= LIKELY


def find_label(pictures: Sequence[U8Image]) -> Label:
    """pictures: (H, W, 3) uint8 RGB of one film and one size, at least one."""
    grey = np.mean([cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in pictures], axis=0).astype(np.float32)
    if grey.shape[0] > _HEIGHT_PX:
        width = round(grey.shape[1] * _HEIGHT_PX / grey.shape[0])
        grey = cv2.resize(grey, (width, _HEIGHT_PX), interpolation=cv2.INTER_AREA)
    labels = [
        Label(corner, _score(grey, corner, float(percent)))
        for corner in CORNERS
        for percent in np.linspace(MIN_PERCENT, MAX_PERCENT, _SIZES)
    ]
    return max(labels, key=lambda label: label.score)


def _score(grey: FloatArray, corner: str, percent: float) -> float:
    letters = plate(grey.shape[0], percent)
    rows, columns = letters.shape
    margin = max(2, rows // 4)
    height, width = min(rows + margin, grey.shape[0]), min(columns + margin, grey.shape[1])
    if height < rows or width < columns:
        return -1.0
    across, along = corner.split("-")
    part = grey[:height] if across == "top" else grey[-height:]
    part = part[:, :width] if along == "left" else part[:, -width:]
    if part.std() < 1:
        return -1.0  # nothing is written there
    return float(cv2.matchTemplate(np.ascontiguousarray(part), letters, cv2.TM_CCOEFF_NORMED).max())
