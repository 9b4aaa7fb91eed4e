"""A number that travels inside a picture: black and white blocks in the top left corner.

Latency is honest only if the picture itself carries its send time, through codecs, queues and the renderer.
The code is 8 x 4 square blocks of width/32 px each (20 px in a 640 px frame, 8 px in a 256 px one):

    row 0      a fixed pattern: says "here is a code", and what black and white are in this frame
    rows 1-2   the number, 16 bits, most significant first
    row 3      CRC-8 of the number

Fixed pattern and checksum together let one in 65,000 random corners pass. Survives VP8 at low bitrate and
scaling with the aspect kept; not a crop, and not a flip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.arrays import U8Image

NUMBER_BITS = 16
NUMBER_MODULUS = 1 << NUMBER_BITS  # numbers wrap here: 36 minutes at 30 fps
COLUMNS, ROWS = 8, 4  # blocks
BLOCKS_PER_WIDTH = 32  # block side = frame width / 32
MIN_WIDTH_PX = 128  # 4 px blocks: one transform block of VP8 each

_DARK, _BRIGHT = 16, 235  # the limits of video range: nothing a codec would clip
_MIN_CONTRAST = 60  # between the mean black and mean white of row 0, of 255
_MARKER = np.array([1, 0, 1, 1, 0, 0, 1, 0], bool)
_CRC_POLYNOMIAL = 0x07  # x^8 + x^2 + x + 1 (CRC-8/SMBUS)
_CRC_START = 0x5A  # so that an all-black number has no all-black checksum


def _crc8(number: int) -> int:
    crc = _CRC_START
    for byte in (number >> 8, number & 0xFF):
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ _CRC_POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _blocks(number: int) -> NDArray[np.bool_]:
    """The code of one number: (4, 8) bool, True is white."""
    payload = np.array([number >> 8, number & 0xFF, _crc8(number)], np.uint8)
    bits = np.concatenate([_MARKER, np.unpackbits(payload).astype(np.bool_)])
    return np.asarray(bits, np.bool_).reshape(ROWS, COLUMNS)


def _edges(width_px: int, count: int) -> list[int]:
    """Block borders in px, rounded, for `count` blocks of width/32."""
    return [round(index * width_px / BLOCKS_PER_WIDTH) for index in range(count + 1)]


def code_size_px(width_px: int) -> tuple[int, int]:
    """(width, height) in px that the code covers in a frame of this width."""
    return _edges(width_px, COLUMNS)[-1], _edges(width_px, ROWS)[-1]


def stamp(image: U8Image, number: int) -> None:
    """Draw `number` (taken modulo 65,536) into `image` in place.

    image: (H, W, 3) uint8 RGB, or (H, W) uint8 luma; W >= 128, H >= W / 8.
    """
    height_px, width_px = image.shape[:2]
    if width_px < MIN_WIDTH_PX or height_px < code_size_px(width_px)[1]:
        raise ValueError(
            f"frame of {width_px}x{height_px} px is too small for a frame code: at least "
            f"{MIN_WIDTH_PX}x{code_size_px(MIN_WIDTH_PX)[1]} px needed"
        )
    columns, rows = _edges(width_px, COLUMNS), _edges(width_px, ROWS)
    for row, values in enumerate(_blocks(number % NUMBER_MODULUS)):
        for column, white in enumerate(values):
            block = image[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            block[...] = _BRIGHT if white else _DARK


def read(image: U8Image) -> int | None:
    """The number stamped into `image`, or None where there is no intact code.

    image: (H, W, 3) uint8 RGB, or (H, W) uint8 luma.
    """
    height_px, width_px = image.shape[:2]
    if width_px < MIN_WIDTH_PX or height_px < code_size_px(width_px)[1]:
        return None
    columns, rows = _edges(width_px, COLUMNS), _edges(width_px, ROWS)
    level = np.empty((ROWS, COLUMNS), np.float32)
    for row in range(ROWS):
        for column in range(COLUMNS):
            # the middle half: codecs and scalers smear the borders
            inset = max(1, (columns[column + 1] - columns[column]) // 4)
            level[row, column] = image[
                rows[row] + inset : rows[row + 1] - inset,
                columns[column] + inset : columns[column + 1] - inset,
            ].mean()
    black, white = level[0][~_MARKER], level[0][_MARKER]
    if white.min() - black.max() < _MIN_CONTRAST:
        return None
    bits = level[1:] > (black.mean() + white.mean()) / 2
    high, low, crc = (int(byte) for byte in np.packbits(bits))
    number = high << 8 | low
    return number if crc == _crc8(number) else None
