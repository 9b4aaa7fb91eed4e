"""Outgoing pictures: time stamps only grow, stills are re-sent, rate and size follow the level."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from hypothesis import given
from hypothesis import strategies as st

import stream.media.tracks
from stream.media.stepping import Level
from stream.media.tracks import (
    Lateness,
    PictureTrack,
    following_ticks,
    i420_from_rgb,
    rgb_from_frame,
)


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
    monkeypatch.setattr(stream.media.tracks, "RESEND_AFTER_S", 0.05)
    track = PictureTrack()
    picture = i420_from_rgb(np.zeros((32, 32, 3), np.uint8))
    for ticks in (0, 3_000, 6_000):
        track.push(picture, ticks)
    first = await track.recv()
    assert (first.pts, first.time_base, track.dropped) == (6_000, VIDEO_TIME_BASE, 2)
    again = await track.recv()  # nothing came: the last one is sent again, later in time
    assert track.resent == 1
    assert again.pts is not None
    assert again.pts > 6_000
    track.push(picture, 9_000)  # captured before the re-sent one was: time must not run backwards
    assert (await track.recv()).pts == again.pts + 90


def test_lateness_is_against_what_is_usual() -> None:
    late = Lateness()
    for index in range(200):  # 50 ms after capture, now and then 250
        sent_s = index / 25 + (0.250 if index % 50 == 49 else 0.050)
        late.note(index * 3_600, sent_s)
        if index % 50 == 49:
            assert late.seconds > 0.15
        elif index > 100 and index % 50 > 40:
            assert abs(late.seconds) < 0.010
    late.note(0, 1_000.0)  # another camera's clock
    assert late.seconds == 0


async def test_nothing_is_sent_before_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.media.tracks, "RESEND_AFTER_S", 0.01)
    track = PictureTrack()
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting


async def test_a_lower_rate_and_a_smaller_picture_are_sent_on_demand() -> None:
    track = PictureTrack()
    picture = i420_from_rgb(np.full((64, 64, 3), 200, np.uint8))
    track.level = Level(fps=15, scale=0.5)
    sent = []
    for index in range(30):  # a second at 30 per second
        track.push(picture, index * 3_000)
        if track._slot._ready.is_set():
            sent.append(await track.recv())
    assert len(sent) == 15
    assert {(frame.width, frame.height) for frame in sent} == {(32, 32)}
    assert abs(int(rgb_from_frame(sent[0]).mean()) - 200) <= 3
    track.stop()


async def test_a_paused_track_takes_nothing_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its receiver has stopped reading: nothing is encoded for it, not even stills."""
    monkeypatch.setattr(stream.media.tracks, "RESEND_AFTER_S", 0.01)
    track = PictureTrack()
    picture = i420_from_rgb(np.zeros((32, 32, 3), np.uint8))
    track.push(picture, 0)
    await track.recv()
    track.paused = True
    for index in range(1, 50):
        track.push(picture, index * 3_000)
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert track.dropped == 0
    track.paused = False
    track.push(picture, 60 * 3_000)
    last = await waiting
    while last.pts != 60 * 3_000:  # the last one may have come first once more
        last = await track.recv()
    track.stop()
