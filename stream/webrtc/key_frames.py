"""Whether a coded picture is understood without any before it.

VP8 says so in a frame's first bit (RFC 6386 section 9.1), H.264 by the kind of its first slice (ITU-T H.264
table 7-1), or in a message before a slice that decoding recovers from (section D.2.8), which encoders without
whole key frames send.
"""

from __future__ import annotations

import re

VP8_START = b"\x9d\x01\x2a"
NAL_START = re.compile(b"\x00\x00\x01")
_NAL_SLICE, _NAL_IDR_SLICE, _NAL_SEI = 1, 5, 6
_SEI_RECOVERY_POINT = 6
_FIRST_MACROBLOCK = 0x80  # first_mb_in_slice is 0, as Exp-Golomb code


def is_h264(frame: bytes) -> bool:
    """Whether a whole frame is H.264, with start codes; otherwise it is VP8."""
    return frame.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01"))


def is_key_frame(frame: bytes) -> bool | None:
    """Of a whole frame, or of what is left of one; None where there is no picture in it."""
    if not frame:
        return None
    if not is_h264(frame):
        return not frame[0] & 1 and frame[3:6] == VP8_START
    recovers = False
    for start in NAL_START.finditer(frame):
        unit = frame[start.end() : start.end() + 2]
        if len(unit) < 2:
            break
        kind = unit[0] & 0x1F
        recovers = recovers or (kind == _NAL_SEI and unit[1] == _SEI_RECOVERY_POINT)
        if kind in (_NAL_SLICE, _NAL_IDR_SLICE):
            return bool(unit[1] & _FIRST_MACROBLOCK) and (kind == _NAL_IDR_SLICE or recovers)
    return None
