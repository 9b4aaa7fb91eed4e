"""The voice is held back as long as the picture, in order, complete, bounded, and drifts nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from hypothesis import given
from hypothesis import strategies as st

from stream.media.voice import (
    MAX_HOLD_MS,
    MOST_STEP_MS,
    QUEUE_FRAMES,
    VOICE_LAG_MS,
    MediaClock,
    SmoothDelay,
    Voice,
)

FRAME_S = 0.020
BOUND_S = 0.045  # by which a voice may be early without being noticed (ITU-R BT.1359-1)


class QueuedVoice(MediaStreamTrack):
    """A microphone fed by the test; its time starts at 0."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[av.AudioFrame | None] = asyncio.Queue()
        self.fed = 0

    def feed(self, count: int) -> None:
        for _ in range(count):
            tone = np.full((1, 960), 1_000, np.int16)
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.pts, frame.sample_rate, frame.time_base = self.fed * 960, 48_000, Fraction(1, 48_000)
            self.frames.put_nowait(frame)
            self.fed += 1

    async def recv(self) -> av.AudioFrame:
        frame = await self.frames.get()
        if frame is None:
            raise MediaStreamError
        return frame


@pytest.fixture
def delay() -> SmoothDelay:
    return SmoothDelay()


@pytest.fixture
async def voice(delay: SmoothDelay) -> AsyncIterator[Voice]:
    voice = Voice(delay)
    yield voice
    await voice.close()


def test_delay_follows_the_picture_slowly_and_within_bounds(delay: SmoothDelay) -> None:
    steps = [delay.delay_ms]
    for _ in range(400):
        delay.update(280.0)
        steps.append(delay.delay_ms)
    assert delay.delay_ms == pytest.approx(280.0 - VOICE_LAG_MS, abs=1)
    assert max(abs(b - a) for a, b in pairwise(steps)) <= MOST_STEP_MS
    for _ in range(400):
        delay.update(2.0)
    assert delay.delay_ms == pytest.approx(0.0, abs=0.01)  # the voice cannot be earlier than it is
    for _ in range(2_000):
        delay.update(60_000.0)
    assert delay.delay_ms <= MAX_HOLD_MS


@pytest.mark.parametrize("drift", [-300e-6, 0.0, 300e-6])
def test_no_drift_in_an_hour_with_a_bad_clock_and_jitter(drift: float) -> None:
    """Sound leaves as long after it was made as at the start, whatever the sound card's clock does.

    drift: of the microphone's clock against ours. Jitter: exponential, 10 ms on average, up to 80 ms.
    """
    rng = np.random.default_rng(3)
    clock, transit_s = MediaClock(), 0.005
    errors: list[float] = []
    for index in range(round(3_600 / FRAME_S)):
        made_s = index * FRAME_S / (1 + drift)  # on our clock, while its own says index * FRAME_S
        arrived_s = made_s + transit_s + min(rng.exponential(0.010), 0.080)
        even_s = clock.even_arrival_s(index * FRAME_S, arrived_s)
        assert even_s <= arrived_s
        errors.append(even_s - (made_s + transit_s))
    assert min(errors[50:]) >= -0.001
    assert max(errors[50:]) < 0.015
    assert max(errors[-1_000:]) < BOUND_S


@given(jitter_ms=st.lists(st.integers(0, 200), min_size=2, max_size=100))
def test_frames_leave_evenly_whatever_the_jitter(jitter_ms: list[int]) -> None:
    """Two frames never swap, and no late one makes the next wait: the envelope rises slowly only."""
    clock = MediaClock()
    arrived_s, even = 0.0, []
    for index, late_ms in enumerate([0, *jitter_ms]):
        arrived_s = max(arrived_s, index * FRAME_S + late_ms / 1e3)
        even.append(clock.even_arrival_s(index * FRAME_S, arrived_s))
    for before, after in pairwise(even):
        assert -1e-9 <= after - before <= FRAME_S + 0.005


async def test_the_voice_is_held_back_in_order_and_complete(voice: Voice, delay: SmoothDelay) -> None:
    source = QueuedVoice()
    delay.delay_ms = 120.0
    track = voice.track()
    voice.listen(source)
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    source.feed(5)
    frames = [await track.recv() for _ in range(5)]
    assert [frame.pts for frame in frames] == [index * 960 for index in range(5)]
    assert loop.time() - start_s >= 0.12
    assert voice.overflows == 0


async def test_another_microphone_goes_on_in_time(voice: Voice) -> None:
    track = voice.track()
    for _ in range(2):
        source = QueuedVoice()
        voice.listen(source)
        source.feed(3)
        await asyncio.sleep(0.05)
        source.frames.put_nowait(None)
    frames = [await track.recv() for _ in range(6)]
    assert [frame.pts for frame in frames] == [index * 960 for index in range(6)]


async def test_every_receiver_hears_it_and_one_that_takes_nothing_costs_nothing(
    voice: Voice, caplog: pytest.LogCaptureFixture
) -> None:
    source, taking, idle = QueuedVoice(), voice.track(), voice.track()
    voice.listen(source)
    for _ in range(QUEUE_FRAMES + 25):
        source.feed(1)
        await taking.recv()
    assert idle.overflows == 25
    assert taking.overflows == 0
    assert len([record for record in caplog.records if "audio queue full" in record.message]) == 1
    voice.drop(idle)
    assert voice.overflows == 0
    with pytest.raises(MediaStreamError):
        await idle.recv()


async def test_muted_is_silence_in_the_same_time(voice: Voice) -> None:
    source, track = QueuedVoice(), voice.track()
    voice.listen(source)
    loudness = []
    for muted in (False, True, False):
        voice.muted = muted
        source.feed(1)
        frame = await track.recv()
        assert frame.samples == 960
        loudness.append(int(np.abs(frame.to_ndarray()).max()))
    assert loudness == [1_000, 0, 1_000]
