"""A video file that plays as a camera would: its frames come when each is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path

import av

from engine.media.video import read_frames

_TIME_BASE = Fraction(1, 90_000)  # s


def play_film(
    path: str | Path,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[av.VideoFrame, None, None]:
    """The frames of a video file (RGB) when each is due. Raises VideoError, also midway."""
    begun_s: float | None = None
    for picture in read_frames(path, whole=False):
        if begun_s is None:
            begun_s = now_s()
        if (wait_s := begun_s + picture.time_s - now_s()) > 0:
            sleep(wait_s)
        frame = av.VideoFrame.from_ndarray(picture.rgb, format="rgb24")
        frame.pts, frame.time_base = round(picture.time_s / _TIME_BASE), _TIME_BASE
        yield frame
