"""One render thread per session: takes the newest camera frame, runs the pipeline, hands the picture back.

Everything that costs CPU time per frame happens here and not on the event loop: colour conversion, pipeline,
frame code. The pipeline is called from this thread only.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
from aiortc.mediastreams import VIDEO_CLOCK_RATE
from numpy.typing import NDArray

from engine.arrays import I420
from engine.effort import Effort
from engine.media.disclosure import MarkStyle, mark
from engine.media.frame_code import read, stamp
from engine.media.frame_size import sized_alike
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral
from engine.pipeline import Companion
from engine.render.background import Background
from engine.voice.own import OwnVoice
from stream import tasks
from stream.media.failure_picture import failure_picture
from stream.media.latest_slot import ThreadLatestSlot
from stream.media.tracks import i420_from_rgb, rgb_from_frame
from stream.render.coach import look_at
from stream.render.live_voice import LiveVoice
from stream.render.metrics import RenderReport

if TYPE_CHECKING:
    from engine.pipeline import Adjustment

logger = logging.getLogger(__name__)

BROKEN_AFTER = 15  # failures in a row: about a second of frames; worth a new pipeline
RECOVERED_AFTER = 100  # good frames in all, before a new pipeline is worth trying again
LOG_EVERY = 300  # failures in a row: every 10 s or so
FAILURE_TEXT = "Paused: the renderer failed"
FAILURE_PX = 256  # where there is no picture yet
_NS = 1_000_000_000


class RenderedFrame(Protocol):
    """What the stream needs of a rendered frame; engine.pipeline.Rendered has more."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, both even; valid until the next call."""

    @property
    def face_found(self) -> bool: ...

    @property
    def calibrating(self) -> bool: ...

    @property
    def stage_ms(self) -> Mapping[str, float]: ...

    @property
    def landmarks(self) -> Landmarks | None:
        """The presenter's, in px of their frame; None where nobody looks for any."""


class FramePipeline(Protocol):
    """What the stream needs of a pipeline. Not thread-safe: one caller."""

    @property
    def runner_reason(self) -> str: ...

    @property
    def own_voice(self) -> OwnVoice | None:
        """How the avatar's person speaks and rests."""

    @property
    def driver(self) -> Neutral | None:
        """Whom motion is measured against, at rest; None where none is measured."""

    @property
    def calibrating(self) -> bool:
        """Whether the driver at rest is still looked for."""

    def drive_by(self, neutral: Neutral) -> None:
        """Take this as the driver at rest."""

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> RenderedFrame:
        """One frame in, one frame out. rgb: (H, W, 3) uint8 RGB, contiguous; None: there is no camera."""

    def accompany(self, companion: Companion | None) -> None:
        """Let this have its say in every frame from the next on."""

    def calibrate(self) -> None: ...

    def set_mirror(self, on: bool) -> None: ...

    def set_background(self, background: Background) -> None: ...

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame from the next on, see `engine.render.frame.checked_frame`."""

    def set_effort(self, effort: Effort) -> None:
        """Do so much for each picture from the next on, until the next reset."""

    def adjust(self, adjustments: Sequence[Adjustment]) -> None:
        """Changes all motion by these, see `engine.pipeline.Adjustment`."""

    def reset(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A decoded camera frame and when the event loop saw it; or a moment that no frame shows."""

    frame: av.VideoFrame | None
    arrived_ns: int
    ticks: int | None = None  # 90 kHz; None: the frame's own


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A picture for the encoder. ticks: the capture time of the camera frame it was made from, 90 kHz."""

    i420: I420
    ticks: int
    report: RenderReport
    is_failure: bool = False  # the frame could not be rendered


class RenderThread(threading.Thread):
    """Runs until stop(). All that it is given is called in this thread and must not block.

    `died` gets the reason where it ended before. While the pipeline fails a failure picture goes out for each
    frame, so that the stream lives; `broken` is called once when it has failed on many frames in a row, and
    again only after it had recovered.
    """

    def __init__(
        self,
        pipeline: FramePipeline,
        deliver: Callable[[Outgoing], None],
        broken: Callable[[], None],
        died: tasks.Tell,
        measure: bool,
        mark_style: MarkStyle | None,
        name: str,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.slot: ThreadLatestSlot[Incoming] = ThreadLatestSlot()
        self.failures = 0  # in a row
        self.voice: LiveVoice | None = None  # that drives beside the camera; set from any thread
        self.coached_lines: int | None = (
            None  # of the recording the presenter is coached for; from any thread
        )
        self._log_context = copy_context()  # whose log lines name the session
        self._pipeline = pipeline
        self._deliver = deliver
        self._broken = broken
        self._died = died
        self._measure = measure
        self._mark_style = mark_style
        self._requests: queue.SimpleQueue[Callable[[FramePipeline], None]] = queue.SimpleQueue()
        self._in_use = threading.Lock()  # the pipeline, for one frame
        self._last: I420 | None = None
        self._good_frames = RECOVERED_AFTER  # in a row

    def ask(self, request: Callable[[FramePipeline], None]) -> None:
        """From any thread: do this with the pipeline before the next frame."""
        self._requests.put(request)

    def swap(self, pipeline: FramePipeline, mark_style: MarkStyle | None, limit_s: float) -> FramePipeline:
        """From any other thread: go on with this pipeline; gives the one before, which is then free.

        Waits for the frame in hand. Raises TimeoutError where that takes longer than limit_s.
        """
        if not self._in_use.acquire(timeout=limit_s):
            raise TimeoutError(f"the renderer did not finish its frame in {limit_s:.0f} s")
        try:
            before, self._pipeline = self._pipeline, pipeline
            self._mark_style = mark_style
            return before
        finally:
            self._in_use.release()

    def stop(self) -> None:
        """From any thread: finish the frame in hand, then end."""
        self.slot.close()

    def run(self) -> None:
        """One frame in, one picture out, in the context in which the thread was made."""
        self._log_context.run(tasks.guard, "render", self._died, self._loop)

    def _loop(self) -> None:
        while (incoming := self.slot.take()) is not None:
            try:
                with self._in_use:
                    while not self._requests.empty():
                        self._requests.get()(self._pipeline)
                    outgoing = self._render(incoming)
            except Exception:  # whatever a pipeline raises must not end the call
                outgoing = self._failure(incoming)
                self._note_failure()
            else:
                self.failures = 0
                self._good_frames += 1
                self._last = outgoing.i420
            self._deliver(outgoing)

    def _note_failure(self) -> None:
        self.failures += 1
        if self.failures in (1, BROKEN_AFTER) or self.failures % LOG_EVERY == 0:
            logger.exception(
                "a frame could not be rendered (%d in a row): a failure picture is shown", self.failures
            )
        if self.failures == BROKEN_AFTER and self._good_frames >= RECOVERED_AFTER:
            self._good_frames = 0  # a pipeline that was built anew and fails again is not built once more
            self._broken()

    def _render(self, incoming: Incoming) -> Outgoing:
        taken_ns = perf_counter_ns()
        ticks, voice = capture_ticks(incoming), self.voice
        rgb = None if incoming.frame is None else rgb_from_frame(incoming.frame)
        number = read(rgb) if self._measure and rgb is not None else None
        if voice is not None:
            voice.advance(incoming.arrived_ns)
        rendered = self._pipeline.process(rgb, ticks * _NS // VIDEO_CLOCK_RATE)
        if voice is not None:
            voice.drew()
        picture = mark(rendered.rgb, self._mark_style) if self._mark_style else rendered.rgb
        if number is not None:
            picture = picture.copy()  # the pipeline may keep its buffer as the previous output
            stamp(picture, number)
        i420 = i420_from_rgb(picture)
        lines, seen = self.coached_lines, rendered.landmarks
        report = RenderReport(
            stage_ms=dict(rendered.stage_ms),
            queue_age_ms=(taken_ns - incoming.arrived_ns) / 1e6,
            server_ms=(perf_counter_ns() - incoming.arrived_ns) / 1e6,
            render_ms=(perf_counter_ns() - taken_ns) / 1e6,
            face_found=rendered.face_found,
            calibrating=rendered.calibrating,
            look=None
            if lines is None or seen is None or rgb is None
            else look_at(sized_alike(rgb, seen.width, seen.height), seen, ticks / VIDEO_CLOCK_RATE, lines),
            face=None if seen is None or not rendered.face_found else _box(seen),
            others=0 if seen is None else seen.others,
            person=0 if seen is None else seen.person,
            voice_share=0.0 if voice is None else voice.share,
            held_ms=0.0 if voice is None else voice.held_ms,
        )
        return Outgoing(i420, ticks, report)

    def _failure(self, incoming: Incoming) -> Outgoing:
        age_ms = (perf_counter_ns() - incoming.arrived_ns) / 1e6
        picture = failure_picture(self._last, FAILURE_TEXT, FAILURE_PX)
        report = RenderReport({}, 0.0, age_ms, 0.0, face_found=False, calibrating=False)
        return Outgoing(picture, capture_ticks(incoming), report, is_failure=True)


def _box(landmarks: Landmarks) -> tuple[float, float, float, float]:
    """Left, top, width and height of the face, each of the picture's side."""
    sides = np.array([landmarks.width, landmarks.height], np.float32)
    low, high = landmarks.face[:, :2].min(axis=0) / sides, landmarks.face[:, :2].max(axis=0) / sides
    left, top, width, height = (round(float(value), 3) for value in (*low, *(high - low)))
    return left, top, width, height


def capture_ticks(incoming: Incoming) -> int:
    """When the frame was captured, on a 90 kHz clock; when it arrived, where it does not say."""
    if incoming.ticks is not None:
        return incoming.ticks
    frame = incoming.frame
    if frame is None or frame.pts is None or frame.time_base is None:
        return incoming.arrived_ns * VIDEO_CLOCK_RATE // _NS
    return frame.pts * VIDEO_CLOCK_RATE * frame.time_base.numerator // frame.time_base.denominator
