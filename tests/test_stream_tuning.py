"""What we change inside aiortc: still where we expect it, and does what we say."""

from __future__ import annotations

import aioice.ice
import aiortc.codecs.vpx as vpx
import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from stream.aiortc_tuning import (
    PromptJitterBuffer,
    gather_on_loopback,
    receive_promptly,
    set_vp8_bitrate,
)


def packet(sequence_number: int, timestamp: int, marker: bool) -> RtpPacket:
    made = RtpPacket(sequence_number=sequence_number, timestamp=timestamp, marker=int(marker))
    made.__dict__["_data"] = bytes([sequence_number & 0xFF])  # as the receiver does after parsing
    return made


def test_a_frame_comes_with_its_own_last_packet() -> None:
    """aiortc's own buffer needs the next frame's first packet; if it stops doing so, ours can go."""
    stock, prompt = JitterBuffer(capacity=16, is_video=True), PromptJitterBuffer(capacity=16, is_video=True)
    first, last = packet(10, 3_000, False), packet(11, 3_000, True)
    assert stock.add(first) == prompt.add(first) == (False, None)
    assert stock.add(last) == (False, None)
    _, frame = prompt.add(last)
    assert frame is not None
    assert (frame.data, frame.timestamp) == (bytes([10, 11]), 3_000)


def test_out_of_order_packets_make_whole_frames() -> None:
    buffer = PromptJitterBuffer(capacity=16, is_video=True)
    sequence = [(20, 0, False), (22, 0, True), (21, 0, False), (23, 3_000, True)]
    frames = [buffer.add(packet(*fields))[1] for fields in sequence]
    assert [None if frame is None else frame.data for frame in frames] == [
        None,
        None,
        bytes([20, 21, 22]),
        bytes([23]),
    ]


def test_a_missing_marker_is_made_good_by_the_next_frame() -> None:
    buffer = PromptJitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(1, 0, False))[1] is None
    _, frame = buffer.add(packet(2, 3_000, True))
    assert frame is not None
    assert frame.data == bytes([1])


def test_a_lost_packet_holds_its_frame_back() -> None:
    buffer = PromptJitterBuffer(capacity=16, is_video=True)
    for fields in [(1, 0, False), (3, 0, True), (4, 3_000, True)]:
        assert buffer.add(packet(*fields))[1] is None
    _, frame = buffer.add(packet(2, 0, False))
    assert frame is not None
    assert frame.data == bytes([1, 2, 3])


async def test_a_receiver_takes_the_buffer() -> None:
    connection = RTCPeerConnection()
    receiver = connection.addTransceiver("video").receiver
    receive_promptly(receiver)
    assert isinstance(receiver.__dict__["_RTCRtpReceiver__jitter_buffer"], PromptJitterBuffer)
    await connection.close()


def test_bitrate_reaches_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIN_BITRATE", "DEFAULT_BITRATE", "MAX_BITRATE"):
        monkeypatch.setattr(vpx, name, getattr(vpx, name))  # restored afterwards
    set_vp8_bitrate(300_000, 700_000, 1_100_000)
    encoder = Vp8Encoder()
    assert encoder.target_bitrate == 700_000
    encoder.target_bitrate = 5_000_000
    assert encoder.target_bitrate == 1_100_000
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == 300_000


def test_loopback_is_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["192.0.2.7"])
    gather_on_loopback()
    gather_on_loopback()
    addresses = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    assert addresses == ["127.0.0.1", "192.0.2.7"]
