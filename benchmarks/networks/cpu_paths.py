"""How fast is each way to run an avatar's network on the CPU, and how near to float32 is what it gives?

    avatarcast bench cpu_paths [--avatar FILE] [--runs 200] [--threads 1]

Every path runs the same feeds, which the live pipeline makes of the avatar's own key frames and poses between
them. The paths take turns, run by run, so that what else the machine does hits all of them; judge by the
ratio to ONNX Runtime in float32, the first. Beside the avatar's own networks stands OpenVINO, where it is
installed: it is timed here to know what leaving it out costs. Only the network is timed, with feeds at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.network.contract import Array, denoiser_inputs
from engine.network.onnx_file import read_graph
from engine.render.sampler import STEADY_LEVEL
from engine.runners.onnx_runner import OnnxRunner
from engine.stages import percentiles
from export.convert.quantise import psnr_db
from export.evaluate.replay import Feed, feeds_of, poses

FLOAT = "onnxruntime denoiser-fp32"
WARM_UP = 5
PROBES = 8  # feeds that outputs are compared on
Run = Callable[[Feed], Array]


def paths(avatar: Avatar, threads: int) -> dict[str, Run]:
    """Every way there is to run a network of the avatar's canvas here, float32 in ONNX Runtime first."""
    models = {
        name: model
        for name, model in sorted(avatar.models.items(), key=lambda item: "fp32" not in item[0])
        if read_graph(model).inputs == denoiser_inputs(avatar.size)  # one feed for all of them
    }
    found = {
        f"onnxruntime {name.removesuffix('.onnx')}": _onnx(model, threads) for name, model in models.items()
    }
    if openvino_version():
        for name, model in models.items():
            found[f"openvino {name.removesuffix('.onnx')}"] = _openvino(model, threads, "f32")
        found["openvino denoiser-fp32 in bf16"] = _openvino(
            avatar.models["denoiser-fp32.onnx"], threads, "bf16"
        )
    return found


def _onnx(model: bytes, threads: int) -> Run:
    runner = OnnxRunner(model, threads=threads)
    return lambda feed: runner.run(feed)["clean"]


def openvino_version() -> str | None:
    """None where it is not installed."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def _openvino(model: bytes, threads: int, precision: str) -> Run:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda feed: np.asarray(request.infer(dict(feed), share_inputs=True)[0])


def race(
    runs: Mapping[str, Run], feeds: Sequence[Feed], count: int, now: Callable[[], float] = perf_counter
) -> dict[str, list[float]]:
    """Milliseconds of each run of each path; they take turns. now: seconds."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(WARM_UP + count):
        feed = feeds[index % len(feeds)]
        for name, run in runs.items():
            begun = now()
            run(feed)
            taken[name].append((now() - begun) * 1e3)
    return {name: values[WARM_UP:] for name, values in taken.items()}


def summarise(taken: Mapping[str, list[float]], outputs: Mapping[str, Sequence[Array]]) -> dict[str, Any]:
    """By path: percentiles, how many times faster than the first by the median, PSNR against its output."""
    first = next(iter(taken))
    return {
        name: {
            "ms": percentiles(values),
            "times_float32": round(float(np.median(taken[first]) / np.median(values)), 3),
            "psnr_db": None
            if name == first
            else round(min(psnr_db(outputs[name], outputs[first]), 200.0), 2),
        }
        for name, values in taken.items()
    }


def measure(args: argparse.Namespace) -> Record:
    """Races all paths and compares what they give."""
    avatar = load_avatar(args.avatar)
    runs = paths(avatar, args.threads)
    float_runner = OnnxRunner(avatar.models["denoiser-fp32.onnx"])
    feeds = feeds_of(avatar, float_runner, poses(avatar, between=1)[: args.poses], every=5)
    feeds = [feed for feed in feeds if feed["noise_level"][0] == np.float32(STEADY_LEVEL)]
    outputs = {name: [run(feed).copy() for feed in feeds[:PROBES]] for name, run in runs.items()}
    return {
        "paths": summarise(race(runs, feeds, args.runs), outputs),
        "models": avatar.variants,
        "config": {"avatar": avatar.name, "size": avatar.size, "openvino": openvino_version()},
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whose network, how often, on how many threads."""
    add_common(parser, "avatar", threads=1)
    parser.add_argument("--runs", type=counted, default=200, help="timed runs of each path (default 200)")
    parser.add_argument("--poses", type=counted, help="that feeds are made of (default all)")


main = Instrument("cpu_paths", __doc__, add_options, measure, quick={"runs": 10, "poses": 10})
