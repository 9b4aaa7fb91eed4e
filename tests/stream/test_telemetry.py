"""What a server tells Prometheus, read back with Prometheus' own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.render.metrics import RenderReport
from stream.sessions.telemetry import BUCKETS_S, MAX_REASONS, OTHER, Telemetry

SECOND_NS = 1_000_000_000


def telemetry() -> Telemetry:
    return Telemetry(version="1.2.3", avatar='Mia "M." \\ Noé', runner="null", capacity=2)


def report(**stage_ms: float) -> RenderReport:
    return RenderReport(
        stage_ms=stage_ms,
        queue_age_ms=4.0,
        render_ms=40.0,
        server_ms=45.0,
        face_found=True,
        calibrating=False,
    )


def read(source: Telemetry, now_ns: int = 0) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values in the order of the labels' names) -> value of every sample."""
    body, content_type = source.exposition(now_ns)
    assert content_type.startswith("text/plain; version=")
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = (
                sample.name.removeprefix("avatarcast_"),
                tuple(value for _, value in sorted(sample.labels.items())),
            )
            assert key not in found
            found[key] = sample.value
    return found


def test_a_new_server_says_what_it_is_and_that_nothing_happened() -> None:
    found = read(telemetry())
    assert found["build_info", ('Mia "M." \\ Noé', "null", "1.2.3")] == 1
    assert found["sessions_capacity", ()] == 2
    for name in ("sessions_open", "frames_received_total", "frames_dropped_total", "server_seconds_count"):
        assert found[name, ()] == 0
    assert found["frames_per_second", ("out",)] == 0
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_the_event_loops_tasks() -> None:
    source = telemetry()
    source.tasks.set(7)
    assert read(source)["event_loop_tasks", ()] == 7


def test_stage_times_fall_into_buckets_of_seconds() -> None:
    source = telemetry()
    for denoise_ms in (0.5, 14.0, 33.0, 41.0, 700.0):
        source.frame_rendered(report(track=5.0, denoise=denoise_ms), 0)
    found = read(source)
    assert found["stage_seconds_count", ("denoise",)] == 5
    assert found["stage_seconds_sum", ("denoise",)] == pytest.approx(0.7885)
    below = {edge: found["stage_seconds_bucket", (str(edge), "denoise")] for edge in BUCKETS_S}
    assert (below[0.001], below[0.010], below[0.015], below[0.033], below[0.040], below[0.5]) == (
        *(1, 1, 2),
        *(3, 3, 4),
    )
    assert found["stage_seconds_bucket", ("+Inf", "denoise")] == 5
    assert found["stage_seconds_bucket", ("0.005", "track")] == 5
    assert found["queue_age_seconds_sum", ()] == pytest.approx(0.020)
    assert found["server_seconds_sum", ()] == pytest.approx(0.225)


def test_frames_are_counted_and_their_rate_told() -> None:
    source = telemetry()
    for index in range(90):
        source.frame_received(index * SECOND_NS // 30)
        if index % 3 == 0:
            source.frame_rendered(report(), index * SECOND_NS // 30)
    source.dropped.inc(59)
    source.failed.inc()
    found = read(source, now_ns=3 * SECOND_NS)
    assert found["frames_received_total", ()] == 90
    assert found["frames_rendered_total", ()] == 30
    assert found["frames_dropped_total", ()] == 59
    assert found["frames_failed_total", ()] == 1
    assert found["frames_per_second", ("in",)] == pytest.approx(30)
    assert found["frames_per_second", ("out",)] == pytest.approx(10, rel=0.05)
    assert read(source, now_ns=60 * SECOND_NS)["frames_per_second", ("in",)] == 0


def test_sessions_come_and_go() -> None:
    source = telemetry()
    for _ in range(3):
        source.session_opened()
    source.refused.inc()
    source.session_ended("the presenter stopped it")
    source.session_ended("the connection is failed")
    source.capacity.set(1)
    found = read(source)
    assert found["sessions_open", ()] == 1
    assert found["sessions_opened_total", ()] == 3
    assert found["sessions_refused_total", ()] == 1
    assert found["sessions_ended_total", ("the presenter stopped it",)] == 1
    assert found["sessions_capacity", ()] == 1


def test_reasons_do_not_grow_without_bound() -> None:
    source = telemetry()
    for number in range(3 * MAX_REASONS):
        source.session_ended(f"reason {number}")
    source.session_ended("reason 0")
    found = read(source)
    ended = {labels: value for (name, labels), value in found.items() if name == "sessions_ended_total"}
    assert len(ended) == MAX_REASONS + 1
    assert ended["reason 0",] == 2
    assert ended[OTHER,] == 2 * MAX_REASONS


def test_two_servers_do_not_share_figures() -> None:
    one, other = telemetry(), telemetry()
    one.session_opened()
    assert read(one)["sessions_open", ()] == 1
    assert read(other)["sessions_open", ()] == 0
