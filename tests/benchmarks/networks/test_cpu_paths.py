"""The instrument for CPU paths: taking turns, warm-up left out, ratios and nearness to the first path."""

from __future__ import annotations

from itertools import count

import numpy as np

from benchmarks.networks.cpu_paths import WARM_UP, Run, race, summarise
from engine.network.contract import Array
from export.evaluate.replay import Feed


def test_paths_take_turns_and_the_warm_up_does_not_count() -> None:
    order: list[tuple[str, float]] = []

    def path(name: str) -> Run:
        def run(feed: Feed) -> Array:
            order.append((name, float(feed["x"][0])))
            return feed["x"]

        return run

    feeds: list[Feed] = [{"x": np.array([value], np.float32)} for value in (0.0, 1.0)]
    ticks = count()
    taken = race({"slow": path("slow"), "fast": path("fast")}, feeds, count=3, now=lambda: next(ticks) / 1e3)
    assert {name: len(values) for name, values in taken.items()} == {"slow": 3, "fast": 3}
    assert np.allclose(taken["slow"] + taken["fast"], 1.0)
    assert len(order) == 2 * (WARM_UP + 3)
    assert order[:4] == [("slow", 0.0), ("fast", 0.0), ("slow", 1.0), ("fast", 1.0)]


def test_ratios_and_nearness_are_against_the_first_path() -> None:
    picture = np.zeros((1, 3, 4, 4), np.float32)
    found = summarise(
        {"float": [10.0, 12.0, 11.0], "half": [5.0, 5.5, 6.0]}, {"float": [picture], "half": [picture + 0.02]}
    )
    assert found["float"]["times_float32"] == 1.0
    assert found["float"]["psnr_db"] is None
    assert found["half"]["times_float32"] == 2.0
    assert found["half"]["psnr_db"] == 40.0
    assert found["half"]["ms"]["p50"] == 5.5
