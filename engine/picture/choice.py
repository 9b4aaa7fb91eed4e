"""Chooses how an avatar is drawn, and says why: step by step, or by the one graph where it runs on a GPU.

Nothing falls back silently: what is asked for by name starts or raises. `auto` takes a graph only where one
was made for a runner on a GPU; on a CPU the steps are several times faster.
"""

from __future__ import annotations

from functools import cache

from engine.avatar.avatar import Avatar
from engine.errors import RunnerError
from engine.network.contract import ResidentRunner
from engine.picture.contract import graph_inputs, graph_outputs
from engine.picture.graph_files import FP16, PRECISIONS, GraphOf
from engine.picture.graph_renderer import GraphRenderer
from engine.picture.renderer import Renderer
from engine.picture.step_renderer import StepRenderer
from engine.render.temporal_cache import CacheConfig
from engine.runners.choice import choose_runner, default_threads, torch_denoiser, unavailable
from engine.runners.names import AUTO, GRAPH, RENDERERS, STEPS, TENSORRT
from engine.runners.together import Together

ON_GPU = (*TENSORRT, "onnx-cuda")  # fastest first
ANYWHERE = (*ON_GPU, "onnx-cpu")


def choose_renderer(
    avatar: Avatar,
    renderer: str,
    runner: str,
    graph: GraphOf,
    threads: int = 0,
    temporal: CacheConfig | None = None,
) -> tuple[Renderer, str]:
    """The renderer of that name with the runner of that name, and one line that says what it is and why.

    graph: which, where it is to be one. threads: see `choose_runner`. Raises RunnerError.
    """
    if renderer not in RENDERERS:
        raise RunnerError(f"renderer is {renderer!r}; wanted one of {', '.join(RENDERERS)}")
    passed_over: list[str] = []
    for candidate in _graphs_tried(renderer, runner, graph):
        try:
            started, what = _start(candidate, graph, threads)
        except RunnerError as error:
            passed_over.append(f"graph in {candidate} unavailable: {error}")
        else:
            if candidate in ON_GPU:
                started = _device(candidate).seat(started, graph.key("onnx", PRECISIONS[candidate]))
            return GraphRenderer(avatar, started, temporal), "; ".join([what, *passed_over])
    if renderer == GRAPH:
        raise RunnerError("; ".join(passed_over) or f"the {runner} runner runs no graph; wanted another")
    network, reason = choose_runner(runner, avatar, threads)
    return StepRenderer(avatar, network, graph.steps, temporal), "; ".join([reason, *passed_over])


@cache
def _device(runner: str) -> Together:
    """The one that all sessions of this process draw on with the runner."""
    return Together()


def _graphs_tried(renderer: str, runner: str, graph: GraphOf) -> list[str]:
    """The runners that a graph is tried in, in their order."""
    if renderer == STEPS or runner == "null":
        return []
    if renderer == GRAPH:
        return list(ANYWHERE) if runner == AUTO else [runner]
    return [name for name in ON_GPU if runner in (AUTO, name) and _was_made(name, graph)]


def _was_made(runner: str, graph: GraphOf) -> bool:
    if runner in TENSORRT:
        return any(graph.path(runner, "").parent.glob(graph.path(runner, "*").name))
    return graph.path("onnx", PRECISIONS[runner]).exists()


def _start(runner: str, graph: GraphOf, threads: int) -> tuple[ResidentRunner, str]:
    if reason := unavailable(runner):
        raise RunnerError(reason)
    where = f"the whole picture in {runner}"
    if runner == "torch":
        return _start_torch(graph), f"{where} (asked for)"
    if runner in TENSORRT:
        from engine.runners import cuda, trt_runner

        gpu, capability = cuda.device()
        engine = graph.load(runner, capability, graph.key(runner, FP16, capability, gpu))
        return trt_runner.start(trt_runner.ResidentTrtRunner, runner, engine), f"{where} on {gpu}, CUDA graph"
    from engine.runners.onnx_runner import OnnxRunner

    precision, provider = PRECISIONS[runner], runner.removeprefix("onnx-")
    model = graph.load("onnx", precision, graph.key("onnx", precision))
    return OnnxRunner(model, provider, threads or default_threads()), f"{where}, {precision}"


def _start_torch(graph: GraphOf) -> ResidentRunner:
    import torch

    from engine.picture.graph_module import PictureGraph
    from engine.runners.torch_runner import TorchRunner

    avatar = graph.avatar
    module = PictureGraph(torch_denoiser(avatar), avatar.plate, graph.layout, graph.steps)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = tuple(graph_outputs(avatar.size, graph.frame_px))
    return TorchRunner(module, graph_inputs(avatar.size), device, names)
