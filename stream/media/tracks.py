"""Outgoing pictures: each receiver has a track of its own, all fed with the session's newest picture.

The voice is in stream.media.voice.
"""

from __future__ import annotations

import asyncio

import av
import cv2
import numpy as np
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE, MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from engine.arrays import I420
from stream.media.latest_slot import LatestSlot
from stream.media.stepping import FULL, Level, RateGate

RESEND_AFTER_S = 1.0  # the last picture is sent again this often, so that a receiver knows it is alive
_USUAL_SHARE = 0.05  # of a new picture in what is usual
_MIN_STEP_TICKS = VIDEO_CLOCK_RATE // 1_000  # 1 ms: two frames never share a time stamp

Picture = tuple[I420, int, int | None]  # as PictureTrack.push() takes it


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


def scaled_frame(i420: I420, scale: float) -> av.VideoFrame:
    """The picture as a frame for an encoder. scale: of both sides, up to 1; sides come out even."""
    frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    if scale == 1:
        return frame
    width, height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
    return frame.reformat(width=width, height=height, interpolation="AREA")


class Lateness:
    """By how much the last picture is sent later after its capture than pictures usually are."""

    def __init__(self) -> None:
        self.seconds = 0.0  # negative: earlier
        self._usual: float | None = None  # sending less capture, 90 kHz, on clocks of their own

    def note(self, captured_ticks: int, sent_s: float) -> None:
        """A picture is sent."""
        behind = sent_s * VIDEO_CLOCK_RATE - captured_ticks
        if self._usual is None or abs(behind - self._usual) > VIDEO_CLOCK_RATE:
            self._usual = behind  # the first, or another camera's clock
        self._usual += _USUAL_SHARE * (behind - self._usual)
        self.seconds = (behind - self._usual) / VIDEO_CLOCK_RATE


class PictureTrack(MediaStreamTrack):
    """Video sent as it is rendered, newest first, with the capture time as its time stamp.

    The rate is the renderer's own, up to that of `level`: nothing is duplicated to fill a grid. Before the
    first frame nothing is sent. While `paused` nothing is taken in: its receiver costs nothing.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._slot: LatestSlot[Picture] = LatestSlot()
        self._last: I420 | None = None
        self._last_ticks: int | None = None
        self._gate = RateGate(VIDEO_CLOCK_RATE)
        self.level: Level = FULL
        self.paused = False
        self.resent = 0
        self.lateness = Lateness()
        self.captured_ns: int | None = None  # when the last picture's camera frame was here (perf_counter_ns)

    @property
    def dropped(self) -> int:
        """Rendered frames that the encoder was too busy to take."""
        return self._slot.dropped

    def push(self, i420: I420, ticks: int, captured_ns: int | None = None) -> None:
        """Event loop only. i420: see i420_from_rgb, not changed afterwards; ticks: capture time, 90 kHz.

        captured_ns: the same by our clock (perf_counter_ns), where it is known.
        """
        if not self.paused and self._gate.passes(ticks, self.level.fps):
            self._slot.put((i420, ticks, captured_ns))

    async def recv(self) -> av.VideoFrame:
        """The next frame for the encoder."""
        while self.readyState == "live":
            try:
                picture: Picture | None = await asyncio.wait_for(self._slot.get(), RESEND_AFTER_S)
            except asyncio.TimeoutError:
                picture = self._again()
            if picture is not None:
                return self._framed(*picture)
        raise MediaStreamError

    def _again(self) -> Picture | None:
        """The last picture, as if it were taken now; None where there is none, or nobody takes it."""
        if self.readyState != "live" or self._last is None or self._last_ticks is None or self.paused:
            return None
        self.resent += 1
        return self._last, self._last_ticks + round(RESEND_AFTER_S * VIDEO_CLOCK_RATE), None

    def _framed(self, i420: I420, ticks: int, captured_ns: int | None) -> av.VideoFrame:
        self._last = i420
        frame = scaled_frame(i420, self.level.scale)
        frame.pts = self._stamped(ticks, captured_ns)
        frame.time_base = VIDEO_TIME_BASE
        return frame

    def _stamped(self, ticks: int, captured_ns: int | None) -> int:
        """The time stamp to send; it is sent now."""
        self.captured_ns = captured_ns
        self._last_ticks = following_ticks(self._last_ticks, ticks)
        self.lateness.note(self._last_ticks, asyncio.get_running_loop().time())
        return self._last_ticks
