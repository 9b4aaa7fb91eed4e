"""What we change inside aiortc: still where we expect it, and does what we say."""

from __future__ import annotations

import aioice.ice
import pytest
from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
)

from stream.media.encoders import SOFTWARE_H264, EncoderChoice, RenderedH264Encoder, RenderedVp8Encoder
from stream.webrtc.aiortc_tuning import (
    PromptVoiceBuffer,
    encode_cleanly,
    gather_on_loopback,
    hear_key_frame_requests,
    prefer_codec,
    receive_promptly,
    report_steadily,
)
from stream.webrtc.camera_buffer import PromptJitterBuffer


def packet(sequence_number: int, timestamp: int, marker: bool) -> RtpPacket:
    made = RtpPacket(sequence_number=sequence_number, timestamp=timestamp, marker=int(marker))
    made.__dict__["_data"] = bytes([sequence_number & 0xFF])  # as the receiver does after parsing
    return made


async def test_receivers_take_the_buffer_of_their_kind() -> None:
    connection = RTCPeerConnection()
    for kind, buffer in (("video", PromptJitterBuffer), ("audio", PromptVoiceBuffer)):
        receiver = connection.addTransceiver(kind).receiver
        receive_promptly(receiver)
        made = receiver.__dict__["_RTCRtpReceiver__jitter_buffer"]
        assert isinstance(made, buffer)
        if isinstance(made, PromptJitterBuffer):
            assert receiver.__dict__["_RTCRtpReceiver__decoder_error"] is made.failed
    await connection.close()


def test_the_voice_comes_at_once_and_a_loss_leaves_no_delay() -> None:
    """aiortc's own buffer holds 4 packets back, and for the rest of the call 14 after one was lost.

    If it stops doing so, ours can go.
    """
    stock, prompt = JitterBuffer(capacity=16, prefetch=4), PromptVoiceBuffer()
    sequence = [packet(number, number * 960, True) for number in range(65_500, 65_636) if number != 65_560]
    for each in sequence:
        each.sequence_number %= 1 << 16
    behind = []
    for each in sequence:
        _, frame = prompt.add(each)
        assert frame is not None
        assert frame.timestamp == each.timestamp
        _, frame = stock.add(each)
        behind.append(None if frame is None else (each.timestamp - frame.timestamp) // 960)
    assert behind[10] == 4
    assert behind[-1] == 14


def test_a_packet_of_the_voice_that_comes_too_late_is_left_out() -> None:
    buffer = PromptVoiceBuffer()
    numbers = [10, 12, 11, 12, 13]
    heard = [number for number in numbers if buffer.add(packet(number, number * 960, True))[1] is not None]
    assert heard == [10, 12, 13]
    assert buffer.late == 2
    assert buffer.add(packet(60_000, 0, True))[1] is not None  # a sender that has started anew


@pytest.mark.parametrize(
    ("h264_first", "encoder"), [(False, RenderedVp8Encoder), (True, RenderedH264Encoder)]
)
async def test_a_sender_takes_the_encoder_of_the_codec_that_comes_first(
    h264_first: bool, encoder: type
) -> None:
    caller, callee = RTCPeerConnection(), RTCPeerConnection()
    caller.addTransceiver("video")
    await caller.setLocalDescription()
    transceiver = callee.addTransceiver("video")
    choice = EncoderChoice(SOFTWARE_H264, h264_first, "")
    prefer_codec(transceiver, choice)
    await callee.setRemoteDescription(caller.localDescription)
    assert encode_cleanly(transceiver, choice) is transceiver.sender.__dict__["_RTCRtpSender__encoder"]
    assert isinstance(transceiver.sender.__dict__["_RTCRtpSender__encoder"], encoder)
    with pytest.raises(RuntimeError, match="already"):
        encode_cleanly(transceiver, choice)
    await caller.close()
    await callee.close()


async def test_a_request_for_a_key_frame_is_heard_and_met() -> None:
    connection, heard = RTCPeerConnection(), list[str]()
    sender = connection.addTransceiver("video").sender
    hear_key_frame_requests(sender, lambda: heard.append("asked"))
    await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
    assert heard == ["asked"]
    assert sender.__dict__["_RTCRtpSender__force_keyframe"]
    await connection.close()


async def test_reports_tell_the_usual_time_and_keep_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last picture was 100 ms late: a usual one sent at that moment would bear a time 100 ms on."""
    connection, sent = RTCPeerConnection(), list[AnyRtcpPacket]()
    transceiver = connection.addTransceiver("video")
    await connection.setLocalDescription()
    sender = transceiver.sender

    async def send(packets: list[AnyRtcpPacket]) -> None:
        sent.extend(packets)

    monkeypatch.setattr(sender, "_send_rtcp", send)
    report_steadily(transceiver, lambda: 0.1)
    info = RtcpSenderInfo(ntp_timestamp=77, rtp_timestamp=(1 << 32) - 1_000, packet_count=1, octet_count=2)
    await sender._send_rtcp([RtcpSrPacket(ssrc=1, sender_info=info), RtcpByePacket(sources=[1])])
    assert isinstance(sent[0], RtcpSrPacket)
    assert sent[0].sender_info.rtp_timestamp == 8_000  # round the corner
    assert sent[0].sender_info.ntp_timestamp == 77
    assert isinstance(sent[1], RtcpByePacket)
    await connection.close()


def test_loopback_is_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["192.0.2.7"])
    gather_on_loopback()
    gather_on_loopback()
    addresses = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    assert addresses == ["127.0.0.1", "192.0.2.7"]
