"""Rates, percentiles and the session's one word about itself; time is an argument, nothing sleeps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stream.render.metrics import RateMeter, RenderReport, SessionMetrics, summary

SECOND_NS = 1_000_000_000


def report(face_found: bool = True, calibrating: bool = False, track_ms: float = 5.0) -> RenderReport:
    stage_ms = {"track": track_ms, "warp": 4.0, "denoise": 20.0}
    return RenderReport(stage_ms, 1.0, 30.0, 29.0, face_found, calibrating)


def test_percentiles() -> None:
    assert summary([3.0]) == {"p50": 3.0, "p95": 3.0}
    assert summary(float(value) for value in range(101)) == {"p50": 50.0, "p95": 95.0}
    assert summary([1.0, 2.004, 3.0]) == {"p50": 2.0, "p95": 2.9}
    assert summary([]) == {"p50": None, "p95": None}


@pytest.mark.parametrize("fps", [5, 15, 25, 60])
def test_rate_is_exact_on_an_even_stream(fps: int) -> None:
    meter = RateMeter()
    now_ns = 0
    for index in range(fps * 6):
        now_ns = index * SECOND_NS // fps
        meter.tick(now_ns)
    assert meter.rate_hz(now_ns) == pytest.approx(fps, rel=0.02)


def test_rate_falls_to_zero_when_events_stop() -> None:
    meter = RateMeter()
    for index in range(60):
        meter.tick(index * SECOND_NS // 30)
    last_ns = 59 * SECOND_NS // 30
    rates = [meter.rate_hz(last_ns + seconds * SECOND_NS) for seconds in range(6)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0.0


def test_it_says_which_face_is_followed() -> None:
    metrics = SessionMetrics()
    assert metrics.snapshot(0, 0, 0)["face"] is None
    seen = replace(report(), face=(0.1, 0.2, 0.3, 0.4), others=1, person=2)
    metrics.on_rendered(seen, SECOND_NS)
    message = json.loads(json.dumps(metrics.snapshot(SECOND_NS, 0, 0)))
    assert message["face"] == [0.1, 0.2, 0.3, 0.4]
    assert (message["others"], message["person"]) == (1, 2)


def test_states_in_words() -> None:
    metrics = SessionMetrics()
    assert metrics.snapshot(SECOND_NS, 0, 0)["state"] == "starting"
    assert metrics.snapshot(4 * SECOND_NS, 0, 0)["state"] == "no frames from the camera"
    now_ns = 5 * SECOND_NS
    metrics.on_received(now_ns)
    for kwargs, state in (
        ({"face_found": False}, "no face seen"),
        ({"calibrating": True}, "calibrating"),
        ({}, "live"),
    ):
        metrics.on_rendered(report(**kwargs), now_ns)
        assert metrics.snapshot(now_ns, 0, 0)["state"] == state
    assert metrics.snapshot(now_ns + 4 * SECOND_NS, 0, 0)["state"] == "no frames from the camera"


def test_snapshot_is_json_and_bounded() -> None:
    metrics = SessionMetrics()
    for index in range(10_000):
        now_ns = index * SECOND_NS // 30
        metrics.on_received(now_ns)
        metrics.on_rendered(report(track_ms=float(index)), now_ns)
    message = metrics.snapshot(now_ns, 0, dropped=3, encode_ms=1.5)
    assert json.loads(json.dumps(message)) == message
    assert len(json.dumps(message)) < 1_000
    assert message["latency_ms"]["render"] == 24.0  # all stages but tracking
    assert message["latency_ms"]["encode"] == 1.5
    assert metrics.render_ms() == 29.0
    assert message["stage_ms"]["track"]["p50"] > 9_800  # of the last seconds, not of the whole session
    assert (message["received"], message["rendered"], message["dropped"]) == (10_000, 10_000, 3)
