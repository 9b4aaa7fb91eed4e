"""The picture of a call: what was recorded is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.records import charts
from engine.errors import SettingsError

CALL: dict[str, Any] = {
    "benchmark": "glass_to_glass",
    "machine": {"cpu": "made up", "cores": 2},
    "date": "2026-01-02",
    "commit": "abc",
    "config": {},
    "motion_to_photon_ms": {"p50": 64.0, "p95": 88.0, "p99": 96.0},
    "latency_histogram": {"from_ms": 60.0, "bin_ms": 4.0, "counts": [1, 3]},
    "timeline": [
        {"second": 0, "p50": 60.0, "p95": 80.0},
        {"second": 1, "p50": None, "p95": None},
        {"second": 2, "p50": 66.0, "p95": 90.0},
    ],
    "floor": None,
}


def test_the_distribution_is_in_per_cent_and_marks_its_percentiles() -> None:
    page = charts.latency(CALL | {"floor": {"motion_to_photon_ms": {"p50": 20.0}}})
    distribution, timeline = page.axes
    assert [bar.get_height() for bar in distribution.patches] == [25.0, 75.0]  # type: ignore[attr-defined]
    lines = [line.get_xdata()[0] for line in distribution.lines]  # type: ignore[index]
    assert lines == [64.0, 88.0, 96.0, 20.0]
    assert "transport alone" in [text.get_text() for text in distribution.texts]
    (median,) = timeline.lines
    assert list(median.get_xdata()) == [0, 2]  # type: ignore[arg-type]


def test_what_cannot_be_drawn_is_refused() -> None:
    old = {key: value for key, value in CALL.items() if key != "timeline"}
    with pytest.raises(SettingsError, match="the record has no 'timeline': give one of glass_to_glass"):
        charts.latency(old)


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "call.json").write_text(json.dumps(CALL))
    assert charts.main([str(tmp_path / "call.json"), str(tmp_path / "call.png")]) == 0
    with Image.open(tmp_path / "call.png") as picture:
        assert picture.width > 600
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert (0, 114, 178) in {colour for _, colour in colours}
