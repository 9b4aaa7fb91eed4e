"""Outgoing media: the avatar's picture as it comes, and the presenter's voice held back to match it.

Knows of aiortc's tracks and of queues; nothing of rendering, sessions or HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import av
import cv2
import numpy as np
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE, MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from stream.latest_slot import LatestSlot

logger = logging.getLogger(__name__)

RESEND_AFTER_S = 1.0  # a still picture is sent again this often, so that a receiver knows it is alive
_MIN_STEP_TICKS = VIDEO_CLOCK_RATE // 1_000  # 1 ms: two frames never share a time stamp

AUDIO_PREFETCH_MS = 80.0  # aiortc's audio jitter buffer holds 4 packets of 20 ms: that much is already late
MAX_AUDIO_DELAY_MS = 1_000.0
AUDIO_QUEUE_FRAMES = 100  # 2 s of 20 ms frames

I420 = NDArray[np.uint8]


def i420_from_rgb(rgb: NDArray[np.uint8]) -> I420:
    """A new (H * 3 / 2, W) uint8 planar YUV 4:2:0 (BT.601, video range) of even-sized (H, W, 3) uint8 RGB."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


def rgb_from_frame(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, contiguous, of a decoded frame in any pixel format."""
    if frame.format.name == "yuv420p" and frame.width % 2 == 0 and frame.height % 2 == 0:
        planes = frame.to_ndarray()
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)


def following_ticks(last_ticks: int | None, wanted_ticks: int) -> int:
    """The time stamp of the next frame: the wanted one, unless time would stand still or run backwards."""
    return wanted_ticks if last_ticks is None else max(wanted_ticks, last_ticks + _MIN_STEP_TICKS)


class AvatarTrack(MediaStreamTrack):
    """Video sent as it is rendered, newest first, with the capture time as its time stamp.

    The rate is the renderer's own: nothing is duplicated to fill a grid. Before the first frame nothing is
    sent.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._slot: LatestSlot[tuple[I420, int]] = LatestSlot()
        self._last: I420 | None = None
        self._last_ticks: int | None = None
        self.resent = 0

    @property
    def dropped(self) -> int:
        """Rendered frames that the encoder was too busy to take."""
        return self._slot.dropped

    def push(self, i420: I420, ticks: int) -> None:
        """Event loop only. i420: see i420_from_rgb, not changed afterwards; ticks: capture time, 90 kHz."""
        self._slot.put((i420, ticks))

    async def recv(self) -> av.VideoFrame:
        """The next frame for the encoder."""
        if self.readyState != "live":
            raise MediaStreamError
        while True:
            try:
                i420, ticks = await asyncio.wait_for(self._slot.get(), RESEND_AFTER_S)
            except asyncio.TimeoutError:
                if self.readyState != "live":
                    raise MediaStreamError from None
                if self._last is None or self._last_ticks is None:
                    continue
                self.resent += 1
                i420, ticks = self._last, self._last_ticks + round(RESEND_AFTER_S * VIDEO_CLOCK_RATE)
            break
        self._last = i420
        self._last_ticks = following_ticks(self._last_ticks, ticks)
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts = self._last_ticks
        frame.time_base = VIDEO_TIME_BASE
        return frame


class SmoothDelay:
    """How long to hold the voice back, in ms: follows the picture's delay slowly, never jumps."""

    def __init__(self) -> None:
        self.delay_ms = 0.0
        self._mean_ms: float | None = None

    def update(self, video_delay_ms: float) -> None:
        """One more measurement of the time a picture spends in the server."""
        if self._mean_ms is None:
            self._mean_ms = video_delay_ms
        self._mean_ms += 0.05 * (video_delay_ms - self._mean_ms)
        wanted_ms = min(max(self._mean_ms - AUDIO_PREFETCH_MS, 0.0), MAX_AUDIO_DELAY_MS)
        self.delay_ms += min(max(wanted_ms - self.delay_ms, -5.0), 5.0)  # at most 5 ms per picture


class DelayedAudioTrack(MediaStreamTrack):
    """The presenter's voice, each frame released `delay.delay_ms` after it came.

    The queue is bounded: a frame that finds it full pushes the oldest out, which is counted and logged once.
    """

    kind = "audio"

    def __init__(self, source: MediaStreamTrack, delay: SmoothDelay) -> None:
        super().__init__()
        self._source = source
        self._delay = delay
        self._queue: deque[tuple[float, av.AudioFrame]] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._clock = asyncio.get_running_loop().time  # seconds
        self._pump = asyncio.create_task(self._drain(), name="audio-pump")
        self.overflows = 0

    async def _drain(self) -> None:
        """Take frames as they come: aiortc's own queue is unbounded and must not be the one that waits."""
        try:
            while True:
                frame = await self._source.recv()
                assert isinstance(frame, av.AudioFrame)
                if len(self._queue) >= AUDIO_QUEUE_FRAMES:
                    self._queue.popleft()
                    self.overflows += 1
                    if self.overflows == 1:
                        logger.warning("audio queue full (%d frames): oldest dropped", AUDIO_QUEUE_FRAMES)
                self._queue.append((self._clock(), frame))
                self._arrived.set()
        except MediaStreamError:
            pass  # the presenter's track has ended
        finally:
            self._ended = True
            self._arrived.set()

    async def recv(self) -> av.AudioFrame:
        """The next frame, when it is due."""
        while not self._queue:
            if self._ended or self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        arrived_s, _ = self._queue[0]
        wait_s = arrived_s + self._delay.delay_ms / 1_000 - self._clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if not self._queue or self.readyState != "live":
            raise MediaStreamError
        return self._queue.popleft()[1]

    def stop(self) -> None:
        """End the track and let go of what waits."""
        super().stop()
        self._pump.cancel()
        self._queue.clear()
        self._arrived.set()
