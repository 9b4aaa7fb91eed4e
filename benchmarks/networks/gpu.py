"""What does a whole picture cost where it is drawn, and does the one graph draw what the steps draw?

    avatarcast bench gpu --everything --minutes 8 [--out RECORD.json]

One command for a bare machine with a GPU; it runs through on a CPU with --quick.
- parity: PSNR of the graph's pictures against those drawn step by step, on poses of the bundled presenters;
- cpu: the CPU time that is left for each picture when the graph is elsewhere, without tracking: guidance,
  decisions, and handing over what changed (on the CPU a copy in memory);
- runners: each that this machine has, at each size, with so many sessions drawing at once, each with a graph
  of its own: ms of a round and of a picture, sessions at 30 pictures a second, and how many times the round
  takes what arithmetic and memory of this device would need, both measured here too;
- beside (--everything): the graphs of LivePortrait and SD-Turbo, by shape, in torch on the same device.
Above 256 px the presenters are enlarged and the networks' weights random: times are real, pictures are not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from time import perf_counter, thread_time
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks.live_portrait import LivePortraitShaped
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.record import Record
from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_names
from engine.errors import RunnerError
from engine.network.contract import ResidentRunner, allocate
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.person.landmarks import Landmarks
from engine.picture.contract import I420, graph_inputs, graph_outputs
from engine.picture.graph_feed import GraphFeed
from engine.picture.graph_files import FP16, FP32, PRECISIONS, GraphOf
from engine.render.guidance import GuidancePainter
from engine.render.keyframes import KeyFrame
from engine.render.prior import PriorBuilder
from engine.render.temporal_cache import CacheConfig, TemporalState
from engine.runners import trt_build
from engine.runners.choice import TORCH_SOURCE, unavailable
from engine.runners.names import TENSORRT
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner
from engine.stages import percentiles
from export.convert.onnx_export import export_onnx
from export.convert.picture_graph import graph_module, graph_onnx, parity_db
from export.evaluate.replay import poses

FPS = 30
LEAST_DB = {FP32: 45.0, FP16: 40.0}
_PX = ("centre", "scale", "shoulders", "chest", "chest_middle", "body_scale", "rest_wrists")  # of a neutral


def grown(landmarks: Landmarks, times: int) -> Landmarks:
    """The same on a larger picture."""
    points = {name: getattr(landmarks, name) * np.float32(times) for name in ("face", "pose", "hands")}
    return replace(landmarks, width=landmarks.width * times, height=landmarks.height * times, **points)


def enlarged(avatar: Avatar, size: int) -> Avatar:
    """The avatar on a canvas of so many px, a multiple of its own; its network has random weights."""
    times = size // avatar.size
    if times == 1:
        return avatar

    def large(picture: U8Image) -> U8Image:
        return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)

    torch.manual_seed(0)
    config = DenoiserConfig.from_dict({**avatar.training["network"], "size": size})
    network = Denoiser(config).eval()
    for parameter in network.parameters():  # of those that are alike the exporter keeps one
        torch.nn.init.normal_(parameter, std=0.02)
    keys = (KeyFrame(large(key.rgba), grown(key.landmarks, times)) for key in avatar.keyframes)
    measures = {name: getattr(avatar.neutral, name) * np.float32(times) for name in _PX}
    inputs = {"noisy": 3, "prior": 3, "guidance": 8}
    example = {
        name: torch.zeros(1, channels, *(size // (2 if name == "guidance" else 1),) * 2)
        for name, channels in inputs.items()
    }
    model = export_onnx(network, example | {"noise_level": torch.zeros(1)})
    return replace(
        avatar,
        size=size,
        neutral=replace(avatar.neutral, **measures),
        plate=large(avatar.plate),
        bare_torso=None if avatar.bare_torso is None else large(avatar.bare_torso),
        keyframes=tuple(keys),
        models={TORCH_SOURCE: model},
        training={"network": config.to_dict()},
    )


def parity(args: argparse.Namespace) -> list[Record]:
    """Of each presenter and precision, in ONNX Runtime on the CPU."""
    rows: list[Record] = []
    for name in bundled_names():
        graph = GraphOf(load_avatar(name), "square", 1)
        way = poses(graph.avatar, 5)[: args.poses]
        for precision in (FP32, FP16):
            found = parity_db(graph, OnnxRunner(graph_onnx(graph, precision), threads=1), way)
            worst, mean = (round(float(value), 2) for value in (min(found), np.mean(found)))
            rows.append(
                {
                    "name": name,
                    "precision": precision,
                    "pictures": len(found),
                    "least_db": worst,
                    "mean_db": mean,
                }
            )
    return rows


def feed_of(avatar: Avatar) -> tuple[GraphFeed, TemporalState]:
    """What decides its pictures."""
    builder = PriorBuilder(avatar.keyframes, avatar.neutral, avatar.plate, avatar.bare_torso)
    state = TemporalState(CacheConfig(), builder)
    return GraphFeed(builder, state, GuidancePainter(avatar.size)), state


def left_on_cpu(avatar: Avatar, way: Sequence[Landmarks]) -> Record:
    """CPU milliseconds of each part of a picture, once round to warm up, once timed."""
    feed, state = feed_of(avatar)
    memory = allocate(graph_inputs(avatar.size))
    rows: list[list[float]] = []
    for target in (*way, *way):
        times = [thread_time()]
        feed.guide(target)
        times.append(thread_time())
        changed, _ = feed.decide(target)
        times.append(thread_time())
        for name, array in changed.items():
            np.copyto(memory[name], array)
        times.append(thread_time())
        state.drew(target)
        rows.append([*np.diff(times), times[-1] - times[0]])
    timed = 1e3 * np.array(rows[len(way) :])
    parts = ("guidance", "decide", "hand_over", "all")
    return {"size": avatar.size} | {
        name: percentiles(timed[:, column], ("p50", "p95")) for column, name in enumerate(parts)
    }


def starters(graph: GraphOf) -> dict[str, Callable[[], ResidentRunner]]:
    """How each runner that this machine has starts; the graph is made once for all of a precision."""
    models: dict[str, bytes] = {}

    def start(name: str) -> ResidentRunner:
        size = graph.avatar.size
        if name == "torch":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            module = graph_module(graph, FP16 if device == "cuda" else FP32)
            return TorchRunner(module, graph_inputs(size), device, tuple(graph_outputs(size, (size, size))))
        precision = PRECISIONS[name]
        if name not in models:
            models[name] = graph_onnx(graph, precision)
            if name in TENSORRT:
                from engine.runners import cuda

                where = cuda.device()[1] if name == "tensorrt-rtx" else None
                models[name] = trt_build.build(name, models[name], where).engine
        if name in TENSORRT:
            from engine.runners import trt_runner

            return trt_runner.start(trt_runner.ResidentTrtRunner, name, models[name])
        return OnnxRunner(models[name], name.removeprefix("onnx-"), threads=1)

    known = (*TENSORRT, "onnx-cuda", "onnx-cpu", "torch")
    return {name: lambda name=name: start(name) for name in known if unavailable(name) is None}  # type: ignore[misc]


def rounds(draw: Callable[[], object], seconds: float) -> list[float]:
    """ms of each, for so long, one at least; the first is left out."""
    draw()
    taken: list[float] = []
    began = perf_counter()
    while not taken or perf_counter() - began < seconds:
        since = perf_counter()
        draw()
        taken.append(1e3 * (perf_counter() - since))
    return taken


def drawn_at_once(runners: Sequence[ResidentRunner], changed: Record) -> Callable[[], None]:
    """One picture of each session: handed over, drawn, and its bytes read."""

    def draw() -> None:
        for runner in runners:
            runner.put(changed)
            runner.infer()
        for runner in runners:
            runner.read(I420)

    return draw


def flops_of(module: torch.nn.Module, *inputs: torch.Tensor) -> float:
    """Of convolutions and products of matrices: the rest is small."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def device_peaks() -> dict[str, float]:
    """GFLOP/s of products of matrices and GB/s of copies, as measured on the device of torch."""
    cuda = torch.cuda.is_available()
    side, kind = (8192, torch.float16) if cuda else (768, torch.float32)
    torch.set_num_threads(1)
    a = torch.ones(side, side, dtype=kind, device="cuda" if cuda else "cpu")

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize()

    def product() -> None:
        a @ a
        wait()

    def copy() -> None:
        a.clone()
        wait()

    product_ms, copy_ms = min(rounds(product, 0.5)), min(rounds(copy, 0.5))
    return {
        "gflop_per_s": round(2 * side**3 / product_ms / 1e6, 1),
        "gb_per_s": round(2 * a.numel() * a.element_size() / copy_ms / 1e6, 1),
    }


def race(graph: GraphOf, args: argparse.Namespace, peaks: dict[str, float], seconds: float) -> list[Record]:
    """Each runner at each number of sessions; where it cannot, the reason."""
    size = graph.avatar.size
    feed, _ = feed_of(graph.avatar)
    target = graph.avatar.keyframes[0].landmarks
    feed.guide(target)
    first, _ = feed.decide(target)
    steady = {name: array for name, array in first.items() if name not in ("torso", "head")}
    zeros = [torch.from_numpy(array) for array in allocate(graph_inputs(size)).values()]
    gflop = flops_of(graph_module(graph, FP32), *zeros) / 1e9
    moved = sum(spec.nbytes for spec in allocate(graph_inputs(size)).values()) / 1e9
    least_ms = 1e3 * max(gflop / peaks["gflop_per_s"], moved / peaks["gb_per_s"])
    rows: list[Record] = []
    for name, start in starters(graph).items():
        with ExitStack() as stack:
            runners: list[ResidentRunner] = []
            for sessions in args.sessions:
                row: dict[str, Any] = {"runner": name, "size": size, "sessions": sessions}
                try:
                    while len(runners) < sessions:
                        runners.append(start())
                        stack.callback(runners[-1].close)
                        runners[-1].put(first)
                    taken = percentiles(rounds(drawn_at_once(runners, steady), seconds), ("p50", "p95"))
                except (RunnerError, RuntimeError) as error:
                    rows.append(row | {"reason": str(error)[:200]})
                    break
                each = float(taken["p95"] or 0) / sessions
                rows.append(
                    row
                    | {
                        "round_ms": taken,
                        "picture_ms": round(each, 3),
                        "sessions_at_30": int(1e3 / FPS / each),
                        "times_floor": round(float(taken["p50"] or 0) / sessions / least_ms, 1),
                        "gflop": round(gflop, 2),
                    }
                )
    return rows


def beside(seconds: float) -> list[Record]:
    """Other tools' graphs, by shape."""
    cuda = torch.cuda.is_available()
    device, kind = ("cuda", torch.float16) if cuda else ("cpu", torch.float32)

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=kind, device=device)

    graphs: dict[str, tuple[Callable[[], torch.nn.Module], tuple[torch.Tensor, ...]]] = {
        "LivePortrait by shape": (LivePortraitShaped, (zeros(1, 3, 256, 256), zeros(1, 32, 16, 64, 64)))
    }
    with suppress(ImportError):
        from benchmarks.live.sd_turbo import SdTurbo, SdTurboConfig

        config = SdTurboConfig(size_px=512)
        latent = zeros(1, 3, 512, 512), zeros(1, 4, 64, 64)
        graphs["SD-Turbo by shape"] = lambda: SdTurbo(config), latent
    rows: list[Record] = []
    for name, (make, inputs) in graphs.items():
        module = make().eval().to(device, kind)

        def draw(module: torch.nn.Module = module, inputs: tuple[torch.Tensor, ...] = inputs) -> None:
            with torch.inference_mode():
                module(*inputs).cpu()

        gflop = round(flops_of(module, *inputs) / 1e9, 1)
        rows.append({"name": name, "gflop": gflop, "ms": percentiles(rounds(draw, seconds), ("p50", "p95"))})
    return rows


def measure(args: argparse.Namespace) -> Record:
    """All of it."""
    rows, cpu, peaks = [], [], device_peaks()
    avatar = load_avatar(args.avatar)
    cases = len(args.sizes) * len(args.sessions) * 5
    seconds = 60 * args.minutes / cases / 3  # the rest goes into making graphs
    way = poses(avatar, 5)[: args.poses]
    for size in args.sizes:
        large = enlarged(avatar, size)
        cpu.append(left_on_cpu(large, [grown(pose, size // avatar.size) for pose in way]))
        rows += race(GraphOf(large, "square", 1), args, peaks, seconds)
    same = parity(args)
    return {
        "parity": same,
        "cpu": cpu,
        "runners": rows,
        "beside": beside(seconds) if args.everything else [],
        "failures": [
            f"{row['name']} in {row['precision']}: {row['least_db']} dB"
            for row in same
            if row["least_db"] < LEAST_DB[row["precision"]]
        ],
        "config": {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu", **peaks},
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Sizes, sessions, how long."""
    add_common(parser, "avatar", minutes=8.0)
    parser.add_argument("--everything", action="store_true", help="other tools' graphs too")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="px, multiples of 256")
    parser.add_argument("--sessions", type=counted, nargs="+", default=[1, 4, 16, 64], help="at once")
    parser.add_argument("--poses", type=counted, default=200, help="of each presenter (default 200)")


main = Instrument(
    "gpu",
    __doc__,
    add_options,
    measure,
    quick={"sizes": [256], "sessions": [1], "poses": 3, "minutes": 0.05},
)
