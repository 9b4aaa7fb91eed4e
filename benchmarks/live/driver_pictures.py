"""A driver clip as a webcam would show it: fitted into its picture, played to and fro without a cut."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.live.peer import Planes, without_colour_in_the_corner
from engine.media.video import probe, read_frames

MAX_FRAMES = 300  # of the clip: 138 MB at 640x480


def fit(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: the whole picture, scaled, on a grey ground."""
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner_width, inner_height = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    ground = np.full((height, width, 3), 96, np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    inner = cv2.resize(rgb, (inner_width, inner_height), interpolation=method)
    ground[top : top + inner_height, left : left + inner_width] = inner
    return ground


class DriverPictures:
    """Planes by time, at the clip's own speed, forwards and backwards."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        self.fps = probe(path).fps
        self._planes: list[Planes] = []
        for frame in read_frames(path):
            rgb = fit(np.asarray(frame.rgb, np.uint8), width, height)
            planes = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
            self._planes.append(without_colour_in_the_corner(planes))
            if len(self._planes) == MAX_FRAMES:
                break

    @property
    def loop_s(self) -> float:
        """How long there and back takes."""
        return max(1, 2 * (len(self._planes) - 1)) / self.fps

    def once(self) -> list[Planes]:
        """The pictures of there and back, each once."""
        return [*self._planes, *self._planes[-2:0:-1]]

    def at(self, elapsed_s: float) -> Planes:
        """The picture to show at that time; shared, not to be changed."""
        last = len(self._planes) - 1
        step = int(elapsed_s * self.fps) % max(1, 2 * last)
        return self._planes[step if step <= last else 2 * last - step]
