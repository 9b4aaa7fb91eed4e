"""How near to the device's limits does the denoiser run on a GPU, through which runtime, at which batch?

    python -m benchmarks.gpu --out gpu.json                       on a machine with an NVIDIA GPU
    python -m benchmarks.gpu --device cpu --batches 1 --seconds 1      to try the script without one

Runs an avatar's network, at its own size or another, through torch, a CUDA graph, torch.compile, ONNX Runtime
with bound buffers, and TensorRT. Inputs and outputs stay on the device; TensorRT's runner copies them from
and to the host, as it does in a call. The weights are fresh, as time does not depend on them. Each run is
timed from its launch until the device is done. times_floor is the median over the floor of
benchmarks.roofline: 1 cannot be beaten, and at batch 1 launching many small operators is what keeps away from
it. gb is how much the device's free memory shrank (the process's own, on a CPU). fp32 products may use TF32
where the GPU has it. A way that cannot be taken here is named with the reason. The last line of stdout is one
JSON object.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.glass_statistics import percentiles
from benchmarks.gpu_backends import BACKENDS, Inputs, Run
from benchmarks.machine import describe_machine, resident_mb
from benchmarks.options import instrument_parser
from benchmarks.report import add_out, finish, record
from benchmarks.roofline import Device, Work, measure_device, waiter, work_of
from engine.avatar import Avatar, load_avatar
from engine.denoiser import Denoiser, DenoiserConfig
from engine.errors import RunnerError, SettingsError
from engine.runner import denoiser_inputs

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
WARM_UP = 5  # runs
LEAST_RUNS = 20
PRODUCT_SIDE = {"cuda": 8192, "cpu": 1024}
COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the result, less its backend."""

    size: int  # px
    batch: int


def network_and_inputs(
    avatar: Avatar, case: Case, device: str, dtype: torch.dtype
) -> tuple[nn.Module, Inputs]:
    """The avatar's network at that size, and a batch of noise for it."""
    shape = {**avatar.manifest["training"]["network"], "size": case.size}
    torch.manual_seed(0)
    network = Denoiser(DenoiserConfig.from_dict(shape)).eval().to(device, dtype)
    inputs = {
        name: torch.rand((case.batch, *spec.shape[1:]), device=device).to(dtype)
        for name, spec in denoiser_inputs(case.size).items()
    }
    return network, inputs


def time_runs(run: Run, wait: Callable[[], None], seconds: float, now: Callable[[], float]) -> list[float]:
    """ms of each run after the warm-up: for that long, and at least LEAST_RUNS."""
    for _ in range(WARM_UP):
        run()
    wait()
    taken_ms: list[float] = []
    end_s = now() + seconds
    while now() < end_s or len(taken_ms) < LEAST_RUNS:
        began_s = now()
        run()
        wait()
        taken_ms.append((now() - began_s) * 1e3)
    return taken_ms


def row(taken_ms: Sequence[float], case: Case, work: Work, device: Device) -> dict[str, Any]:
    """The figures of one backend at one size and batch."""
    ranks = percentiles(taken_ms)
    floor_ms = work.floor_ms(device)
    p50 = ranks["p50"]
    assert p50 is not None
    return {
        "ms": ranks,
        "pictures_per_s": round(1e3 * case.batch / p50, 1) if p50 else None,
        "floor_ms": {name: round(value, 4) for name, value in floor_ms.items()},
        "times_floor": round(p50 / max(floor_ms.values()), 2),
        "runs": len(taken_ms),
    }


def measure_case(
    avatar: Avatar, case: Case, backend: str, device: Device, args: argparse.Namespace
) -> dict[str, Any]:
    """One row; a backend that cannot run says why."""
    named = {"backend": backend, "size": case.size, "batch": case.batch}
    gc.collect()
    torch.cuda.empty_cache()
    before_gb = used_gb(args.device)
    with torch.inference_mode():
        network, inputs = network_and_inputs(avatar, case, args.device, DTYPES[args.dtype])
        work = work_of(network, tuple(inputs.values()))
        try:
            run = BACKENDS[backend](network, inputs)
        except (RunnerError, ModuleNotFoundError) as error:
            return {**named, "unavailable": str(error)}
        taken_ms = time_runs(run, waiter(args.device), args.seconds, perf_counter)
    figures = row(taken_ms, case, work, device)
    return {**named, **figures, "gb": round(used_gb(args.device) - before_gb, 3)}


def used_gb(device: str) -> float:
    """Of the GPU by everybody, with what torch keeps for later; of this process on a CPU."""
    if device == "cpu":
        return (resident_mb(os.getpid()) or 0.0) / 1024
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**30


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every backend at every size and batch."""
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"device cuda: torch {torch.__version__} sees no GPU; wanted an NVIDIA GPU and a torch built for "
            "CUDA: run this there, or try the script with --device cpu"
        )
    machine = describe_machine()
    torch.set_float32_matmul_precision("high")
    avatar = load_avatar(args.avatar)
    dtype = DTYPES[args.dtype]
    device = measure_device(args.device, dtype, PRODUCT_SIDE[args.device], COPIED_BYTES[args.device])
    cases = [Case(size, batch) for size in args.sizes for batch in args.batches]
    rows = [
        measure_case(avatar, case, backend, device, args)
        for case in tqdm(cases, desc="sizes and batches")
        for backend in args.backends
    ]
    figures = {
        "device": {
            "name": torch.cuda.get_device_name() if args.device == "cuda" else machine["cpu"],
            "tflop_per_s": round(device.flop_per_s / 1e12, 3),
            "gb_per_s": round(device.bytes_per_s / 1e9, 1),
        },
        "rows": rows,
        "weights": "fresh: timing only",
    }
    config = {
        "avatar": avatar.name,
        "device": args.device,
        "dtype": args.dtype,
        "sizes": args.sizes,
        "batches": args.batches,
        "backends": args.backends,
        "seconds": args.seconds,
        "threads": torch.get_num_threads() if args.device == "cpu" else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    return record("gpu", figures, config, machine)


def describe(figures: Mapping[str, Any]) -> str:
    """The figures for people."""
    device = figures["device"]
    lines = [f"{device['name']}: at best {device['tflop_per_s']} TFLOP/s, {device['gb_per_s']} GB/s"]
    for one in figures["rows"]:
        head = f"{one['size']:>4} px, batch {one['batch']:>2}, {one['backend']:<12}"
        if "unavailable" in one:
            lines.append(f"{head} unavailable: {one['unavailable']}")
            continue
        lines.append(
            f"{head} p50 {one['ms']['p50']:8.2f} ms, p95 {one['ms']['p95']:8.2f} ms, "
            f"{one['pictures_per_s']:8.1f} pictures/s, {one['times_floor']:6.1f} x floor, {one['gb']:.2f} GB"
        )
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "gpu")
    parser.add_argument("--avatar", default="bundled")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="fp16", help="(default fp16)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="px (default 256 512)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--backends", nargs="+", choices=tuple(BACKENDS), default=list(BACKENDS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each row (default 2)")
    add_out(parser)
    args = parser.parse_args()
    figures = measure(args)
    finish(figures, describe(figures), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
