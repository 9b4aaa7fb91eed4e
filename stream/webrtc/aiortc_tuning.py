"""Places where aiortc's defaults cost latency, sharpness or offline use, and what we set instead.

aiortc exposes none of them, so this module reaches into its internals; each function says what it relies on,
and tests/stream/test_tuning.py fails when a new version moves it. Written against aiortc 1.16, aioice 0.13.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter_ns, time_ns

import aioice.ice
import aiortc.rtp
from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.jitterbuffer import MAX_MISORDER, JitterBuffer, JitterFrame
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    AnyRtcpPacket,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpSrPacket,
    RtpPacket,
    pack_header_extensions,
    unpack_header_extensions,
)
from aiortc.utils import uint16_add, uint16_gt, uint32_add

from stream.media.encoders import EncoderChoice, RenderedEncoder, RenderedH264Encoder, RenderedVp8Encoder
from stream.webrtc.camera_buffer import PromptJitterBuffer

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_RECEIVER_KIND = "_RTCRtpReceiver__kind"
_ENCODER = "_RTCRtpSender__encoder"
CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
# Ours: pictures say to machines, without being decoded, that a trained model made them. One byte, below.
SOURCE_TYPE = "urn:x-avatarcast:rtp-hdrext:digital-source-type"
TRAINED_ALGORITHMIC_MEDIA = b"\x01"
NTP_EPOCH_NS = 2_208_988_800 * 10**9  # from 1900 to 1970
_NUMBERS = {CAPTURE_TIME: 4, SOURCE_TYPE: 5}  # where we offer them; aiortc's own end with 3
_OF_KIND = {"audio": (CAPTURE_TIME,), "video": (CAPTURE_TIME, SOURCE_TYPE)}  # a voice is the presenter's own
_KEPT = "avatarcast_capture_time"
_EXTENSIONS_MAP = "_RTCRtpSender__rtp_header_extensions_map"
_DECODER_ERROR = "_RTCRtpReceiver__decoder_error"
SILENT_STREAM_S = 1.0  # without a packet: its sender has begun another one


class PromptVoiceBuffer(JitterBuffer):
    """Gives every audio packet out as it comes; stream.media.voice evens out the network's jitter, by media
    time.

    aiortc holds four packets back, 80 ms. Worse, it gives out one packet for each that comes, so that after a
    single lost one the fifteen that it waited for (300 ms) stay in it for the rest of the call.
    """

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self._newest: int | None = None
        self.late = 0  # packets that came after a newer one, and were left out

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Never asks for a key frame; None for a packet that is too late to be heard."""
        number = packet.sequence_number
        newest = self._newest
        if newest is not None and not uint16_gt(number, newest):
            behind = uint16_add(newest, -number)
            if behind < MAX_MISORDER:  # further behind: the sender has started anew
                self.late += 1
                return False, None
        self._newest = number
        data: bytes = getattr(packet, "_data")  # noqa: B009  set by the receiver
        return False, JitterFrame(data=data, timestamp=packet.timestamp)


def receive_promptly(receiver: RTCRtpReceiver) -> PromptVoiceBuffer | PromptJitterBuffer:
    """Give a receiver our buffer of its kind, and return it.

    Before the receiver has started; relies on three private names.
    """
    if not isinstance(getattr(receiver, _JITTER_BUFFER), JitterBuffer):
        raise TypeError(f"this aiortc keeps no JitterBuffer in {_JITTER_BUFFER}")
    if not isinstance(getattr(receiver, _DECODER_ERROR), threading.Event):
        raise TypeError(f"this aiortc keeps no event in {_DECODER_ERROR}")
    buffer: PromptVoiceBuffer | PromptJitterBuffer
    if getattr(receiver, _RECEIVER_KIND) == "audio":
        buffer = PromptVoiceBuffer()
    else:
        buffer = PromptJitterBuffer()
        setattr(receiver, _DECODER_ERROR, buffer.failed)
    setattr(receiver, _JITTER_BUFFER, buffer)
    return buffer


def prefer_codec(transceiver: RTCRtpTransceiver, choice: EncoderChoice) -> None:
    """The cheapest codec first: on a CPU VP8 costs a third of H.264. The other stays as a second choice."""
    first = "video/h264" if choice.h264_first else "video/vp8"
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType.lower() != first))


def encode_cleanly(transceiver: RTCRtpTransceiver, choice: EncoderChoice) -> RenderedEncoder:
    """Give a video sender our encoder of the codec negotiated. Before it starts; two private names."""
    if getattr(transceiver.sender, _ENCODER) is not None:
        raise RuntimeError("the sender has its encoder already")
    is_vp8 = transceiver._codecs[0].mimeType.lower() == "video/vp8"
    encoder = RenderedVp8Encoder() if is_vp8 else RenderedH264Encoder(choice.h264)
    setattr(transceiver.sender, _ENCODER, encoder)
    return encoder


def hear_key_frame_requests(sender: RTCRtpSender, heard: Callable[[], None]) -> None:
    """Call this too, whenever the other side asks for a key frame (PLI, FIR). Relies on one private name."""
    force: Callable[[], None] = sender._send_keyframe

    def force_and_tell() -> None:
        force()
        heard()

    setattr(sender, "_send_keyframe", force_and_tell)  # noqa: B010  a method of one sender


def report_steadily(transceiver: RTCRtpTransceiver, late_s: Callable[[], float]) -> None:
    """Let sender reports tell when a frame is usually sent, not how late the last one happened to be.

    Receivers place sound and picture by them (RFC 3550 section 6.4.1), so each late picture at the moment of
    a report would move the lips for a second. The RTP time is corrected and the NTP time left, which the
    round-trip time needs. late_s: of the last frame, in seconds. After negotiation; relies on two private
    names.
    """
    sender, rate_hz = transceiver.sender, transceiver._codecs[0].clockRate
    send: Callable[[list[AnyRtcpPacket]], Awaitable[None]] = sender._send_rtcp

    async def send_steadily(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                info = packet.sender_info
                info.rtp_timestamp = uint32_add(info.rtp_timestamp, round(late_s() * rate_hz))
        await send(packets)

    setattr(sender, "_send_rtcp", send_steadily)  # noqa: B010  a method of one sender


class TellingMap(HeaderExtensionsMap):
    """Writes into a sender's packets when what is in them was captured, and what made it, where negotiated.

    When: in UTC as NTP has it, 32 bits of seconds and 32 of their fraction: abs-capture-time of WebRTC. A
    packet that is sent again keeps its time. What: see SOURCE_TYPE.
    """

    def __init__(self, captured_ns: Callable[[], int | None]) -> None:
        """captured_ns: of the frame that is being sent, by perf_counter_ns()."""
        super().__init__()
        self._captured_ns = captured_ns
        self._number: int | None = None
        self._source_number: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        """Which numbers the extensions have."""
        super().configure(parameters)
        numbers = {one.uri: one.id for one in parameters.headerExtensions}
        self._number, self._source_number = numbers.get(CAPTURE_TIME), numbers.get(SOURCE_TYPE)

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """Profile and value of the header extension of one packet."""
        profile, packed = super().set(values)
        told: list[tuple[int, bytes]] = []
        if self._source_number is not None:
            told.append((self._source_number, TRAINED_ALGORITHMIC_MEDIA))
        if self._number is not None:
            kept: dict[str, bytes | None] = values.__dict__  # the packet's own
            if _KEPT not in kept:
                kept[_KEPT] = self._now()
            if (captured := kept[_KEPT]) is not None:
                told.append((self._number, captured))
        if not told:
            return profile, packed
        return pack_header_extensions([*unpack_header_extensions(profile, packed), *told])

    def _now(self) -> bytes | None:
        captured_ns = self._captured_ns()
        if captured_ns is None:
            return None
        utc_ns = time_ns() - (perf_counter_ns() - captured_ns)
        return ((utc_ns + NTP_EPOCH_NS) * 2**32 // 10**9).to_bytes(8, "big")


def tell_receivers(sender: RTCRtpSender, captured_ns: Callable[[], int | None]) -> None:
    """Let a sender's packets tell when their frame was captured, and pictures what made them.

    Before it starts; relies on one private name.
    """
    if not isinstance(getattr(sender, _EXTENSIONS_MAP), HeaderExtensionsMap):
        raise TypeError(f"this aiortc keeps no map of header extensions in {_EXTENSIONS_MAP}")
    setattr(sender, _EXTENSIONS_MAP, TellingMap(captured_ns))


def negotiate_extensions() -> None:
    """Let aiortc answer abs-capture-time and SOURCE_TYPE, which it does not know."""
    for kind, wanted in _OF_KIND.items():
        extensions = HEADER_EXTENSIONS[kind]
        for uri in wanted:
            if all(one.uri != uri for one in extensions):
                extensions.append(RTCRtpHeaderExtensionParameters(id=_NUMBERS[uri], uri=uri))


def take_one_stream(receiver: RTCRtpReceiver, clock: Callable[[], float] = monotonic) -> None:
    """Let packets of one SSRC through at a time, and of another only once that one is silent.

    aiortc takes each SSRC of a known payload type for the same stream: the layers of a simulcast, whose
    numbers have nothing to do with each other, would be mixed. Before the receiver has started; relies on one
    private method. clock: in seconds.
    """
    handle: Callable[..., Awaitable[None]] = receiver._handle_rtp_packet
    taken: dict[int, tuple[int, float]] = {}  # by payload type, for repairs have one of their own: SSRC, when

    async def handle_one(packet: RtpPacket, arrival_time_ms: int) -> None:
        now_s = clock()
        ssrc, heard_s = taken.get(packet.payload_type, (packet.ssrc, now_s))
        if ssrc == packet.ssrc or now_s - heard_s > SILENT_STREAM_S:
            taken[packet.payload_type] = packet.ssrc, now_s
            await handle(packet, arrival_time_ms=arrival_time_ms)

    setattr(receiver, "_handle_rtp_packet", handle_one)  # noqa: B010  a method of one receiver


def answer_offered_numbers() -> None:
    """Let aiortc answer every payload type by the number it was offered with.

    It does so from 96 on alone, and calls what was offered as 35 to 63, as Chromium does when it has many
    codecs, by a number of its own.
    """
    aiortc.rtp.DYNAMIC_PAYLOAD_TYPES = range(128)


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
