"""One render thread per session: takes the newest camera frame, runs the pipeline, hands the picture back.

Everything that costs CPU time per frame happens here and not on the event loop: colour conversion, pipeline,
frame code. The pipeline is called from this thread only. Knows nothing of WebRTC beyond decoded frames.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Protocol

import av
import numpy as np
from aiortc.mediastreams import VIDEO_CLOCK_RATE
from numpy.typing import NDArray

from engine.background import Background
from engine.disclosure import mark
from engine.frame_code import read, stamp
from stream.latest_slot import ThreadLatestSlot
from stream.metrics import RenderReport
from stream.tracks import I420, i420_from_rgb, rgb_from_frame

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 30  # a pipeline that fails this often has failed for good: 1 to 2 s of frames
_NS = 1_000_000_000


class RenderedFrame(Protocol):
    """What the stream needs of a rendered frame; engine.pipeline.Rendered has more."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(S, S, 3) uint8 RGB, S even; valid until the next call."""

    @property
    def face_found(self) -> bool: ...

    @property
    def calibrating(self) -> bool: ...

    @property
    def stage_ms(self) -> Mapping[str, float]: ...


class FramePipeline(Protocol):
    """What the stream needs of a pipeline. Not thread-safe: one caller."""

    @property
    def runner_reason(self) -> str: ...

    def process(self, rgb: NDArray[np.uint8], time_ns: int) -> RenderedFrame:
        """One frame in, one frame out. rgb: (H, W, 3) uint8 RGB, contiguous."""

    def calibrate(self) -> None: ...

    def set_mirror(self, on: bool) -> None: ...

    def set_background(self, background: Background) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A decoded camera frame and when the event loop saw it."""

    frame: av.VideoFrame
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A picture for the encoder. ticks: the capture time of the camera frame it was made from, 90 kHz."""

    i420: I420
    ticks: int
    report: RenderReport


class RenderThread(threading.Thread):
    """Runs until stop(). `deliver`, `failed` and `broken` are called in this thread and must not block."""

    def __init__(
        self,
        pipeline: FramePipeline,
        deliver: Callable[[Outgoing], None],
        failed: Callable[[], None],
        broken: Callable[[], None],
        measure: bool,
        mark_pictures: bool,
        name: str,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.slot: ThreadLatestSlot[Incoming] = ThreadLatestSlot()
        self.is_broken = False  # the pipeline failed for good: do not use it again
        self._pipeline = pipeline
        self._deliver = deliver
        self._failed = failed
        self._broken = broken
        self._measure = measure
        self._mark_pictures = mark_pictures
        self._requests: queue.SimpleQueue[Callable[[FramePipeline], None]] = queue.SimpleQueue()
        self._failures = 0

    def ask(self, request: Callable[[FramePipeline], None]) -> None:
        """From any thread: do this with the pipeline before the next frame."""
        self._requests.put(request)

    def stop(self) -> None:
        """From any thread: finish the frame in hand, then end."""
        self.slot.close()

    def run(self) -> None:
        """The loop. One bad frame is dropped and counted; many in a row end it."""
        while (incoming := self.slot.take()) is not None:
            try:
                while not self._requests.empty():
                    self._requests.get()(self._pipeline)
                outgoing = self._render(incoming)
            except Exception:  # whatever a pipeline raises must not end the call with one frame
                self._failures += 1
                logger.exception("one frame was dropped: the pipeline failed (%d in a row)", self._failures)
                self._failed()
                if self._failures >= FAILURES_IN_A_ROW:
                    self.is_broken = True
                    self._broken()
                    return
                continue
            self._failures = 0
            self._deliver(outgoing)

    def _render(self, incoming: Incoming) -> Outgoing:
        taken_ns = perf_counter_ns()
        frame = incoming.frame
        if frame.pts is None or frame.time_base is None:
            ticks = incoming.arrived_ns * VIDEO_CLOCK_RATE // _NS
        else:
            base = frame.time_base
            ticks = frame.pts * VIDEO_CLOCK_RATE * base.numerator // base.denominator
        rgb = rgb_from_frame(frame)
        number = read(rgb) if self._measure else None
        rendered = self._pipeline.process(rgb, ticks * _NS // VIDEO_CLOCK_RATE)
        picture = mark(rendered.rgb) if self._mark_pictures else rendered.rgb
        if number is not None:
            picture = picture.copy()  # the pipeline may keep its buffer as the previous output
            stamp(picture, number)
        i420 = i420_from_rgb(picture)
        report = RenderReport(
            stage_ms=dict(rendered.stage_ms),
            queue_age_ms=(taken_ns - incoming.arrived_ns) / 1e6,
            server_ms=(perf_counter_ns() - incoming.arrived_ns) / 1e6,
            face_found=rendered.face_found,
            calibrating=rendered.calibrating,
        )
        return Outgoing(i420, ticks, report)
