"""How large a camera's picture is, read from its coded form before anything is decoded.

A picture of 8192x8192 is a few KB on the wire and 100 MB as soon as a decoder has it. VP8 says its size in
every key frame (RFC 6386 section 9.1), H.264 in a sequence parameter set (ITU-T H.264 section 7.3.2.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from stream.webrtc.key_frames import NAL_START, VP8_START, is_h264

MOST_SIDE_PX = 2_048
MOST_AREA_PX = 1_920 * 1_200
TOO_LARGE = "The camera sends {}x{} pixels; up to 1920x1200 are taken: choose a smaller size."
_NAL_SPS = 7
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)  # profile_idc
_MOST_SPS = 32  # as many as have ids
_MOST_SPS_BYTES = 1_024

Size = tuple[int, int]  # width, height


def is_too_large(size: Size) -> bool:
    """Whether it is not decoded."""
    return max(size) > MOST_SIDE_PX or size[0] * size[1] > MOST_AREA_PX


def announced_size(frame: bytes) -> Size | None:
    """Of a whole VP8 frame, or of H.264 with start codes (the largest of several); None: as before.

    Raises ValueError where H.264 says it in a way that cannot be read.
    """
    if not is_h264(frame):
        return _vp8_size(frame)
    starts = list(islice(_sps_starts(frame), _MOST_SPS + 1))
    if len(starts) > _MOST_SPS:
        raise ValueError(f"more than {_MOST_SPS} sequence parameter sets in one picture")
    sizes = [_sps_size(frame[start : start + _MOST_SPS_BYTES]) for start in starts]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _vp8_size(frame: bytes) -> Size | None:
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != VP8_START:
        return None
    width, height = (int.from_bytes(frame[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height


def _sps_starts(frame: bytes) -> Iterator[int]:
    for start in NAL_START.finditer(frame):
        if frame[start.end() : start.end() + 1] and frame[start.end()] & 0x1F == _NAL_SPS:
            yield start.end() + 1


class _Bits:
    """The bits of a NAL unit's payload. Raises ValueError where they are over."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")  # emulation prevention, section 7.4.1.1
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def number(self, bits: int) -> int:
        self._at += bits
        if self._at > len(self._bits):
            raise ValueError("a sequence parameter set ends too early")
        return int(self._bits[self._at - bits : self._at], 2)

    def exp_golomb(self) -> int:
        """ue(v), section 9.1."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("a number of a sequence parameter set is too long")
        return (1 << zeros) - 1 + (self.number(zeros) if zeros else 0)

    def signed(self) -> int:
        """se(v), section 9.1.1."""
        code = self.exp_golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _sps_size(payload: bytes) -> Size:
    """In whole macroblocks, before cropping. payload: what follows the NAL unit's first byte."""
    bits = _Bits(payload)
    profile = bits.number(8)
    bits.number(16)  # constraints, level
    bits.exp_golomb()  # its id
    if profile in _WITH_CHROMA:
        chroma_format = bits.exp_golomb()
        if chroma_format == 3:
            bits.number(1)
        bits.exp_golomb()  # bits of luma
        bits.exp_golomb()  # and of chroma
        bits.number(1)
        if bits.number(1):
            for index in range(12 if chroma_format == 3 else 8):
                if bits.number(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.exp_golomb()  # bits of a frame's number
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.number(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.exp_golomb(), 255)):
            bits.signed()
    bits.exp_golomb()  # reference frames
    bits.number(1)
    width, map_height, whole_frames = bits.exp_golomb() + 1, bits.exp_golomb() + 1, bits.number(1)
    return 16 * width, 16 * map_height * (2 - whole_frames)


def _skip_scaling_list(bits: _Bits, length: int) -> None:
    """Section 7.3.2.1.1.1."""
    last, following = 8, 8
    for _ in range(length):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last
