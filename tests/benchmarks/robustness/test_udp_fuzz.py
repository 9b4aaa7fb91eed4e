"""The instrument that throws datagrams: its mutations and verdict, and a real attack of seconds."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import benchmarks.robustness.udp_fuzz
from benchmarks.records.instrument import above_bounds
from benchmarks.robustness.datagrams import MOST_BYTES, corpus, mutated
from benchmarks.robustness.udp_fuzz import BOUNDS, main, p99_growth


def test_mutations_are_many_and_can_be_made_again() -> None:
    made = [mutated(corpus(), rng) for rng in [random.Random(5)] for _ in range(3_000)]
    again = random.Random(5)
    assert made == [mutated(corpus(), again) for _ in range(3_000)]
    assert len(set(made)) > 2_000
    assert set(corpus()) < set(made)  # replays too
    assert b"" in made
    assert max(map(len, made)) == MOST_BYTES
    assert {data[0] for data in made if data} > {0, 1, 20, 22, 64, 128, 192, 255}


def rounds(*p99_ms: float | None) -> list[dict[str, Any]]:
    return [{"motion_to_photon_ms": {"p99": value}} for value in p99_ms]


def test_growth_and_verdict() -> None:
    one = {"attacked": rounds(33.0, 37.0), "between": rounds(30.0, 32.0)}
    other = {"attacked": rounds(45.0, 45.0), "between": rounds(40.0, 42.0)}
    assert p99_growth([one, other]) == 4.0
    assert p99_growth([one, {**other, "between": rounds(None, 42.0)}]) is None
    harmless = {"calls_lost": 0, "exceptions": 0, "log_bytes": 99, "memory_mb": 19.0, "p99_ms": -1.0}
    assert above_bounds(harmless, BOUNDS) == []
    assert above_bounds(harmless | {"calls_lost": 1, "p99_ms": None}, BOUNDS) == [
        "calls_lost: 1 > 0",
        "p99_ms: too few samples",
    ]


def test_a_real_attack_of_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two live calls bear it. What latency says is not judged: other tests share the machine."""
    monkeypatch.setattr(benchmarks.robustness.udp_fuzz, "WARM_UP_S", 0.5)
    options = "--datagrams 4000 --per-second 4000 --rounds 2 --size 320x240"
    status = main(options.split())
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == (0 if figures["passed"] else 1)
    assert figures["sent"] == 4_000
    for name in ("calls_lost", "exceptions"):
        assert figures[name] == 0
    assert figures["log_bytes"] < 1_000
    assert figures["memory_mb"] < 20
    assert {"stranger", "malformed", "empty", "too long"} <= set(figures["dropped"])
    assert figures["counted"] == sum(figures["dropped"].values())
