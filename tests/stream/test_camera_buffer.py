"""A camera's pictures from its packets: whole, at once, and none before a key frame, which is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import RtpPacket, is_rtcp

from benchmarks.live.peer import StampedCamera
from stream.media.encoders import RenderedVp8Encoder, open_h264
from stream.sessions.registry import SessionRegistry
from stream.webrtc.camera_buffer import ASK_EVERY_S, GIVE_UP_S, TELL_AFTER_S, PromptJitterBuffer
from stream.webrtc.key_frames import VP8_START, is_key_frame
from tests.support.direct_call import avatars_of, publish
from tests.support.waiting import until

KEY = bytes(3) + VP8_START + bytes(4)  # of a VP8 frame, 0x0 px
DELTA = bytes([1]) * 10


def packet(number: int, timestamp: int, marker: bool, data: bytes = DELTA) -> RtpPacket:
    made = RtpPacket(sequence_number=number, timestamp=timestamp, marker=int(marker))
    made.__dict__["_data"] = data  # as the receiver does after parsing
    return made


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buffer(clock: Clock) -> PromptJitterBuffer:
    """One to which a key frame, packet 9, has come."""
    made = PromptJitterBuffer(capacity=16, clock=clock)
    asks, frame = made.add(packet(9, 0, True, KEY))
    assert not asks
    assert frame is not None
    return made


def test_a_frame_comes_with_its_own_last_packet(buffer: PromptJitterBuffer) -> None:
    """aiortc's own buffer needs the next frame's first packet; if it stops doing so, ours can go."""
    stock = JitterBuffer(capacity=16, is_video=True)
    first, last = packet(10, 3_000, False), packet(11, 3_000, True)
    assert stock.add(first) == buffer.add(first) == (False, None)
    assert stock.add(last) == (False, None)
    _, frame = buffer.add(last)
    assert frame is not None
    assert (frame.data, frame.timestamp) == (2 * DELTA, 3_000)


def test_out_of_order_packets_make_whole_frames(buffer: PromptJitterBuffer) -> None:
    sequence = [(10, 0, False), (12, 0, True), (11, 0, False), (13, 3_000, True)]
    frames = [buffer.add(packet(*fields))[1] for fields in sequence]
    assert [None if frame is None else len(frame.data) for frame in frames] == [None, None, 30, 10]


def test_a_missing_marker_is_made_good_by_the_next_frame(buffer: PromptJitterBuffer) -> None:
    assert buffer.add(packet(10, 0, False))[1] is None
    _, frame = buffer.add(packet(11, 3_000, True))
    assert frame is not None
    assert frame.data == DELTA


def test_a_lost_packet_holds_its_frame_back_until_it_comes_again(
    buffer: PromptJitterBuffer, clock: Clock
) -> None:
    for fields in [(10, 0, False), (12, 0, True), (13, 3_000, True)]:
        assert buffer.add(packet(*fields)) == (False, None)
    clock.now_s += GIVE_UP_S / 2
    asks, frame = buffer.add(packet(11, 0, False))
    assert not asks
    assert frame is not None
    assert frame.data == 3 * DELTA


def test_a_packet_that_does_not_come_again_is_given_up_and_a_key_frame_asked_for(
    buffer: PromptJitterBuffer, clock: Clock
) -> None:
    """aiortc's own buffer waits for as many packets as it holds, and then hands on what refers to nothing."""
    assert buffer.add(packet(10, 0, False)) == (False, None)
    assert buffer.add(packet(12, 0, True)) == (False, None)
    clock.now_s += GIVE_UP_S + 0.01
    assert buffer.add(packet(13, 3_000, True)) == (True, None)  # of a whole picture, without its reference
    assert buffer.add(packet(14, 6_000, True)) == (False, None)  # it is asked for, not again for each
    clock.now_s += ASK_EVERY_S
    assert buffer.add(packet(15, 9_000, True)) == (True, None)  # again, for it has not come
    _, frame = buffer.add(packet(16, 12_000, True, KEY))
    assert frame is not None
    clock.now_s += ASK_EVERY_S
    asks, frame = buffer.add(packet(17, 15_000, True))
    assert not asks
    assert frame is not None
    assert buffer.asked == 2


def test_a_key_frame_that_is_there_already_is_kept(buffer: PromptJitterBuffer, clock: Clock) -> None:
    buffer.add(packet(11, 0, True))
    buffer.add(packet(12, 3_000, False, KEY))
    clock.now_s += GIVE_UP_S + 0.01
    asks, frame = buffer.add(packet(13, 3_000, True))
    assert not asks
    assert frame is not None
    assert frame.data == KEY + DELTA


def test_at_the_start_nothing_comes_before_a_key_frame(clock: Clock) -> None:
    buffer = PromptJitterBuffer(capacity=16, clock=clock)
    assert buffer.add(packet(1, 0, False)) == (False, None)  # one may be under way
    assert buffer.add(packet(2, 0, True)) == (True, None)
    told = [buffer.waits_for_key_frame]
    clock.now_s += TELL_AFTER_S + 0.01
    assert buffer.add(packet(3, 3_000, True)) == (True, None)
    told.append(buffer.waits_for_key_frame)
    assert buffer.add(packet(4, 6_000, True, KEY))[1] is not None
    told.append(buffer.waits_for_key_frame)
    assert told == [False, True, False]


def test_after_a_picture_that_cannot_be_decoded_a_key_frame_is_asked_for(buffer: PromptJitterBuffer) -> None:
    buffer.failed.set()
    assert not buffer.failed.is_set()  # aiortc would clear it, and go on
    assert buffer.add(packet(10, 3_000, True)) == (True, None)
    assert buffer.add(packet(11, 6_000, True, KEY))[1] is not None


def test_a_stream_that_begins_anew_waits_for_its_key_frame(buffer: PromptJitterBuffer) -> None:
    assert buffer.add(packet(40_000, 3_000, True)) == (True, None)
    assert buffer.add(packet(40_001, 6_000, True, KEY))[1] is not None


def pictures() -> Iterator[av.VideoFrame]:
    for index in range(12):
        frame = av.VideoFrame.from_ndarray(np.full((96, 64), 8 * index, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = 3_000 * index, VIDEO_TIME_BASE
        yield frame


def test_key_frames_of_real_encoders() -> None:
    codec = open_h264("libx264", 64, 64, 300_000)
    h264 = [bytes(packet) for frame in pictures() for packet in codec.encode(frame)]
    assert [is_key_frame(data) for data in h264] == [True, *[False] * (len(h264) - 1)]
    assert is_key_frame(h264[0][40:]) is not True  # what is left of one
    vp8 = RenderedVp8Encoder()._open(64, 64, 300_000)
    frames = [bytes(packet) for frame in pictures() for packet in vp8.encode(frame)]
    assert [is_key_frame(data) for data in frames] == [True, *[False] * (len(frames) - 1)]
    assert is_key_frame(b"") is None
    assert is_key_frame(b"\x00\x00\x00\x01\x67\x42\x00\x1f") is None  # parameters alone


def test_recovery_points_count_where_no_whole_key_frames_come() -> None:
    """Intra refresh: the picture is renewed column by column, from a frame that says so."""
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 64, 64, "yuv420p", VIDEO_TIME_BASE
    codec.gop_size = 4
    codec.options = {"tune": "zerolatency", "intra-refresh": "1"}
    kinds = [is_key_frame(bytes(packet)) for frame in pictures() for packet in codec.encode(frame)]
    assert kinds[:2] == [True, False]
    assert any(kinds[2:])


async def test_a_call_whose_first_packets_are_lost() -> None:
    """The first picture is lost, and its repairs: a key frame is asked for, and pictures come."""
    dropped: list[int] = []
    registry = SessionRegistry(avatars_of())
    ramp = np.tile(np.linspace(16, 235, 320).astype(np.uint8), (360, 1))
    session, connection = await publish(registry, StampedCamera(lambda _: ramp, fps=20.0))
    transport = connection.getTransceivers()[0].sender.transport
    send = transport._send_rtp

    async def lossy(data: bytes) -> None:
        if not is_rtcp(data) and len(dropped) < 3:
            dropped.append(len(data))
            return
        await send(data)

    transport.__dict__["_send_rtp"] = lossy
    await until(lambda: session.metrics.received > 3)
    await until(lambda: counted(registry)["avatarcast_key_frames_asked_total"] >= 1)
    assert len(dropped) == 3
    assert not session.presenter.waits_for_key_frame
    await connection.close()
    await registry.close()


def counted(registry: SessionRegistry) -> dict[str, float]:
    text = registry.telemetry.exposition(0)[0].decode()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in lines}


async def test_what_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = SessionRegistry(avatars_of())
    ramp = np.full((360, 320), 128, np.uint8)
    session, connection = await publish(registry, StampedCamera(lambda _: ramp, fps=20.0))
    await until(lambda: session.metrics.received > 1)
    presenter: Any = session.peer()
    deaf: RTCPeerConnection = connection
    deaf.getSenders()[0].__dict__["_send_keyframe"] = lambda: None  # it does not do as it is asked
    presenter._camera_buffer.failed.set()
    await until(lambda: session.stats()["state"] == "waits for a key frame")
    await until(lambda: counted(registry)["avatarcast_sessions_waiting_for_key_frame"] == 1)
    asked = presenter.key_frames_asked
    await until(lambda: presenter.key_frames_asked > asked)
    del deaf.getSenders()[0].__dict__["_send_keyframe"]
    await until(lambda: session.stats()["state"] != "waits for a key frame")
    await connection.close()
    await registry.close()
