"""What a server tells Prometheus: stage times, frame rates, ages, drops, sessions, the process itself.

One Telemetry per server, with a registry of its own; nothing is global. A page's own figures are in
stream/render/metrics.py. Knows nothing of HTTP. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stream import tasks
from stream.render.metrics import RateMeter, RenderReport
from stream.webrtc.datagram_filter import REASONS

# From a stage of 1 ms to a frame of half a second; 0.033 and 0.040 are the frame times of 30 and 25 Hz.
BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.010, 0.015, 0.020, 0.025, 0.033, 0.040, 0.050),
    *(0.066, 0.080, 0.100, 0.150, 0.200, 0.300, 0.500),
)
MAX_REASONS = 32  # different texts that sessions end with; a label must not grow without bound
OTHER = "other"


class Telemetry:
    """Counts on the event loop's thread; `exposition` may be called from any.

    What is one number is set or counted by whoever knows it.
    """

    def __init__(self, version: str, avatar: str, runner: str, capacity: int) -> None:
        """version, avatar, runner: told as they are; capacity: sessions that may be open at once."""
        self._registry = registry = CollectorRegistry()
        self._frames_in, self._frames_out = RateMeter(), RateMeter()
        self._reasons: set[str] = set()

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"avatarcast_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, labels: Iterable[str] = ()) -> Histogram:
            return Histogram(f"avatarcast_{name}", text, labels, registry=registry, buckets=BUCKETS_S)

        self._received = counter("frames_received", "Camera frames decoded.")
        self._rendered = counter("frames_rendered", "Pictures of the avatar handed to an encoder.")
        self.failed = counter("frames_failed", "Camera frames on which the pipeline raised an error.")
        self.dropped = counter("frames_dropped", "Frames left out because a newer one was there.")
        self.key_frames = counter("key_frames_asked", "Key frames that cameras were asked for.")
        self.waiting = Gauge(
            "avatarcast_sessions_waiting_for_key_frame",
            "Sessions whose camera's packets come and make no picture yet.",
            registry=registry,
        )
        self._datagrams = counter("datagrams_dropped", "Datagrams left out of a call, by reason.", ["reason"])
        for reason in REASONS:  # told from the start, so that an alert sees the first one rise
            self._datagrams.labels(reason)
        self._stage = histogram("stage_seconds", "Time of one stage of one frame.", ["stage"])
        self._queue_age = histogram("queue_age_seconds", "From decoded to taken up by the renderer.")
        self._server = histogram("server_seconds", "From decoded to handed to the encoder.")
        self._open = Gauge("avatarcast_sessions_open", "Sessions now.", registry=registry)
        self.capacity = Gauge(
            "avatarcast_sessions_capacity", "Sessions that may be open at once.", registry=registry
        )
        self.tasks = Gauge("avatarcast_event_loop_tasks", "Tasks of the event loop.", registry=registry)
        self._opened = counter("sessions_opened", "Sessions that were let in.")
        self.refused = counter("sessions_refused", "Requests for a session that were turned away.")
        self.turned_away = counter(
            "connections_turned_away", "HTTP connections closed to bound what one client, or all, may have."
        )
        self._ended = counter("sessions_ended", "Sessions that ended, by reason.", ["reason"])
        build = Gauge(
            "avatarcast_build_info", "Always 1.", ["version", "avatar", "runner"], registry=registry
        )
        build.labels(version, avatar, runner).set(1)
        self.capacity.set(capacity)
        registry.register(_TaskFailures())
        ProcessCollector(namespace="avatarcast", registry=registry)

    def session_opened(self) -> None:
        """A session was let in."""
        self._opened.inc()
        self._open.inc()

    def session_ended(self, reason: str) -> None:
        """A session that was counted by session_opened is over. reason: one of a few fixed texts."""
        if reason not in self._reasons:
            reason = reason if len(self._reasons) < MAX_REASONS else OTHER
            self._reasons.add(reason)
        self._ended.labels(reason).inc()
        self._open.dec()

    def frame_received(self, now_ns: int) -> None:
        """A camera frame was decoded."""
        self._received.inc()
        self._frames_in.tick(now_ns)

    def frame_rendered(self, report: RenderReport, now_ns: int) -> None:
        """A picture was handed to an encoder."""
        self._rendered.inc()
        self._frames_out.tick(now_ns)
        for stage, stage_ms in report.stage_ms.items():
            self._stage.labels(stage).observe(stage_ms / 1_000)
        self._queue_age.observe(report.queue_age_ms / 1_000)
        self._server.observe(report.server_ms / 1_000)

    def datagram_dropped(self, reason: str) -> None:
        """A datagram was left out. reason: one of stream.webrtc.datagram_filter.REASONS."""
        self._datagrams.labels(reason).inc()

    def exposition(self, now_ns: int) -> tuple[bytes, str]:
        """The answer to a scrape: body and content type."""
        both = (_Rates(self._frames_in.rate_hz(now_ns), self._frames_out.rate_hz(now_ns)), self._registry)
        return b"".join(generate_latest(part) for part in both), CONTENT_TYPE_LATEST


class _TaskFailures(Collector):
    """Of the whole process, like its memory."""

    def collect(self) -> Iterable[Metric]:
        failures = CounterMetricFamily(
            "avatarcast_task_failures", "Tasks and threads that ended by an error, by name.", labels=["task"]
        )
        for name, count in list(tasks.failures.items()):
            failures.add_metric([name], count)
        return [failures]


class _Rates(Collector):
    """Frames per second over the last seconds, all sessions together."""

    def __init__(self, in_hz: float, out_hz: float) -> None:
        self._in_hz, self._out_hz = in_hz, out_hz

    def collect(self) -> Iterable[Metric]:
        rates = GaugeMetricFamily(
            "avatarcast_frames_per_second", "Over the last seconds, all sessions.", labels=["direction"]
        )
        rates.add_metric(["in"], self._in_hz)
        rates.add_metric(["out"], self._out_hz)
        return [rates]
