"""Exports the whole picture of an avatar as one graph, proves it against the steps, and keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from time import perf_counter

import numpy as np
import torch

from engine.arrays import U8Image
from engine.errors import RunnerError
from engine.network.contract import ResidentRunner, allocate
from engine.person.landmarks import Landmarks
from engine.picture.contract import graph_inputs, graph_outputs
from engine.picture.graph_files import FP16, FP32, GraphOf
from engine.picture.graph_module import PictureGraph
from engine.picture.graph_renderer import GraphRenderer
from engine.picture.step_renderer import StepRenderer
from engine.runners.choice import TORCH_SOURCE
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.trt_build import build
from engine.runners.trt_cache import save_trt_engine
from engine.stages import StageClock
from export.convert.fused import FusedDenoiser, HalfDenoiser
from export.convert.onnx_export import export_onnx
from export.convert.trt_engines import EngineReport, gpu_for
from export.convert.variants import network_of
from export.evaluate.replay import poses

PARITY_DB = {FP32: 45.0, FP16: 40.0}  # of pictures against those drawn step by step, each at least
PROBES = 12  # of the avatar's own poses


def graph_module(graph: GraphOf, precision: str) -> PictureGraph:
    """The graph as torch runs it, on the CPU: what is exported."""
    network = network_of(graph.avatar)
    fused = HalfDenoiser(network) if precision == FP16 else FusedDenoiser(network)
    return PictureGraph(fused, graph.avatar.plate, graph.layout, graph.steps).eval()


def graph_onnx(graph: GraphOf, precision: str) -> bytes:
    """The graph as ONNX."""
    size = graph.avatar.size
    example = {name: torch.from_numpy(array) for name, array in allocate(graph_inputs(size)).items()}
    return export_onnx(graph_module(graph, precision), example, tuple(graph_outputs(size, graph.frame_px)))


def parity_db(graph: GraphOf, runner: ResidentRunner, targets: Iterable[Landmarks]) -> list[float]:
    """PSNR of each picture that the graph draws against the same step by step, peak 255.

    targets: canvas px, one after the other. Closes the runner.
    """
    avatar = graph.avatar
    steps = StepRenderer(avatar, OnnxRunner(avatar.models[TORCH_SOURCE], threads=1), graph.steps)
    whole = GraphRenderer(avatar, runner)
    found = []
    try:
        for renderer in (steps, whole):
            renderer.set_frame(graph.frame)
        for target in targets:
            for renderer in (steps, whole):
                renderer.draw(target, StageClock())
            found.append(_psnr_db(whole.picture, steps.picture))
    finally:
        steps.close()
        whole.close()
    return found


def _psnr_db(found: U8Image, wanted: U8Image) -> float:
    error = np.mean(np.square(found.astype(np.float32) - wanted))
    return float(10 * np.log10(255**2 / max(float(error), 1e-6)))


def make_graph(
    graph: GraphOf, target: str, precision: str, compute_capability: str | None = None
) -> EngineReport:
    """Exports, proves and stores; what was there before stays until this is whole.

    target: onnx, or one of TENSORRT, which is built for compute_capability ("8.9"; None: the GPU in use).
    Raises RunnerError when it draws another picture than the steps.
    """
    begun = perf_counter()
    model = graph_onnx(graph, precision)
    way = poses(graph.avatar, 1)
    found = parity_db(graph, OnnxRunner(model, threads=1), way[:: -(-len(way) // PROBES)])
    if min(found) < PARITY_DB[precision]:
        raise RunnerError(
            f"the graph's pictures are {min(found):.1f} dB from those drawn step by step; wanted "
            f"{PARITY_DB[precision]:.0f}: do not use it; another torch may help"
        )
    if target == "onnx":
        key, where, made = graph.key(target, precision), precision, model
    else:
        gpu, where = gpu_for(compute_capability)
        key, made = graph.key(target, precision, where, gpu), build(target, model, compute_capability).engine
    facts = {
        "seconds": round(perf_counter() - begun, 1),
        "bytes": len(made),
        "parity": {"psnr_db": round(min(found), 2), "pictures": len(found)},
    }
    path = graph.path(target, where)
    save_trt_engine(path, key, made, facts)
    return EngineReport(path, asdict(key), facts)
