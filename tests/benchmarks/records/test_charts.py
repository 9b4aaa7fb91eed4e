"""Pictures of records: every kind gets its own, with what was recorded in it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.records import charts
from engine.errors import SettingsError

RANKS = {"p50": 64.0, "p95": 88.0, "p99": 96.0}
ABOUT = {"machine": {"cpu": "made up", "cores": 2, "load_before": 0.1}, "commit": "abc", "config": {}}
SECONDS = [{"second": 0, "p50": 60.0, "p95": 80.0}, {"second": 1, "p50": None, "p95": None}]
SECONDS += [{"second": 2, "p50": 66.0, "p95": 90.0}]
STAGES = {
    "warp": {"p50": 10.0, "p95": 18.0},
    "compose": {"p50": 1.0, "p95": 2.0},
    "track": {"p50": 7.0, "p95": 9.0},
}
CALL = {
    "benchmark": "glass_to_glass",
    "motion_to_photon_ms": RANKS,
    "latency_histogram": {"from_ms": 60.0, "bin_ms": 4.0, "counts": [1, 3]},
    "timeline": SECONDS,
    "stage_ms": STAGES,
    "floor": None,
}
STEP = {"sessions": 1, "fps_least": 26.0, "p50_worst_ms": 64.0, "p95_worst_ms": 90.0}
RECORDS: dict[str, dict[str, Any]] = {
    "glass_to_glass": {**ABOUT, **CALL},
    "base_gain": {
        **ABOUT,
        "benchmark": "base_gain",
        "clips": [
            {
                "label": "one",
                "prior_db": 23.0,
                "base": {"curve": [[30.0, 24.0], [60.0, 25.0]]},
                "scratch": {"curve": [[30.0, 23.5], [60.0, 24.5]]},
            }
        ],
    },
    "stages": {**ABOUT, "benchmark": "stages", "stage_ms": STAGES, "budget_ms": 40.0},
    "load": {
        **ABOUT,
        "benchmark": "load",
        "config": {"promise": {"fps": 25.0, "p95_ms": 150.0}},
        "steps": [STEP, STEP | {"sessions": 2, "fps_least": 14.0}],
    },
    "soak": {
        **ABOUT,
        "benchmark": "soak",
        "call": {
            "warm_up_s": 12.0,
            "samples": [{"s": 5.0 * n, "queue_age_p95_ms": None, "resident_mb": 480.0} for n in range(12)],
        },
        "calls": {"sessions": 3, "resident_mb": [480.0, 481.0, 481.0]},
    },
    "baselines": {
        **ABOUT,
        "benchmark": "baselines",
        "picture_ms": {"sd_turbo": {"p50": 1500.0}, "denoiser": {"p50": 9.0}},
        "times_faster": {"denoiser": {"value": 166.7}},
    },
}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("sides", [1, 2])
def test_every_kind_is_drawn_alone_and_beside_another(kind: str, sides: int, tmp_path: Path) -> None:
    written = charts.draw([RECORDS[kind]] * sides, "made", tmp_path)
    assert [path.name for path in written] == [f"made-{name}.png" for name in charts.CHARTS[kind]]
    for path in written:
        with Image.open(path) as picture:
            assert picture.width > 600
            colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is not None
        drawn = {(0, 114, 178), (230, 159, 0)} & {colour for _, colour in colours}
        assert drawn, "neither of the data's colours is there"


def test_there_is_a_record_for_every_chart() -> None:
    assert set(RECORDS) == set(charts.CHARTS)


def test_a_waterfall_follows_the_picture_not_the_alphabet() -> None:
    (axes,) = charts.waterfall([RECORDS["stages"]]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["track", "warp", "compose"]
    starts = [bar.get_x() for bar in axes.patches[::2]]  # type: ignore[attr-defined]
    assert starts == [0.0, 7.0, 17.0]


def test_two_waterfalls_have_one_scale() -> None:
    slower = copy.deepcopy(RECORDS["glass_to_glass"])
    slower["stage_ms"]["warp"] = {"p50": 100.0, "p95": 200.0}
    left, right = charts.waterfall([RECORDS["glass_to_glass"], slower]).axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlim()[1] > 200


def test_the_distribution_is_in_per_cent_and_marks_its_percentiles() -> None:
    record = RECORDS["glass_to_glass"] | {"floor": {"motion_to_photon_ms": {"p50": 20.0}}}
    distribution = charts.latency([record]).axes[0]
    assert [bar.get_height() for bar in distribution.patches] == [25.0, 75.0]  # type: ignore[attr-defined]
    lines = [line.get_xdata()[0] for line in distribution.lines]  # type: ignore[index]
    assert lines == [64.0, 88.0, 96.0, 20.0]
    assert "transport alone" in [text.get_text() for text in distribution.texts]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no chart fits a record of quality; wanted one of base_gain"):
        charts.draw([{"benchmark": "quality"}], "made", tmp_path)
    with pytest.raises(SettingsError, match="load and soak"):
        charts.draw([RECORDS["load"], RECORDS["soak"]], "made", tmp_path)
    old = {key: value for key, value in RECORDS["glass_to_glass"].items() if key != "timeline"}
    with pytest.raises(SettingsError, match="no 'timeline', which latency shows"):
        charts.draw([old], "made", tmp_path)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(RECORDS["stages"]))
    files = [str(tmp_path / f"{name}.json") for name in ("one", "two")]
    assert charts.main([*files, "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "one-two-waterfall.png")
    assert (tmp_path / "one-two-waterfall.png").is_file()
