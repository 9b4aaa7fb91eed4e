"""The GPU instrument without a GPU: its arithmetic, its ways of running a network, its refusals."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Case, describe, network_and_inputs, row, time_runs
from benchmarks.gpu_backends import BACKENDS
from benchmarks.roofline import Device, Work, measure_device, work_of
from engine import trt_build
from engine.avatar import load_avatar
from engine.errors import RunnerError, SettingsError

TINY = Case(size=128, batch=2)


def ticking(ms: Iterator[float]) -> argparse.Namespace:
    """A clock in seconds, and a `run` that takes so long."""
    clock = [0.0]

    def run() -> None:
        clock[0] += next(ms) / 1e3

    return argparse.Namespace(run=run, now=lambda: clock[0])


def test_runs_are_timed_after_the_warm_up_until_the_time_is_over() -> None:
    scripted = ticking(iter([500.0] * gpu.WARM_UP + [10.0] * 200))
    taken = time_runs(scripted.run, lambda: None, 1.0, scripted.now)
    assert taken == pytest.approx([10.0] * len(taken))
    assert len(taken) in (100, 101)


def test_slow_runs_are_still_enough_for_percentiles() -> None:
    scripted = ticking(iter([3000.0] * 100))
    assert len(time_runs(scripted.run, lambda: None, 1.0, scripted.now)) == gpu.LEAST_RUNS


def test_floor_and_distance_from_it() -> None:
    device = Device(flop_per_s=1e12, bytes_per_s=1e9)
    work = Work(flop=2e9, bytes_moved=1e6)
    assert work.floor_ms(device) == pytest.approx({"arithmetic": 2.0, "bandwidth": 1.0})
    figures = row([8.0] * 20, Case(256, 4), work, device)
    assert figures["times_floor"] == 4.0
    assert figures["pictures_per_s"] == 500.0
    assert figures["floor_ms"] == {"arithmetic": 2.0, "bandwidth": 1.0}


def test_the_work_of_a_layer_is_counted() -> None:
    layer = torch.nn.Linear(30, 20)
    work = work_of(layer, (torch.zeros(10, 30),))
    assert work.flop == 2 * 10 * 30 * 20
    assert work.bytes_moved == 4 * (30 * 20 + 20 + 10 * 30 + 10 * 20)


def test_a_device_is_measured() -> None:
    device = measure_device("cpu", torch.float32, side=64, copied_bytes=1 << 16)
    assert device.flop_per_s > 0
    assert device.bytes_per_s > 0


def test_the_avatars_network_at_another_size_and_batch() -> None:
    network, inputs = network_and_inputs(load_avatar("bundled"), TINY, "cpu", torch.float32)
    with torch.inference_mode():
        output = network(*inputs.values())
    assert output.shape == (2, 3, 128, 128)


def test_torch_and_onnxruntime_run_the_same_network() -> None:
    with torch.inference_mode():
        network, inputs = network_and_inputs(load_avatar("bundled"), TINY, "cpu", torch.float32)
        torch.nn.init.normal_(network.head.weight, std=0.1)  # type: ignore[union-attr,arg-type]
        results = []
        for name in ("torch", "onnxruntime"):
            result = BACKENDS[name](network, inputs)()
            assert isinstance(result, torch.Tensor)
            results.append(result.clone())
    assert not torch.allclose(results[0], inputs["prior"])
    assert torch.allclose(results[0], results[1], atol=1e-4)


def test_what_needs_a_gpu_says_so() -> None:
    network, inputs = network_and_inputs(load_avatar("bundled"), TINY, "cpu", torch.float32)
    with pytest.raises(RunnerError, match="needs device cuda"):
        BACKENDS["cuda_graph"](network, inputs)


@pytest.mark.skipif(trt_build.no_gpu() is None, reason="there is a GPU's driver")
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_tensorrt_without_a_gpu_names_what_is_missing(backend: str) -> None:
    network, inputs = network_and_inputs(load_avatar("bundled"), TINY, "cpu", torch.float32)
    with pytest.raises(RunnerError, match=r"wanted an NVIDIA GPU|is not installed"):
        BACKENDS[backend](network, inputs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_cure_is_told() -> None:
    with pytest.raises(SettingsError, match="sees no GPU; wanted an NVIDIA GPU"):
        gpu.measure(argparse.Namespace(device="cuda"))


def test_the_whole_script_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.setattr(gpu, "COPIED_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(gpu, "LEAST_RUNS", 2)
    args = argparse.Namespace(
        avatar="bundled",
        device="cpu",
        dtype="fp32",
        sizes=[128],
        batches=[1],
        backends=["torch", "cuda_graph"],
        seconds=0.0,
    )
    figures = gpu.measure(args)
    first, second = figures["rows"]
    assert first["backend"] == "torch"
    assert first["runs"] == 2
    assert first["ms"]["p50"] > 0
    assert second["unavailable"] == "a CUDA graph needs device cuda"
    assert "unavailable: a CUDA graph" in describe(figures)
