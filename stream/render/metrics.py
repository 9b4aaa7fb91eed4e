"""What a session tells about itself: frame rates, stage times, ages, drops. Time comes in as an argument.

Every window is bounded, so a session of a day costs what a session of a minute costs. The render thread fills
a RenderReport, the event loop reads whole reports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.stages import percentiles
from stream.render.coach import Look

WINDOW_S = 4.0  # over which rates and percentiles are taken
WINDOW_FRAMES = 240  # at most: 4 s at 60 fps
NO_FRAMES_AFTER_S = 3.0  # a camera silent for this long is said to send nothing
_NS = 1_000_000_000


def summary(values: Iterable[float]) -> dict[str, float | None]:
    """p50 and p95 of `values`, rounded to 0.01; None of nothing."""
    return percentiles(list(values), ("p50", "p95"))


class RateMeter:
    """Events per second over the last few seconds."""

    def __init__(self) -> None:
        self._times_ns: deque[int] = deque(maxlen=WINDOW_FRAMES)

    def tick(self, now_ns: int) -> None:
        """One event happened at `now_ns`."""
        self._times_ns.append(now_ns)

    def rate_hz(self, now_ns: int) -> float:
        """Mean rate over the window; falls to 0 when events stop."""
        while self._times_ns and now_ns - self._times_ns[0] > WINDOW_S * _NS:
            self._times_ns.popleft()
        if len(self._times_ns) < 2:
            return 0.0
        span_ns = max(self._times_ns[-1] - self._times_ns[0], 1)
        silence_ns = now_ns - self._times_ns[-1]
        if silence_ns > _NS:  # events have stopped: count the silence too
            span_ns += silence_ns
        return (len(self._times_ns) - 1) * _NS / span_ns


@dataclass(frozen=True, slots=True)
class RenderReport:
    """How one frame went through the render thread."""

    stage_ms: Mapping[str, float]
    queue_age_ms: float  # from decoded to taken up by the render thread
    server_ms: float  # from decoded to handed to the encoder
    render_ms: float  # of the render thread
    face_found: bool
    calibrating: bool
    look: Look | None = None  # where the presenter is coached
    face: tuple[float, float, float, float] | None = None  # left, top, width, height, of the picture's sides
    others: int = 0  # faces beside the one that is followed
    person: int = 0  # another number: another person is followed
    voice_share: float = 0.0  # how much the voice drove it, 0 to 1
    held_ms: float = 0.0  # by how much the sound that goes with it was here earlier than the frame


@dataclass
class SessionMetrics:
    """Everything counted in one session. Used on the event loop's thread only."""

    frames_in: RateMeter = field(default_factory=RateMeter)
    frames_out: RateMeter = field(default_factory=RateMeter)
    received: int = 0  # frames from the camera
    skipped: int = 0  # of these, not rendered because a lower rate is sent
    rendered: int = 0
    last_frame_ns: int = 0
    last_report: RenderReport | None = None
    _reports: deque[RenderReport] = field(default_factory=lambda: deque(maxlen=WINDOW_FRAMES))

    def on_received(self, now_ns: int) -> None:
        """A frame of the camera was decoded."""
        self.received += 1
        self.last_frame_ns = now_ns
        self.frames_in.tick(now_ns)

    def on_rendered(self, report: RenderReport, now_ns: int) -> None:
        """A frame of the avatar was handed to the encoder."""
        self.rendered += 1
        self.last_report = report
        self.frames_out.tick(now_ns)
        self._reports.append(report)

    def silence_s(self, now_ns: int, started_ns: int) -> float:
        """Since the camera's last frame, or since the start where none has come after it."""
        return (now_ns - max(self.last_frame_ns, started_ns)) / _NS

    def render_ms(self) -> float:
        """What the render thread takes per picture, median; 0 before the first."""
        return summary(report.render_ms for report in self._reports)["p50"] or 0.0

    def snapshot(
        self,
        now_ns: int,
        started_ns: int,
        dropped: int,
        encode_ms: float | None = None,
        by_voice: bool = False,
    ) -> dict[str, Any]:
        """What a session counts, for one message of the "stats" data channel.

        encode_ms: per picture; by_voice: a voice drives, whatever the camera shows.
        """
        fps_out = self.frames_out.rate_hz(now_ns)
        recent = list(self._reports)[-max(2, round(fps_out * WINDOW_S)) :]
        stages = sorted({stage for report in recent for stage in report.stage_ms})
        last = self.last_report
        if by_voice and last is not None:
            state = "live"
        elif self.silence_s(now_ns, started_ns) > NO_FRAMES_AFTER_S:
            state = "no frames from the camera"
        elif last is None:
            state = "starting"
        elif not last.face_found:
            state = "no face seen"
        elif last.calibrating:
            state = "calibrating"
        else:
            state = "live"
        return {
            "state": state,
            "fps_in": round(self.frames_in.rate_hz(now_ns), 1),
            "fps_out": round(fps_out, 1),
            "stage_ms": {s: summary(r.stage_ms[s] for r in recent if s in r.stage_ms) for s in stages},
            "latency_ms": {
                "track": summary(r.stage_ms["track"] for r in recent if "track" in r.stage_ms)["p50"],
                "render": summary(_after_track_ms(r) for r in recent if r.stage_ms)["p50"],
                "encode": None if encode_ms is None else round(encode_ms, 2),
            },
            "server_ms": summary(report.server_ms for report in recent),
            "queue_age_ms": summary(report.queue_age_ms for report in recent),
            "received": self.received,
            "rendered": self.rendered,
            "skipped": self.skipped,
            "dropped": dropped,
            "face_found": last is not None and last.face_found,
            "calibrating": last is not None and last.calibrating,
            "face": None if last is None else last.face,
            "others": 0 if last is None else last.others,
            "person": 0 if last is None else last.person,
        }


def _after_track_ms(report: RenderReport) -> float:
    """From retarget to compose."""
    return sum(ms for stage, ms in report.stage_ms.items() if stage != "track")
