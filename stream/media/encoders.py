"""Encoders for rendered pictures: VP8, and H.264 in hardware or software, with bitrates by picture size.

Subclasses of aiortc's encoders, which it would otherwise make itself; see stream.webrtc.aiortc_tuning for how
they get into a sender.
"""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import av
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from av.codec.codec import UnknownCodecError
from av.frame import Frame

from engine.media.disclosure import SOURCE_TYPE

logger = logging.getLogger(__name__)

_RECREATE_SHARE = 0.1  # an encoder takes a new bitrate only when it is opened anew, which costs a key frame
_TIMES = 120  # encoding times kept
_H264_FPS = 30  # what its rate control counts with
HARDWARE_H264 = ("h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_vaapi")
SOFTWARE_H264 = "libx264"
_BASELINE, _LEVEL = 66, 31  # what answers say, see stream.webrtc.offered_codecs
_PARAMETERS = re.compile(rb"(?s)\x00\x00\x01[\x07\x27\x47\x67](...)")  # profile, constraints, level
# Of H.264's units: their kind, and supplemental information of a kind that its UUID names, which decoders
# pass over and recordings keep (ITU-T H.264, D.1.7): IPTC's term for what a trained model made.
_KIND, _IDR, _SEI, _UNREGISTERED = 0x1F, 5, 6, 5
SOURCE_TYPE_UUID = uuid5(NAMESPACE_URL, SOURCE_TYPE)
_SAID = SOURCE_TYPE_UUID.bytes + SOURCE_TYPE.encode()
_MADE_BY_A_MODEL = bytes([_SEI, _UNREGISTERED, len(_SAID)]) + _SAID + b"\x80"


@dataclass(frozen=True, slots=True)
class Bitrates:
    """Bounds in bits per second, and what is sent before the receiver has said anything."""

    least: int
    start: int
    most: int


# By the shorter side, up to and including. A rendered picture holds no noise: a third of what a webcam needs.
_LADDER: Sequence[tuple[int, Bitrates]] = (
    (128, Bitrates(100_000, 300_000, 800_000)),
    (192, Bitrates(200_000, 600_000, 1_400_000)),
    (256, Bitrates(400_000, 900_000, 2_000_000)),
    (384, Bitrates(600_000, 1_500_000, 3_500_000)),
    (512, Bitrates(800_000, 2_200_000, 5_000_000)),
)
_ABOVE = Bitrates(1_200_000, 4_000_000, 8_000_000)


def bitrates(width: int, height: int) -> Bitrates:
    """The bounds for pictures of this size in px."""
    side = min(width, height)
    return next((rates for most_px, rates in _LADDER if side <= most_px), _ABOVE)


class Bitrate:
    """What to aim at: the receiver's estimate, within the bounds of the picture's size."""

    def __init__(self) -> None:
        self.estimate_bps: int | None = None  # the receiver's (REMB), unbounded; None before the first

    def target_bps(self, width: int, height: int) -> int:
        """In bits per second, for pictures of this size in px."""
        bounds = bitrates(width, height)
        if self.estimate_bps is None:
            return bounds.start
        return max(bounds.least, min(self.estimate_bps, bounds.most))

    def outdates(self, codec: av.VideoCodecContext, width: int, height: int) -> bool:
        """Whether the codec must be opened anew for pictures of this size."""
        if (codec.width, codec.height) != (width, height):
            return True
        opened_bps = codec.bit_rate or 1
        return abs(self.target_bps(width, height) - opened_bps) > _RECREATE_SHARE * opened_bps


class Effort:
    """What encoding has cost and produced. Written by the encoding thread, read by the event loop."""

    def __init__(self) -> None:
        self.encode_ms: deque[float] = deque(maxlen=_TIMES)
        self.sent_bytes = 0
        self.size_px = (0, 0)  # of the last picture

    def note(self, since_s: float, data: bytes, frame: av.VideoFrame) -> None:
        """One picture was encoded from `since_s` (perf_counter) until now."""
        self.encode_ms.append((perf_counter() - since_s) * 1e3)
        self.sent_bytes += len(data)
        self.size_px = (frame.width, frame.height)


class RenderedEncoder(Encoder):
    """What both encoders do around FFmpeg's: open it anew when it must be, force key frames, time it."""

    codec: av.VideoCodecContext | None

    def __init__(self) -> None:
        super().__init__()
        self.bitrate = Bitrate()
        self.effort = Effort()

    @property
    def target_bitrate(self) -> int:
        """In bits per second, for the size of the last picture; set by the receiver's estimates."""
        return self.bitrate.target_bps(*self.effort.size_px)

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self.bitrate.estimate_bps = bitrate

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads and time stamp (90 kHz) of one picture."""
        assert isinstance(frame, av.VideoFrame)
        pts, time_base = frame.pts, frame.time_base
        assert pts is not None
        assert time_base is not None
        payloads = self._payloads(self.code(frame, force_keyframe)[0])
        return payloads, convert_timebase(pts, time_base, VIDEO_TIME_BASE)

    def pack(self, packet: av.Packet[Any]) -> tuple[list[bytes], int]:
        """The same of a picture that another encoder of this kind has coded. The next of our own is whole."""
        self.codec = None
        data = bytes(packet)
        self.effort.sent_bytes += len(data)
        assert packet.pts is not None
        return self._payloads(data), convert_timebase(packet.pts, packet.time_base, VIDEO_TIME_BASE)

    def code(self, frame: av.VideoFrame, force_keyframe: bool = False) -> tuple[bytes, bool]:
        """The coded picture, not cut for RTP yet, and whether it is a key frame."""
        since_s = perf_counter()
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        codec = self.codec
        if codec is None or self.bitrate.outdates(codec, frame.width, frame.height):
            target_bps = self.bitrate.target_bps(frame.width, frame.height)
            codec = self.codec = self._open(frame.width, frame.height, target_bps)
        picture_type = av.video.frame.PictureType
        frame.pict_type = picture_type.I if force_keyframe else picture_type.NONE
        packets = codec.encode(frame)
        data = b"".join(bytes(packet) for packet in packets)
        self.effort.note(since_s, data, frame)
        return data, any(packet.is_keyframe for packet in packets)

    @abstractmethod
    def another(self) -> RenderedEncoder:
        """A new encoder of this kind."""

    @abstractmethod
    def _open(self, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
        """FFmpeg's encoder for pictures of this size in px."""

    @abstractmethod
    def _payloads(self, data: bytes) -> list[bytes]:
        """A coded picture, cut for RTP."""


class RenderedVp8Encoder(RenderedEncoder, Vp8Encoder):
    """VP8 for pictures that hold no sensor noise.

    aiortc sets libvpx up for webcams, with its temporal denoiser and a static threshold: together they leave
    old blocks standing where the picture has changed (13 % of our frame codes came back damaged, 0 %
    without), and the denoiser takes a fifth of the encoding time.
    """

    def _open(self, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
        codec = _codec("libvpx", width, height, bitrate_bps)
        codec.qmin, codec.qmax = 2, 56
        codec.thread_count = 1
        rate = str(bitrate_bps)
        codec.options = {
            "deadline": "realtime",
            "cpu-used": "-6",
            "lag-in-frames": "0",
            "bufsize": rate,  # one second
            "minrate": rate,  # minrate = maxrate = bit rate: constant bitrate
            "maxrate": rate,
            "overshoot-pct": "15",
            "undershoot-pct": "100",
        }
        return codec

    def another(self) -> RenderedVp8Encoder:
        """A new encoder of this kind."""
        return RenderedVp8Encoder()

    def _payloads(self, data: bytes) -> list[bytes]:
        payloads = self._packetize(data, self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads


class RenderedH264Encoder(RenderedEncoder, H264Encoder):
    """H.264, constrained baseline without B-frames, by the encoder of FFmpeg's that it is given."""

    def __init__(self, codec_name: str) -> None:
        super().__init__()
        self._codec_name = codec_name

    def _open(self, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
        try:
            return open_h264(self._codec_name, width, height, bitrate_bps)
        except (av.FFmpegError, ValueError) as error:  # a card takes only so many streams at once
            if self._codec_name == SOFTWARE_H264:
                raise
            logger.warning(
                "%s takes no further stream (%s): %s instead", self._codec_name, error, SOFTWARE_H264
            )
            self._codec_name = SOFTWARE_H264
            return open_h264(SOFTWARE_H264, width, height, bitrate_bps)

    def another(self) -> RenderedH264Encoder:
        """A new encoder of this kind."""
        return RenderedH264Encoder(self._codec_name)

    def _payloads(self, data: bytes) -> list[bytes]:
        """Before each picture that all others build on stands, for machines, what made it."""
        units = list(self._split_bitstream(data))
        kinds = [unit[0] & _KIND for unit in units]
        if _IDR in kinds:
            units.insert(kinds.index(_IDR), _MADE_BY_A_MODEL)
        return self._packetize(units)


def _codec(name: str, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
    codec = av.CodecContext.create(name, "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.bit_rate, codec.time_base = bitrate_bps, VIDEO_TIME_BASE
    codec.gop_size = 3_000  # key frames are sent when they are asked for
    return codec


def open_h264(name: str, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
    """An opened encoder that delays no picture. Raises what FFmpeg raises where it cannot be had."""
    codec = _codec(name, width, height, bitrate_bps)
    codec.framerate = Fraction(_H264_FPS, 1)
    codec.max_b_frames = 0
    codec.options = {
        "libx264": {"tune": "zerolatency", "preset": "superfast", "profile": "baseline", "level": "31"},
        "h264_nvenc": {
            "preset": "p2",
            "tune": "ull",
            "zerolatency": "1",
            "delay": "0",
            "forced-idr": "1",
            "profile": "baseline",
            "level": "3.1",
        },
        "h264_qsv": {
            "async_depth": "1",
            "low_power": "0",
            "forced_idr": "1",
            "profile": "baseline",
            "level": "31",
        },
        "h264_videotoolbox": {"realtime": "1", "profile": "baseline", "level": "3.1"},
        "h264_vaapi": {"profile": "constrained_baseline", "level": "3.1"},
    }.get(name, {})
    codec.open()
    return codec


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """Which encoder makes H.264, whether it is offered before VP8, and why."""

    h264: str
    h264_first: bool
    reason: str


def choose_encoder() -> EncoderChoice:
    """Opens each hardware encoder once: the first that takes a picture is used, else VP8 comes first."""
    tried: list[str] = []
    for name in HARDWARE_H264:
        try:
            _try(name)
        except UnknownCodecError:
            tried.append(f"{name}: not built in")
            continue
        except (av.FFmpegError, ValueError) as error:
            why = error.strerror if isinstance(error, av.FFmpegError) else str(error)
            tried.append(f"{name}: {(why or 'fails').lower()}")
            continue
        return EncoderChoice(name, True, f"H.264 first, {name} takes pictures here")
    return EncoderChoice(SOFTWARE_H264, False, f"VP8 first, no hardware encoder works ({'; '.join(tried)})")


def _try(name: str) -> None:
    codec = open_h264(name, 256, 256, bitrates(256, 256).start)
    frame = av.VideoFrame(256, 256, "yuv420p")
    frame.pts, frame.time_base = 0, VIDEO_TIME_BASE
    data = b"".join(bytes(packet) for packet in codec.encode(frame))
    if not data:
        raise ValueError("it holds pictures back")
    if (coded := _PARAMETERS.search(data)) is not None:
        profile, _, level = coded[1]
        if profile != _BASELINE or level > _LEVEL:
            raise ValueError(f"it codes profile {profile}, level {level}; Baseline at 3.1 is answered")
