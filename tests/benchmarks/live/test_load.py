"""The load instrument: when a promise counts as broken, and a real step with one caller."""

from __future__ import annotations

import json
from typing import Any

import pytest

import benchmarks.live.load
from benchmarks.live.load import Promise, capacity, main, summarise_step


def call(fps: float = 26.0, p95_ms: float | None = 90.0) -> dict[str, Any]:
    return {
        "refused": None,
        "fps": fps,
        "motion_to_photon_ms": {"p50": 60.0, "p95": p95_ms, "p99": p95_ms},
        "frozen": 1,
    }


def test_the_worst_session_counts() -> None:
    step = summarise_step([call(), call(fps=25.0, p95_ms=150.0)], Promise())
    assert (step["sessions"], step["refused"], step["frozen"]) == (2, 0, 2)
    assert (step["fps_least"], step["fps_total"], step["p95_worst_ms"]) == (25.0, 51.0, 150.0)
    assert step["holds"]


@pytest.mark.parametrize(
    ("worse", "word"),
    [
        (call(fps=24.9), "24.9 fps < 25.0"),
        (call(p95_ms=151.0), "p95 151.0 ms > 150.0"),
        (call(fps=0.0, p95_ms=None), "p95 None"),
        ({"refused": "status 503: all sessions are in use"}, "refused: status 503"),
    ],
)
def test_one_session_breaks_the_promise(worse: dict[str, Any], word: str) -> None:
    step = summarise_step([call(), worse], Promise())
    assert not step["holds"]
    assert any(word in reason for reason in step["broken_by"])


def test_nobody_was_served() -> None:
    step = summarise_step([{"refused": "status 503: no room"}], Promise())
    assert (step["fps_least"], step["fps_total"], step["refused"]) == (None, 0, 1)
    assert not step["holds"]


def test_capacity_is_what_held_before_the_first_break() -> None:
    steps = [{"sessions": 1, "holds": True}, {"sessions": 2, "holds": False}, {"sessions": 3, "holds": True}]
    assert capacity(steps) == 1
    assert capacity(steps[1:]) == 0


def test_a_real_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is promised; on a machine too busy to show a picture in the window it breaks all the same."""
    monkeypatch.setattr(benchmarks.live.load, "START_S", 3.0)
    options = "--pipeline echo --most 1 --seconds 2 --fps 0 --p95 100000 --size 320x240"
    assert main(options.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| sessions | fewest pictures per second |")
    figures = json.loads(lines[-1])
    assert {"benchmark", "capacity", "steps", "machine", "date", "commit", "config"} == set(figures)
    (step,) = figures["steps"]
    assert step["refused"] == 0
    assert step["holds"] == (step["calls"][0]["fps"] > 0)
    assert figures["capacity"] == int(step["holds"])
    assert step["server_mb"] > 50
    assert figures["config"]["promise"] == {"fps": 0.0, "p95_ms": 100000.0}
