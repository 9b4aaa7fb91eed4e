"""The picture shown while the renderer fails: the last one, darkened, with one line that says why.

Works on planes, in the render thread.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import I420

_BLACK, _WHITE, _NO_COLOUR = 16, 235, 128  # of video range
_REMAINS = 0.35  # of the picture's brightness and colour
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WIDTH_SHARE = 0.9  # of the picture, for the line


def failure_picture(last: I420 | None, text: str, size_px: int) -> I420:
    """A new picture. last: (H * 3 / 2, W) uint8 planes, None: grey, size_px square. text: one line, ASCII."""
    if last is None:
        last = np.full((size_px * 3 // 2, size_px), _NO_COLOUR, np.uint8)
    planes = last.astype(np.float32)
    height = last.shape[0] * 2 // 3
    planes[:height] = _BLACK + (planes[:height] - _BLACK) * _REMAINS
    planes[height:] = _NO_COLOUR + (planes[height:] - _NO_COLOUR) * _REMAINS
    dark = np.round(planes).astype(np.uint8)
    luma, width = dark[:height], dark.shape[1]
    (unit_px, _), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = width * _WIDTH_SHARE / max(unit_px, 1)
    (text_px, above), _ = cv2.getTextSize(text, _FONT, scale, 1)
    at = ((width - text_px) // 2, (height + above) // 2)
    cv2.putText(luma, text, at, _FONT, scale, _WHITE, 1, cv2.LINE_AA)
    return dark
