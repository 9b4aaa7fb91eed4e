"""From a film's own colours to RGB as ordinary screens show it (BT.709, standard range), and back.

What a frame says of itself is followed: matrix, range, transfer curve, primaries (ITU-T H.273); what it
leaves unsaid is taken as players take it. Films of high dynamic range come down as ITU-R BT.2408 says: their
reference white, 203 cd/m2, is white, what is darker keeps its tone, what is brighter is clipped. The
conversion is libswscale's (relative colorimetric, by a table of 33 steps a channel).
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)

from engine.arrays import U8Image

_UNSAID = 2  # of H.273's matrices, curves and primaries
_BT709, _BT601, _BT2020 = 1, 6, 9  # H.273's matrices
_HIGH_RANGE = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG
_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)
_HD_WIDTH, _HD_HEIGHT = 1280, 577  # px from which a film that does not say is BT.709
_ALWAYS_BT601 = ("vp8", "h263", "mpeg1video", "mjpeg", "dvvideo")  # RFC 6386, 9.2, and the others' standards


class RgbConverter:
    """For the frames of one stream: what the conversion needs is made once and kept."""

    def __init__(self, codec: str) -> None:
        """codec: FFmpeg's name of the decoder."""
        self._codec = codec
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Any, width: int, height: int) -> U8Image:
        """A frame of any pixel format -> (height, width, 3) uint8 RGB; it may not be contiguous."""
        same = (frame.width, frame.height) == (width, height)
        how: dict[str, Any] = {
            "width": width,
            "height": height,
            "format": "rgb24",
            "interpolation": Interpolation.BILINEAR if same else Interpolation.BICUBIC,
        }
        _say_all(frame, self._codec)
        if frame.color_trc in _HIGH_RANGE or frame.color_primaries in _WIDE:
            srgb = frame.color_trc == ColorTrc.IEC61966_2_1
            how["dst_color_trc"] = ColorTrc.IEC61966_2_1 if srgb else ColorTrc.BT709
            how["dst_color_primaries"] = ColorPrimaries.BT709
        return np.asarray(self._reformatter.reformat(frame, **how).to_ndarray(), np.uint8)


class Bt709Converter:
    """For the pictures that one encoder gets."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def yuv(self, rgb: U8Image) -> Any:
        """(H, W, 3) uint8 RGB, even-sized and contiguous -> a yuv420p frame, BT.709 in video range."""
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(rgb, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )


def tag_bt709(context: Any) -> None:
    """Has an encoder's stream say what `Bt709Converter` makes."""
    context.colorspace, context.color_range = _BT709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def _say_all(frame: Any, codec: str) -> None:
    """Writes into the frame what it leaves unsaid."""
    if frame.format.is_rgb:
        return
    if frame.color_trc in _HIGH_RANGE and frame.color_primaries == _UNSAID:
        frame.color_primaries = ColorPrimaries.BT2020
    if frame.colorspace == _UNSAID:
        hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
        if frame.color_primaries == ColorPrimaries.BT2020:
            frame.colorspace = _BT2020
        else:
            frame.colorspace = _BT709 if hd and codec not in _ALWAYS_BT601 else _BT601
