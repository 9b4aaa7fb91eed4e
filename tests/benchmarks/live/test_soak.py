"""The soak instrument: slopes and bounds on samples made by hand, and a real soak of seconds."""

from __future__ import annotations

import json

import pytest

from benchmarks.live.server_process import Holding
from benchmarks.live.soak import BOUNDS, call_figures, main, session_figures, warm_up
from benchmarks.records.instrument import above_bounds


def samples(age_per_min: float, mb_per_min: float) -> list[dict[str, float | None]]:
    """Ten minutes, a sample every 5 s; before the warm-up ends everything jumps about."""
    rows: list[dict[str, float | None]] = []
    for index in range(120):
        at_s = 5.0 * index
        calm = at_s >= 120
        age = 10 + age_per_min * at_s / 60 if calm else 500.0 * (index % 2)
        memory = 400 + mb_per_min * at_s / 60 if calm else 50.0 * index
        rows.append({"s": at_s, "queue_age_p95_ms": age, "resident_mb": memory})
    return rows


def test_slopes_are_taken_after_the_warm_up() -> None:
    assert warm_up(30 * 60) == 120
    assert warm_up(60) == 12
    figures = call_figures(samples(age_per_min=1.5, mb_per_min=0.25), 120)
    assert figures["queue_age_ms_per_min"] == pytest.approx(1.5)
    assert figures["call_mb_per_min"] == pytest.approx(0.25)


def test_a_sample_without_an_age_is_left_out() -> None:
    rows = samples(age_per_min=0.0, mb_per_min=0.0)
    rows[60]["queue_age_p95_ms"] = None
    assert call_figures(rows, 120)["queue_age_ms_per_min"] == pytest.approx(0.0)


def test_growth_from_call_to_call() -> None:
    """50 calls; the first ten fill pools, then 0.5 MB and, every tenth call, a thread and two files more."""
    held = [
        Holding(
            resident_mb=300 + 20.0 * min(index, 10) + 0.5 * max(0, index - 10),
            threads=9 + index // 10,
            files=8 + 2 * (index // 10),
            sockets=4,
            tasks=12,
        )
        for index in range(50)
    ]
    figures = session_figures(held)
    assert figures["sessions"] == 50
    assert figures["mb_per_session"] == pytest.approx(0.5, abs=0.1)
    assert (figures["threads"], figures["files"], figures["sockets"]) == (4, 8, 0)
    assert figures["before"]["resident_mb"] == held[9].resident_mb
    assert len(figures["resident_mb"]) == 50


def test_verdict() -> None:
    call = call_figures(samples(age_per_min=0.0, mb_per_min=0.0), 120) | {"latency_ms_per_min": 0.0}
    calls = session_figures([Holding(300.0, 9, 8, 4, 12)] * 20)
    assert above_bounds(call, BOUNDS) + above_bounds(calls, BOUNDS) == []
    assert above_bounds({**call, "call_mb_per_min": 2.0}, BOUNDS) == ["call_mb_per_min: 2.0 > 0.5"]
    assert above_bounds({**calls, "files": 3}, BOUNDS) == ["files: 3 > 0"]
    alone = session_figures([Holding(300.0, 9, 8, 4, 12)])
    assert above_bounds(alone, BOUNDS) == ["mb_per_session: too few samples"]


def test_a_real_soak_of_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Too short to judge; the record is whole, and the status says what it says."""
    options = "--pipeline echo --minutes 0.04 --sessions 2 --pictures 3 --size 320x240"
    status = main(options.split())
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"passed", "failures", "bounds", "call", "calls", "machine", "commit", "config"} <= set(figures)
    assert status == (0 if figures["passed"] else 1)
    assert figures["call"]["samples"][0]["resident_mb"] > 50
    assert figures["call"]["fps_delivered"] > 0
    assert figures["calls"]["sessions"] == 2
    assert figures["calls"]["after"]["threads"] > 0
    assert figures["calls"]["after"]["tasks"] > 0
