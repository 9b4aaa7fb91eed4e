"""A camera that shows one grey picture."""

from __future__ import annotations

import numpy as np

from benchmarks.live.peer import StampedCamera

GREY = np.full((360, 320), 128, np.uint8)  # planes of 320x240


def grey_camera(fps: float = 20.0) -> StampedCamera:
    """320x240, each picture with its number."""
    return StampedCamera(lambda _: GREY, fps)
