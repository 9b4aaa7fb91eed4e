"""The instrument that does harm: its verdict, and a real attack of seconds."""

from __future__ import annotations

import json
from typing import Any

import pytest

import benchmarks.robustness.harm
from benchmarks.robustness.harm import BOUNDS, failures, kept, main

HARMLESS: dict[str, Any] = {"kept": 0.97, "healthz_p99_ms": 20.0, "descriptors": 60, "memory_mb": 12.0}


def test_the_verdict_names_what_was_taken() -> None:
    assert failures({"offers": HARMLESS, "restarts": HARMLESS}) == []
    offers, pictures = HARMLESS | {"kept": 0.5, "descriptors": 173}, HARMLESS | {"memory_mb": 370.0}
    taken = {"offers": offers, "pictures": pictures}
    assert failures(taken) == [
        "offers: kept 0.5 < 0.95",
        "offers: descriptors: 173 > 64",
        "pictures: memory_mb: 370.0 > 100.0",
    ]


def test_a_call_that_is_lost_has_kept_nothing() -> None:
    assert kept(28.0, 30.0) == 0.933
    assert kept(28.0, 0.0) == kept(0.0, 0.0) == 0.0


@pytest.mark.long
def test_a_real_attack_of_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rates and times are not judged: other tests share the machine."""
    monkeypatch.setattr(benchmarks.robustness.harm, "WARM_UP_S", 0.2)
    monkeypatch.setattr(benchmarks.robustness.harm, "SETTLE_S", 0.2)
    assert main(["--quick", "--size", "320x240", "--kinds", "offers", "pictures"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["harm"]) == ["offers", "pictures"]
    for kind, found in figures["harm"].items():
        assert found["descriptors"] <= BOUNDS["descriptors"], kind
        assert found["memory_mb"] <= BOUNDS["memory_mb"], kind
        assert found["fps"][1] > 0, kind
    answers = {kind: set(found["answers"]) for kind, found in figures["harm"].items()}
    assert {"200", "201", "400"} & answers["offers"]
    assert {"200", "400", "429"} & answers["pictures"]
