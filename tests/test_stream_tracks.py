"""Outgoing tracks: time stamps only grow, stills are re-sent, the voice is held back and never lost."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError, MediaStreamTrack
from hypothesis import given
from hypothesis import strategies as st

import stream.tracks
from stream.tracks import (
    AUDIO_PREFETCH_MS,
    AvatarTrack,
    DelayedAudioTrack,
    SmoothDelay,
    following_ticks,
    i420_from_rgb,
    rgb_from_frame,
)


class QueuedVoice(MediaStreamTrack):
    """A microphone fed by the test."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[av.AudioFrame | None] = asyncio.Queue()

    def feed(self, count: int) -> None:
        for index in range(count):
            frame = av.AudioFrame(format="s16", layout="mono", samples=960)
            frame.pts, frame.sample_rate, frame.time_base = index * 960, 48_000, Fraction(1, 48_000)
            self.frames.put_nowait(frame)

    async def recv(self) -> av.AudioFrame:
        frame = await self.frames.get()
        if frame is None:
            raise MediaStreamError
        return frame


@given(wanted=st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_time_stamps_only_grow(wanted: list[int]) -> None:
    last: int | None = None
    for ticks in wanted:
        stamped = following_ticks(last, ticks)
        assert stamped >= ticks
        assert last is None or stamped > last
        last = stamped


def test_colour_round_trip() -> None:
    """Flat colours survive YUV 4:2:0 within 3 of 255; a swapped channel would be off by 100."""
    for colour in [(200, 30, 40), (20, 180, 60), (30, 60, 220), (128, 128, 128)]:
        rgb = np.full((48, 64, 3), colour, np.uint8)
        frame = av.VideoFrame.from_ndarray(i420_from_rgb(rgb), format="yuv420p")
        back = rgb_from_frame(frame)
        assert back.flags.c_contiguous
        assert np.abs(back.astype(int) - rgb).max() <= 3


def test_odd_sizes_and_other_formats_are_converted_too() -> None:
    rgb = np.full((47, 63, 3), (200, 30, 40), np.uint8)
    back = rgb_from_frame(av.VideoFrame.from_ndarray(rgb, format="rgb24"))
    assert back.shape == (47, 63, 3)
    assert np.abs(back.astype(int) - rgb).max() <= 3


async def test_newest_picture_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.tracks, "RESEND_AFTER_S", 0.05)
    track = AvatarTrack()
    picture = i420_from_rgb(np.zeros((32, 32, 3), np.uint8))
    for ticks in (0, 3_000, 6_000):
        track.push(picture, ticks)
    first = await track.recv()
    assert (first.pts, first.time_base, track.dropped) == (6_000, VIDEO_TIME_BASE, 2)
    again = await track.recv()  # nothing came: the still is sent again, later in time
    assert track.resent == 1
    assert again.pts is not None
    assert again.pts > 6_000
    track.push(picture, 6_100)  # captured before the re-sent still was: time must not run backwards
    assert (await track.recv()).pts == again.pts + 90


async def test_nothing_is_sent_before_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.tracks, "RESEND_AFTER_S", 0.01)
    track = AvatarTrack()
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting


def test_delay_follows_slowly_and_accounts_for_the_jitter_buffer() -> None:
    delay = SmoothDelay()
    steps = [delay.delay_ms]
    for _ in range(400):
        delay.update(280.0)
        steps.append(delay.delay_ms)
    assert delay.delay_ms == pytest.approx(280.0 - AUDIO_PREFETCH_MS, abs=1)
    assert max(abs(b - a) for a, b in pairwise(steps)) <= 5.0
    for _ in range(400):
        delay.update(30.0)
    assert delay.delay_ms == pytest.approx(0.0, abs=0.01)  # the voice cannot be earlier than it is
    for _ in range(2_000):
        delay.update(60_000.0)
    assert delay.delay_ms <= stream.tracks.MAX_AUDIO_DELAY_MS


async def test_voice_is_held_back_in_order_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, waits_s = asyncio.sleep, list[float]()

    async def noting_sleep(wait_s: float) -> None:
        waits_s.append(wait_s)
        await sleep(wait_s)

    monkeypatch.setattr(asyncio, "sleep", noting_sleep)
    source, delay = QueuedVoice(), SmoothDelay()
    delay.delay_ms = 120.0
    track = DelayedAudioTrack(source, delay)
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    source.feed(10)
    frames = [await track.recv() for _ in range(10)]
    assert [frame.pts for frame in frames] == [index * 960 for index in range(10)]
    assert loop.time() - start_s >= 0.12
    assert sum(waits_s) < 0.6  # all by the same time, not each after the one before
    assert track.overflows == 0
    source.frames.put_nowait(None)
    with pytest.raises(MediaStreamError):
        await track.recv()
    track.stop()


async def test_a_voice_nobody_takes_stays_bounded_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    source, delay = QueuedVoice(), SmoothDelay()
    delay.delay_ms = 1_000.0
    track = DelayedAudioTrack(source, delay)
    source.feed(stream.tracks.AUDIO_QUEUE_FRAMES + 25)
    await asyncio.sleep(0.05)
    assert track.overflows == 25
    assert len([record for record in caplog.records if "audio queue full" in record.message]) == 1
    delay.delay_ms = 0.0
    assert (await track.recv()).pts == 25 * 960
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
