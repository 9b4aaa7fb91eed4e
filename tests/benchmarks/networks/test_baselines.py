"""The comparison with the diffusion graph: its arithmetic on a scripted clock, its shape, its plumbing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the baseline needs: pip install 'avatarcast[bench]'")

import torch

from benchmarks.live.echo_server import EchoPipeline
from benchmarks.live.openmp import wait_patiently
from benchmarks.live.sd_turbo import SdTurbo, SdTurboConfig, SdTurboOnCpu
from benchmarks.networks.baselines import Arm, summarise, take_turns

TINY = SdTurboConfig(
    size_px=64, widths=(32, 32, 64, 64), heads=(2, 2, 2, 2), text_width=16, norm_groups=8, coder_width=8
)


class Clock:
    """Seconds that pass only when something says so."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s

    def taking(self, ms: Iterator[float]) -> Callable[[], None]:
        def run() -> None:
            self.s += next(ms) / 1e3

        return run


def test_the_shape_is_that_of_sd_turbo() -> None:
    """865,910,724 parameters is what the published U-Net of Stable Diffusion 2.1 and SD-Turbo has."""
    with torch.device("meta"):
        graph = SdTurbo(SdTurboConfig())
    sizes = {name: sum(one.numel() for one in part.parameters()) for name, part in graph.named_children()}
    assert sizes["unet"] == 865_910_724
    assert 2_400_000 < sizes["coder"] < 2_500_000  # TAESD's


def test_a_tiny_one_runs() -> None:
    graph = SdTurboOnCpu(TINY, threads=1)
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    result = graph.run(picture)
    assert result.shape == (1, 3, 64, 64)
    assert np.isfinite(result).all()
    assert not np.array_equal(result, graph.run(np.invert(picture)))


def test_arms_take_turns_and_settle_untimed() -> None:
    clock = Clock()
    order: list[str] = []

    def noting(name: str, ms: Iterator[float]) -> Callable[[], None]:
        spend = clock.taking(ms)

        def run() -> None:
            order.append(name)
            spend()

        return run

    arms = {
        "sd_turbo": Arm(noting("sd_turbo", iter([1000.0, 2000.0])), pictures=1),
        "denoiser": Arm(noting("denoiser", iter([500.0, 10.0, 12.0, 500.0, 20.0, 22.0])), 2, settle=1),
    }
    taken = take_turns(arms, rounds=2, now=clock)
    assert order == ["sd_turbo", *["denoiser"] * 3] * 2
    assert taken["sd_turbo"] == [[pytest.approx(1000.0)], [pytest.approx(2000.0)]]
    assert taken["denoiser"] == [pytest.approx([10.0, 12.0]), pytest.approx([20.0, 22.0])]


def test_a_slow_minute_does_not_change_the_ratio() -> None:
    slow = (1.0, 1.0, 2.5, 1.0, 1.7)
    taken = {
        "sd_turbo": [[1500.0 * busy] for busy in slow],
        "denoiser": [[10.0 * busy, 10.0 * busy] for busy in slow],
        "pipeline": [[50.0 * busy] for busy in slow],
    }
    figures = summarise(taken)
    assert figures["times_faster"]["denoiser"] == pytest.approx({"value": 150.0, "low": 150.0, "high": 150.0})
    assert figures["times_faster"]["pipeline"]["value"] == pytest.approx(30.0)
    assert "sd_turbo" not in figures["times_faster"]
    assert figures["picture_ms"]["denoiser"]["p50"] == 10.0
    assert figures["round_ms"]["sd_turbo"] == [1500.0, 1500.0, 3750.0, 1500.0, 2550.0]


def test_patience_comes_before_torch() -> None:
    with pytest.raises(AssertionError, match="imported already"):
        wait_patiently()
    code = (
        "import benchmarks.networks.baselines, benchmarks.live.echo_server\n"
        "from benchmarks.live.openmp import wait_patiently\nwait_patiently()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_echo_runs_the_graph_on_each_picture_it_sends() -> None:
    seen: list[tuple[int, ...]] = []
    pipeline = EchoPipeline(graph=lambda picture: seen.append(picture.shape))
    sent = pipeline.process(np.zeros((480, 640, 3), np.uint8), 0)
    assert seen == [sent.rgb.shape] == [(256, 256, 3)]
