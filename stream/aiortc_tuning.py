"""Three places where aiortc's defaults cost latency, sharpness or offline use, and what we set instead.

aiortc exposes none of them, so this module reaches into its internals; each function says what it relies on,
and tests/test_stream_tuning.py fails when a new version moves it. Written against aiortc 1.16, aioice 0.13.
"""

from __future__ import annotations

import aioice.ice
import av
from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from aiortc.rtp import RtpPacket
from av.frame import Frame

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_ENCODER = "_RTCRtpSender__encoder"
_VIDEO_CAPACITY_PACKETS = 512  # as in aiortc

LEAST_BPS, START_BPS, MOST_BPS = 400_000, 900_000, 2_000_000  # sharp at 256 px, still sound at 512
_RECREATE_SHARE = 0.1  # libvpx takes a new bitrate only in a new encoder, which costs a key frame


class PromptJitterBuffer(JitterBuffer):
    """Gives a video frame out with its own last packet (RTP marker bit, RFC 7741 section 4.1).

    aiortc waits for the first packet of the *next* frame: one frame of structural delay, 33 ms at 30 fps.
    """

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        assert self._origin is not None
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                return None
            if packets and packet.timestamp != packets[0].timestamp:
                break  # the marker was missing: the next frame's packet ends this one
            packets.append(packet)
            if packet.marker:
                break
        else:
            return None
        self.remove(len(packets))
        data = b"".join(getattr(packet, "_data") for packet in packets)  # noqa: B009  set by the receiver
        return JitterFrame(data=data, timestamp=packets[0].timestamp)


class RenderedVp8Encoder(Vp8Encoder):
    """VP8 for pictures that hold no sensor noise.

    aiortc sets libvpx up for webcams, with its temporal denoiser and a static threshold: together they leave
    old blocks standing where the picture has changed (13 % of our frame codes came back damaged, 0 %
    without), and the denoiser takes a fifth of the encoding time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bitrate_bps = START_BPS

    @property
    def target_bitrate(self) -> int:
        """In bits per second; set by the receiver's estimates, kept within bounds."""
        return self._bitrate_bps

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._bitrate_bps = max(LEAST_BPS, min(bitrate, MOST_BPS))

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads and time stamp (90 kHz) of one picture."""
        assert isinstance(frame, av.VideoFrame)
        pts, time_base = frame.pts, frame.time_base
        assert pts is not None
        assert time_base is not None
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        codec = self.codec
        if (
            codec is None
            or (codec.width, codec.height) != (frame.width, frame.height)
            or abs(self._bitrate_bps - (codec.bit_rate or 1)) > _RECREATE_SHARE * (codec.bit_rate or 1)
        ):
            codec = self.codec = self._open(frame.width, frame.height)
        if force_keyframe:
            frame.pict_type = av.video.frame.PictureType.I
        data = b"".join(bytes(packet) for packet in codec.encode(frame))
        payloads = self._packetize(data, self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads, convert_timebase(pts, time_base, VIDEO_TIME_BASE)

    def _open(self, width: int, height: int) -> av.VideoCodecContext:
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.bit_rate = self._bitrate_bps
        codec.time_base = VIDEO_TIME_BASE
        codec.gop_size = 3_000  # key frames are sent when they are asked for
        codec.qmin, codec.qmax = 2, 56
        codec.thread_count = 1
        rate = str(self._bitrate_bps)
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


def receive_promptly(receiver: RTCRtpReceiver) -> None:
    """Give a video receiver the jitter buffer above. Before it has started; relies on one private name."""
    if not isinstance(getattr(receiver, _JITTER_BUFFER), JitterBuffer):
        raise TypeError(f"this aiortc keeps no JitterBuffer in {_JITTER_BUFFER}")
    setattr(receiver, _JITTER_BUFFER, PromptJitterBuffer(capacity=_VIDEO_CAPACITY_PACKETS, is_video=True))


def encode_cleanly(transceiver: RTCRtpTransceiver) -> None:
    """Give a video sender the encoder above where VP8 was negotiated. Before it starts; two private names."""
    if getattr(transceiver.sender, _ENCODER) is not None:
        raise RuntimeError("the sender has its encoder already")
    if transceiver._codecs[0].mimeType.lower() == "video/vp8":
        setattr(transceiver.sender, _ENCODER, RenderedVp8Encoder())


def gather_on_loopback() -> None:
    """Let ICE offer 127.0.0.1 too, which aioice leaves out: a call to oneself must work offline."""
    original = aioice.ice.get_host_addresses
    if getattr(original, "with_loopback", False):
        return

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses = original(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
        return ["127.0.0.1", *addresses] if use_ipv4 else addresses

    setattr(get_host_addresses, "with_loopback", True)  # noqa: B010  a mark on a function
    aioice.ice.get_host_addresses = get_host_addresses
