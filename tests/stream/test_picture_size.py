"""A camera's size is known before its picture is decoded, and one that is too large never is."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamTrack
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.live.peer import AiortcPeer
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import SessionLimits
from stream.webrtc import picture_size
from stream.webrtc.picture_size import announced_size, is_too_large
from tests.support.direct_call import avatars_of, present
from tests.support.waiting import until

START = b"\x00\x00\x00\x01"


def coded(codec: str, width: int, height: int, options: dict[str, str], frames: int = 2) -> list[bytes]:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, options.get("pix_fmt", "yuv420p")
    context.time_base, context.thread_count = fractions.Fraction(1, 30), 1
    context.options = {name: value for name, value in options.items() if name != "pix_fmt"}
    out: list[bytes] = []
    for index in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 100, np.uint8), format="yuv420p")
        frame.pts = index
        out += [bytes(packet) for packet in context.encode(frame.reformat(format=context.pix_fmt))]
    return out + [bytes(packet) for packet in context.encode(None)]


def vp8(width: int, height: int, frames: int = 2) -> list[bytes]:
    options = {"deadline": "realtime", "lag-in-frames": "0"}
    return coded("libvpx", width, height, options, frames)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1920, 1080), (64, 2050)])
def test_vp8_says_its_size_in_key_frames(width: int, height: int) -> None:
    key, other = vp8(width, height)
    assert announced_size(key) == (width, height)
    assert announced_size(other) is None


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 720), (640, 368)])
@pytest.mark.parametrize(
    "options",
    [
        {"profile": "baseline", "tune": "zerolatency"},
        {"profile": "high", "tune": "zerolatency"},
        {"profile": "high", "flags": "+ildct", "x264-params": "interlaced=1"},
        {"profile": "high444", "pix_fmt": "yuv444p", "x264-params": "cqm=jvt"},
    ],
    ids=["baseline", "high", "interlaced", "scaling lists"],
)
def test_h264_says_its_size_in_parameter_sets(width: int, height: int, options: dict[str, str]) -> None:
    first, *_ = coded("libx264", width, height, options)
    size = announced_size(first)
    assert size is not None
    in_field_pairs = 32 if "interlaced" in str(options) else 16
    assert size == (width, -(-height // in_field_pairs) * in_field_pairs)  # cropping comes later


def test_a_start_code_of_three_bytes_hides_nothing() -> None:
    """Decoders take it as well as four bytes, also in the middle of what looks like another unit."""
    first, *_ = coded("libx264", 320, 240, {"tune": "zerolatency"})
    large, *_ = coded("libx264", 2048, 1600, {"tune": "zerolatency"})
    hidden = first + b"\x41\x00" + large.replace(START, START[1:])
    assert announced_size(hidden) == (2048, 1600)


@pytest.mark.parametrize(
    ("size", "too_large"),
    [
        ((640, 480), False),
        ((1920, 1088), False),
        ((1080, 1920), False),
        ((1920, 1216), True),
        ((2064, 16), True),
        ((8192, 8192), True),
    ],
)
def test_what_is_too_large(size: tuple[int, int], too_large: bool) -> None:
    assert is_too_large(size) is too_large


@given(st.binary(max_size=200), st.sampled_from([b"", START + b"\x67", START + b"\x67\x64\x00\x1f"]))
def test_whatever_comes_is_a_size_nothing_or_a_value_error(tail: bytes, head: bytes) -> None:
    try:
        size = announced_size(head + tail)
    except ValueError:
        return
    assert size is None or min(size) >= 0


def test_a_picture_of_parameter_sets_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 700 KB hardly any are read."""
    read: list[bytes] = []

    def reading(data: bytes) -> picture_size.Size:
        read.append(data)
        return whole(data)

    whole = picture_size._sps_size
    monkeypatch.setattr(picture_size, "_sps_size", reading)
    high = START + b"\x67\x64" + bytes(range(1, 200)) * 9
    for unit in (START + b"\x67", START + b"\x67" + b"\x00" * 40, high):
        with pytest.raises(ValueError, match="parameter set"):
            announced_size(unit * (700_000 // len(unit)))
        assert sum(map(len, read)) < 40_000
        read.clear()


class Packets(MediaStreamTrack):
    """A camera that sends what is already coded."""

    kind = "video"

    def __init__(self, frames: Callable[[], list[bytes]]) -> None:
        super().__init__()
        self.frames = frames
        self.sent = 0

    async def recv(self) -> Any:
        await asyncio.sleep(0.05)
        frames = self.frames()
        packet = av.Packet(frames[self.sent % len(frames)])
        packet.pts, packet.time_base = self.sent * 4500, fractions.Fraction(1, 90_000)
        self.sent += 1
        return packet


async def test_a_camera_that_is_too_large_is_told_so_and_never_decoded() -> None:
    """A camera of 8192 px took 2 GB. One that is made smaller is taken at once."""
    small, large = vp8(320, 240, 1), vp8(2048, 1600, 1)
    shown = large
    registry = SessionRegistry(avatars_of())
    peer = AiortcPeer("", Packets(lambda: shown))
    session = await present(registry, peer)
    await until(lambda: any("2048x1600" in (message["message"] or "") for _, message in peer.stats))
    assert peer.stats[-1][1]["message"].endswith("choose a smaller size.")
    assert session.metrics.snapshot(0, 0, 0, None)["received"] == 0
    shown = small
    await until(lambda: peer.arrivals and peer.stats[-1][1]["message"] is None)
    await peer.close()
    await registry.close()


async def test_a_session_whose_camera_stays_too_large_ends_for_that_reason() -> None:
    large = vp8(2048, 1600, 1)
    registry = SessionRegistry(avatars_of(), RegistryConfig(limits=SessionLimits(silent_camera_s=1.0)))
    peer = AiortcPeer("", Packets(lambda: large))
    session = await present(registry, peer)
    await until(lambda: session.end_reason is not None)
    assert session.end_reason == "the camera's pictures are too large"
    await peer.close()
    await registry.close()
