"""From a decoded frame to the picture that a player shows of it: its colours, square pixels, upright."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.arrays import U8Image
from engine.errors import VideoError
from engine.media.colour import RgbConverter
from engine.media.film import MAX_PX


class FrameConverter:
    """For the frames of one stream."""

    def __init__(self, stream: Any) -> None:
        """stream: PyAV's, of the film that is read."""
        self._stream = stream
        self._rgb = RgbConverter(stream.codec_context.name)

    def size(self, frame: Any) -> tuple[int, int]:
        """Width and height of its picture, px. Raises VideoError for one that is larger than a camera's."""
        size = self._stored_size(frame)
        return size[::-1] if _is_turned(_display_matrix(frame)) else size

    def picture(self, frame: Any) -> U8Image:
        """Decoded frame -> (H, W, 3) uint8 RGB, contiguous, as a player shows it."""
        rgb = self._rgb.rgb(frame, *self._stored_size(frame))
        return np.ascontiguousarray(_turned(rgb, _display_matrix(frame)))

    def _stored_size(self, frame: Any) -> tuple[int, int]:
        """Width and height before it is turned, px, with square pixels: oblong ones grow, none shrinks."""
        shape = self._stream.sample_aspect_ratio or 1
        width, height = round(frame.width * max(shape, 1)), round(frame.height / min(shape, 1))
        if width * height > MAX_PX:
            name = self._stream.container.name.removeprefix("file:")
            raise VideoError(
                f"{name}: its pixels are {shape} times as wide as high, a picture of {width}x{height} px; "
                "export it with square pixels"
            )
        return width, height


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """a, b, c, d of the film's display matrix (ISO/IEC 14496-12, 6.2.2), in 16.16.

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y), up to a shift.
    """
    if "DISPLAYMATRIX" not in frame.side_data:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(frame.side_data["DISPLAYMATRIX"], np.int32).tolist()
    return a, b, c, d


def _is_turned(matrix: tuple[int, int, int, int]) -> bool:
    """Whether rows become columns."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _turned(rgb: U8Image, matrix: tuple[int, int, int, int]) -> U8Image:
    """The picture in that of the eight positions (quarter turns, mirrored or not) nearest to the matrix."""
    a, b, c, d = matrix
    along_x, along_y = a, d
    if _is_turned(matrix):
        rgb, along_x, along_y = rgb.swapaxes(0, 1), c, b
    return rgb[:: -1 if along_y < 0 else 1, :: -1 if along_x < 0 else 1]
