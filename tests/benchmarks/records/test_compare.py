"""Two records compared: what counts as a change, as noise, or as not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.records import compare
from benchmarks.records.compare import differences, numbers, series
from engine.errors import SettingsError


def call(p50: float, seed: int, **changes: Any) -> dict[str, Any]:
    """A record of a call whose seconds scatter around p50."""
    seconds = np.random.default_rng(seed).normal(p50, 2.0, 60)
    timeline = [
        {"second": second, "delivered": 25, "p50": value, "p95": None}
        for second, value in enumerate(seconds.tolist())
    ]
    return {
        "benchmark": "glass_to_glass",
        "motion_to_photon_ms": {"p50": float(np.median(seconds)), "p95": p50 + 20},
        "frozen": 0,
        "timeline": timeline,
        "last": {"fps_in": 30},
        "machine": {"cores": 2, "load_before": 0.5},
        "config": {"peer": "aiortc"},
        **changes,
    }


def verdicts(before: Any, after: Any) -> dict[str, str]:
    return {one.name: one.verdict for one in compare.compare(before, after)}


def test_one_run_each_is_judged_by_its_seconds() -> None:
    same = verdicts([call(60, 1)], [call(60, 2)])
    assert same["timeline.p50"] == "within noise"
    assert same["motion_to_photon_ms.p50"] == "noise unknown"
    assert same["frozen"] == "the same"
    assert "timeline.p95" not in same
    assert verdicts([call(60, 1)], [call(66, 2)])["timeline.p50"] == "changed"


def test_repeated_runs_are_judged_by_their_spread() -> None:
    """Runs that differ by 10 ms among themselves say nothing about 3 ms, though their seconds would."""
    before = [call(p50, seed) for seed, p50 in enumerate((60, 70, 65))]
    after = [call(p50, seed) for seed, p50 in enumerate((63, 73, 68))]
    assert verdicts(before[:1], after[:1])["timeline.p50"] == "changed"
    told = verdicts(before, after)
    assert told["motion_to_photon_ms.p50"] == "within noise"
    assert "timeline.p50" not in told
    slower = [call(p50, seed) for seed, p50 in enumerate((90, 95, 99))]
    assert verdicts(before, slower)["motion_to_photon_ms.p50"] == "changed"


def test_rounds_are_a_series() -> None:
    record = {"benchmark": "baselines", "round_ms": {"denoiser": [10.0, 10.1, 9.9, 10.0]}}
    faster = {"benchmark": "baselines", "round_ms": {"denoiser": [5.0, 5.1, 4.9, 5.0]}}
    assert series(record) == {"round_ms.denoiser": [10.0, 10.1, 9.9, 10.0]}
    assert verdicts([record], [faster]) == {"round_ms.denoiser": "changed"}


def test_figures_are_found_by_path_and_circumstances_are_none() -> None:
    found = dict(numbers(call(60, 1, ok=True, deep={"a": {"b": 2}, "server": 3, "none": None})))
    assert found["deep.a.b"] == 2.0
    assert found["deep.server"] == 3.0
    assert not [name for name in found if name.startswith(("machine", "config", "last", "ok", "deep.none"))]


def test_zero_has_no_ratio() -> None:
    (one,) = compare.compare([{"frozen": 0}], [{"frozen": 3}])
    assert (one.ratio, one.verdict) == (None, "noise unknown")
    assert one.line(8) == "frozen         0.00       3.00                              noise unknown"


def test_different_instruments_are_refused() -> None:
    with pytest.raises(SettingsError, match="records of glass_to_glass and load"):
        compare.compare([call(60, 1)], [{"benchmark": "load"}])


def test_what_differed_is_told() -> None:
    other = call(60, 1, machine={"cores": 8, "load_before": 0.5}, config={"peer": "chromium", "loss": 2})
    assert differences(call(60, 1), other) == [
        "machine.cores: 2 and 8",
        "config.loss: None and 2",
        "config.peer: aiortc and chromium",
    ]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, p50 in (("before", 60), ("after", 66)):
        (tmp_path / f"{name}.json").write_text(json.dumps(call(p50, p50)))
    files = [str(tmp_path / f"{name}.json") for name in ("before", "after")]
    assert compare.main(files) == 0
    lines = capsys.readouterr().out.splitlines()
    (changed,) = [line for line in lines if line.startswith("timeline.p50 ")]
    assert changed.endswith("changed")
    assert "  x1.0" in changed
    assert float(changed.split()[-2].partition("..")[0]) > 1.05
