"""The stages' instrument: what it counts, by a clock that ticks once per look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

import pytest

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.media_chain import CHAIN, MediaChain, Passage, camera_packets
from benchmarks.live.stages import allocations, by_part, by_stage, summarise
from benchmarks.records.instrument import DEFAULT_DRIVER
from engine.avatar.avatar import Avatar
from engine.network.contract import NullRunner, denoiser_inputs, denoiser_outputs
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline
from tests.support.puppet import lively
from tests.support.puppet_stage import DRIVER, FRAME_NS, FakeTracker, no_gate


class TimedTracker(FakeTracker):
    """A scripted tracker that says it looked for the face for 2 ms."""

    part_ms: Mapping[str, float] = {"face": 2.0}


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    pictures = DriverPictures(DEFAULT_DRIVER, 320, 240)
    return camera_packets(pictures.once()[:12], pictures.fps)


@pytest.fixture
def ticking() -> Callable[[], float]:
    """Seconds: one millisecond more at every look."""
    ticks = count()
    return lambda: next(ticks) / 1e3


@pytest.fixture
def chain(puppet_avatar: Avatar, packets: list[bytes], ticking: Callable[[], float]) -> MediaChain:
    tracker = TimedTracker([DRIVER.landmarks(pose) for pose in lively(40)])
    runner = NullRunner(denoiser_inputs(puppet_avatar.size), denoiser_outputs(puppet_avatar.size))
    renderer = StepRenderer(puppet_avatar, runner, cache=no_gate().cache)
    pipeline = Pipeline(puppet_avatar, no_gate(), tracker, renderer, "made for a test", ticking)
    return MediaChain(pipeline, tracker, packets, ticking)


def test_every_stage_is_timed_by_the_clock_given(chain: MediaChain) -> None:
    through = [chain.next(index * FRAME_NS) for index in range(20)]  # the 12 packets come round again
    for one in through:
        assert set(one.stage_ms) == set(CHAIN)
        assert all(taken == pytest.approx(1.0) for taken in one.stage_ms.values())
        assert one.track_part_ms == {"face": 2.0}
        assert one.total_ms >= sum(one.stage_ms.values())


def test_percentiles_are_of_the_pictures_in_which_a_stage_ran() -> None:
    still = Passage(10.0, {"decode": 1.0, "track": 5.0}, {}, reused=True)
    drawn = Passage(30.0, {"decode": 3.0, "track": 7.0, "denoise": 12.0}, {"pose": 20.0}, reused=False)
    stages = by_stage([still, drawn])
    assert list(stages) == list(CHAIN)
    assert stages["decode"]["p50"] == 2.0
    assert stages["denoise"] == {"p50": 12.0, "p95": 12.0, "p99": 12.0}
    assert stages["warp"] == {"p50": None, "p95": None, "p99": None}
    assert by_part([still, drawn])["pose"]["p50"] == 20.0
    figures = summarise([still, drawn], elapsed_s=0.5, cpu_s=0.1, unit_s=0.02)
    assert (figures["fps"], figures["pictures"], figures["reused_share"]) == (4.0, 2, 0.5)
    assert (figures["cpu_ms_per_picture"], figures["cores_busy"]) == (50.0, 0.2)
    assert (figures["n_ms"], figures["cost_n"]) == (20.0, 2.5)
    assert figures["total_ms"]["p50"] == 20.0


def test_memory_of_a_picture(chain: MediaChain) -> None:
    chain.next(0)  # the first picture brings buffers that stay
    held = allocations(chain, 4)
    assert held["pictures"] == 4
    assert held["transient_kb"]["p50"] > 320 * 240 * 3 / 1024  # the camera's picture in RGB alone
    assert held["kept_kb_per_picture"] < held["transient_kb"]["p50"]
