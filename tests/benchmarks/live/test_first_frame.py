"""The instrument that times the first picture of the avatar: what it takes for one, and a real call."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.live import first_frame
from benchmarks.live.browser_stage import CHROMIUM
from benchmarks.live.first_frame import (
    STEPS,
    calls_of,
    first_driven,
    frames_without_face,
    steps_of,
    summarise,
)
from benchmarks.records.instrument import DEFAULT_DRIVER
from benchmarks.records.tables import TABLES
from tests.support.browser import BUNDLED

STILL, MOVED = [40] * 1024, [40] * 900 + [140] * 124
PICTURES = [(500.0, STILL), (533.0, [42] * 1024), (566.0, MOVED)]


def test_frames_without_a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {'stage_seconds_count{stage="track"}': 60.0, 'stage_seconds_count{stage="retarget"}': 57.0}
    monkeypatch.setattr(first_frame, "metrics", lambda link: counts if link == "busy" else {})
    assert frames_without_face("busy") == 3
    assert frames_without_face("new") == 0


def test_a_holding_picture_is_not_the_avatar() -> None:
    assert first_driven(PICTURES, holding=0) == 500.0
    assert first_driven(PICTURES, holding=2) == 566.0
    assert first_driven(PICTURES[:2], holding=2) is None


def test_times_count_from_the_granted_camera() -> None:
    stats = [(600.0, True), (1100.0, True), (1600.0, False)]
    seen: dict[str, Any] = {
        "steps": {"granted": 100.0, "ice": 300.0},
        "pictures": PICTURES,
        "stats": [(at, {"face_found": True, "calibrating": calibrating}) for at, calibrating in stats],
    }
    steps = steps_of(seen, {"answered": 250.0, "unknown": 1.0}, holding=0)
    assert (steps["answered"], steps["ice"], steps["avatar"], steps["calibrated"]) == (150, 200, 400, 1500)
    assert steps["offered"] is None
    assert "unknown" not in steps


def test_one_slow_call_breaks_the_bound() -> None:
    def call(avatar: float | None) -> dict[str, float | None]:
        return {**dict.fromkeys(STEPS, 10.0), "avatar": avatar, "calibrated": 900.0}

    quick = summarise({"cold": [call(400.0), call(600.0)], "warm": [call(300.0)], "other": []})
    assert quick["failures"] == []
    assert set(quick["cases"]) == {"cold", "warm"}
    assert quick["cases"]["cold"]["steps_ms"]["avatar"] == {"p50": 500.0, "worst": 600.0}
    assert summarise({"cold": [call(400.0), call(3001.0)]})["failures"] == ["cold: 3001.0 > 3000.0"]
    never = summarise({"cold": [call(400.0), call(None)]})
    assert never["failures"] == ["cold: None > 3000.0"]
    text = TABLES["first_frame"].draw(never | {"config": {"calls": 2}})
    assert text.splitlines()[2].startswith(
        "| first call of a server | 10 / 10 | 10 / 10 | 10 / 10 | 400 / - |"
    )


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None or not BUNDLED.exists(), reason="needs Chromium and a bundled presenter")
def test_a_real_call_passes_every_step_in_order() -> None:
    for case, calls in calls_of(1, DEFAULT_DRIVER).items():
        for call in calls:
            times = [call[step] for step in STEPS]
            assert None not in times, (case, call)
            order = [at for step in ("offered", "answered", "ice", "connected") if (at := call[step])]
            assert order == sorted(order), call
            assert (call["displayed"] or 0) <= (call["avatar"] or 0)
            assert call["calibrated"] is not None
