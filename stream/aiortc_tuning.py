"""Three places where aiortc's defaults cost latency, sharpness or offline use, and what we set instead.

aiortc exposes none of them, so this module reaches into its internals; each function says what it relies on,
and tests/test_stream_tuning.py fails when a new version moves it. Written against aiortc 1.16 and aioice
0.13.
"""

from __future__ import annotations

import aioice.ice
import aiortc.codecs.vpx as vpx
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_VIDEO_CAPACITY_PACKETS = 512  # as in aiortc


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


def receive_promptly(receiver: RTCRtpReceiver) -> None:
    """Give a video receiver the jitter buffer above. Before it has started; relies on one private name."""
    if not isinstance(getattr(receiver, _JITTER_BUFFER), JitterBuffer):
        raise TypeError(f"this aiortc keeps no JitterBuffer in {_JITTER_BUFFER}")
    setattr(receiver, _JITTER_BUFFER, PromptJitterBuffer(capacity=_VIDEO_CAPACITY_PACKETS, is_video=True))


def set_vp8_bitrate(least_bps: int, start_bps: int, most_bps: int) -> None:
    """For every VP8 encoder made from now on in this process; the receiver's estimate moves it within."""
    vpx.MIN_BITRATE, vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE = least_bps, start_bps, most_bps


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
