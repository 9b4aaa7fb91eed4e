"""The instruments themselves: what they count, on arrivals made by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.live.driver_pictures import fit
from benchmarks.live.glass_statistics import Arrival, histogram, summarise, timeline
from benchmarks.live.glass_to_glass import above
from benchmarks.records.machine import cpu_seconds, describe_machine, resident_mb
from benchmarks.records.series import slope_per_minute

MS = 1_000_000


def test_an_even_stream() -> None:
    sent = {number: [number * 40 * MS] for number in range(101)}
    arrivals = [Arrival(number * 40 * MS + 70 * MS, number) for number in range(101)]
    figures = summarise(sent, arrivals, start_ns=0)
    assert figures["fps_delivered"] == 25.0
    assert figures["motion_to_photon_ms"] == {"p50": 70.0, "p95": 70.0, "p99": 70.0}
    counts = (figures["dropped"], figures["frozen"], figures["stale"], figures["unreadable"])
    assert counts == (0, 0, 0, 0)
    assert figures["duration_s"] == 4.0
    none = {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    assert figures["jitter_ms"] == {"interval": none, "latency": none}
    assert figures["latency_slope_ms_per_min"] == pytest.approx(0.0, abs=1e-3)
    rows = figures["timeline"]
    assert [row["second"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[1] == {"second": 1, "delivered": 25, "p50": 70.0, "p95": 70.0}


def test_jitter_and_drift() -> None:
    """Every second picture is 10 ms late, and the latency grows by 1 ms a second."""
    late_ms = [10 * (number % 2) + number // 25 for number in range(100)]
    sent = {number: [number * 40 * MS] for number in range(100)}
    arrivals = [Arrival((number * 40 + 50 + late_ms[number]) * MS, number) for number in range(100)]
    figures = summarise(sent, arrivals, start_ns=0)
    assert figures["jitter_ms"]["latency"]["p50"] == 10.0
    assert figures["jitter_ms"]["interval"]["p99"] == pytest.approx(20.0, abs=1.0)
    assert 50 < figures["latency_slope_ms_per_min"] < 70


def test_a_silent_second_stays_in_the_timeline() -> None:
    rows = timeline([(100 * MS, 50.0), (200 * MS, 70.0), (2_500 * MS, 90.0)], start_ns=0)
    assert [row["delivered"] for row in rows] == [2, 0, 1]
    assert rows[0]["p50"] == 60.0
    assert rows[1] == {"second": 1, "delivered": 0, "p50": None, "p95": None}
    assert timeline([], start_ns=0) == []


def test_the_difference_to_the_floor() -> None:
    assert above({"p50": 60.0, "p95": 90.0}, {"p50": 7.5, "p95": None}) == {"p50": 52.5, "p95": None}


def test_drops_freezes_repeats_and_warm_up() -> None:
    arrivals = [
        Arrival(0, 5),  # in the warm-up
        Arrival(100 * MS, 10),
        Arrival(150 * MS, 12),  # 11 was dropped
        Arrival(160 * MS, 12),  # a repeat
        Arrival(170 * MS, 11),  # came late: no news
        Arrival(180 * MS, None),  # no code
        Arrival(500 * MS, 13),  # 350 ms after the last new one
    ]
    sent = {number: [0] for number in range(20)}
    figures = summarise(sent, arrivals, start_ns=50 * MS)
    assert figures["dropped"] == 1
    assert figures["dropped_share"] == 0.25
    assert figures["frozen"] == 1
    assert figures["longest_gap_ms"] == 350.0
    assert figures["stale"] == 2
    assert figures["unreadable"] == 1
    assert figures["delivered"] == 3


def test_numbers_that_come_round_again() -> None:
    """A loop of 10 numbers: the latest sending before the arrival counts, and 9 -> 0 is no drop."""
    sent = {number: [number * 100 * MS, (number + 10) * 100 * MS] for number in range(10)}
    arrivals = [Arrival(index * 100 * MS + 30 * MS, index % 10) for index in range(20)]
    figures = summarise(sent, arrivals, start_ns=0, modulus=10)
    assert figures["dropped"] == 0
    assert figures["delivered"] == 20
    assert figures["motion_to_photon_ms"]["p99"] == 30.0


def test_histogram() -> None:
    assert histogram([9.0, 11.9, 20.0, 12.0]) == {"from_ms": 8.0, "bin_ms": 4.0, "counts": [2, 1, 0, 1]}
    wide = histogram([10.0, 5_000.0, 5_001.0], most_bins=10)
    assert (wide["from_ms"], wide["bin_ms"], len(wide["counts"]), sum(wide["counts"])) == (0.0, 512.0, 10, 3)
    assert histogram([]) == {"from_ms": 0.0, "bin_ms": 4.0, "counts": []}


def test_nothing_arrived() -> None:
    figures = summarise({}, [], start_ns=0)
    assert figures["fps_delivered"] == 0.0
    assert figures["motion_to_photon_ms"]["p50"] is None
    assert json.loads(json.dumps(figures)) == figures


def test_slope() -> None:
    samples = [(second * 1_000 * MS, 100 + second * 0.5) for second in range(60)]
    assert slope_per_minute(samples) == pytest.approx(30.0)
    assert slope_per_minute(samples[:2]) is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_process_figures() -> None:
    memory, cpu = resident_mb(os.getpid()), cpu_seconds(os.getpid())
    assert memory is not None
    assert 10 < memory < 100_000
    assert cpu is not None
    assert cpu > 0
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["versions"]["aiortc"]


def test_driver_fits_the_camera_whole() -> None:
    portrait = np.full((720, 360, 3), 200, np.uint8)
    picture = fit(portrait, 640, 480)
    assert picture.shape == (480, 640, 3)
    assert (picture[:, 200:440] == 200).all()
    assert (picture[:, :199] == 96).all()


def test_the_benchmark_runs_and_ends_with_one_json_line(tmp_path: Path) -> None:
    """A short real call through a real server process: figures under the agreed names."""
    command = [sys.executable, "-m", "engine.cli", "bench", "glass_to_glass", "--pipeline", "echo"]
    command += ["--quick", "--size", "320x240", "--fps", "20"]
    command += ["--transport-floor", "--out", str(tmp_path / "glass.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    names = {"fps_delivered", "motion_to_photon_ms", "dropped", "frozen", "duration_s", "machine", "commit"}
    assert names <= set(figures)
    assert figures["fps_delivered"] > 0
    assert figures["motion_to_photon_ms"]["p50"] > 0
    assert figures["ours_ms"] == above(
        figures["motion_to_photon_ms"], figures["floor"]["motion_to_photon_ms"]
    )
    assert json.loads((tmp_path / "glass.json").read_text()) == figures
    assert figures["latency_samples"] > 0
