"""What we change inside aiortc: still where we expect it, and does what we say."""

from __future__ import annotations

import aioice.ice
import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import RtpPacket

from engine.frame_code import read, stamp
from stream.aiortc_tuning import (
    LEAST_BPS,
    MOST_BPS,
    START_BPS,
    PromptJitterBuffer,
    RenderedVp8Encoder,
    encode_cleanly,
    gather_on_loopback,
    receive_promptly,
)
from stream.tracks import i420_from_rgb, rgb_from_frame


def picture(index: int) -> av.VideoFrame:
    """A numbered picture, 256 px, in which little else moves."""
    rgb = np.full((256, 256, 3), (90, 120, 140), np.uint8)
    rgb[100:180, 80 + index % 7 : 170] = (200, 160, 140)
    stamp(rgb, index)
    frame = av.VideoFrame.from_ndarray(i420_from_rgb(rgb), format="yuv420p")
    frame.pts, frame.time_base = index * 3_000, VIDEO_TIME_BASE
    return frame


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


def test_bitrate_stays_within_bounds_and_reaches_the_encoder() -> None:
    encoder = RenderedVp8Encoder()
    encoder.encode(picture(0))
    assert encoder.codec is not None
    assert encoder.codec.bit_rate == START_BPS
    encoder.target_bitrate = 50_000_000
    encoder.encode(picture(1))
    assert encoder.codec.bit_rate == MOST_BPS
    encoder.target_bitrate = round(0.95 * MOST_BPS)  # too little for the key frame that a change costs
    encoder.encode(picture(2))
    assert encoder.codec.bit_rate == MOST_BPS
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == LEAST_BPS


def test_changed_blocks_are_never_left_standing() -> None:
    """aiortc's webcam set-up (denoiser, static threshold) damaged 13 % of the codes over a talking head."""
    encoder, decoder = RenderedVp8Encoder(), Vp8Decoder()
    for index in range(90):
        payloads, ticks = encoder.encode(picture(index))
        assert ticks == index * 3_000
        data = b"".join(vp8_depayload(payload) for payload in payloads)
        (frame,) = decoder.decode(JitterFrame(data, ticks))
        assert isinstance(frame, av.VideoFrame)
        assert read(rgb_from_frame(frame)) == index


async def test_a_sender_takes_the_encoder() -> None:
    caller, callee = RTCPeerConnection(), RTCPeerConnection()
    caller.addTransceiver("video")
    await caller.setLocalDescription()
    transceiver = callee.addTransceiver("video")
    await callee.setRemoteDescription(caller.localDescription)
    encode_cleanly(transceiver)
    assert isinstance(transceiver.sender.__dict__["_RTCRtpSender__encoder"], RenderedVp8Encoder)
    with pytest.raises(RuntimeError, match="already"):
        encode_cleanly(transceiver)
    await caller.close()
    await callee.close()


def test_loopback_is_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["192.0.2.7"])
    gather_on_loopback()
    gather_on_loopback()
    addresses = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    assert addresses == ["127.0.0.1", "192.0.2.7"]
