"""Chooses the runner for an avatar and says why.

Nothing falls back silently: a runner asked for by name starts or raises; only `auto` tries another, and its
reason names what it passed over. Imports a backend only in the branch that needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.avatar.avatar import Avatar
from engine.cores import usable_cores
from engine.errors import RunnerError
from engine.network.contract import NullRunner, Runner, denoiser_inputs, denoiser_outputs
from engine.runners import trt_build
from engine.runners.names import AUTO, NAMES, TENSORRT
from engine.runners.thread_trial import Start, tried
from engine.runners.trt_cache import load_trt_engine, trt_engine_path, trt_engines_of

if TYPE_CHECKING:
    import torch

AUTO_ORDER = (*TENSORRT, "onnx-cuda", "onnx-cpu")  # fastest first; TensorRT only where an engine was built
# Which of the avatar's networks each runner takes: the first it has.
MODELS: Mapping[str, Sequence[str]] = {
    "onnx-cpu": ("denoiser-int8.onnx", "denoiser-fp32.onnx"),
    "onnx-cuda": ("denoiser-fp16.onnx", "denoiser-fp32.onnx"),
}
TORCH_SOURCE = "denoiser-fp32.onnx"  # torch reads its weights back from there
MAX_THREADS = 8  # enough for networks this small
_FOUND: dict[tuple[str, int, int], int] = {}  # threads worth it, by kind of network, its size and the cores


def unavailable(name: str) -> str | None:
    """Why this machine cannot run that runner, with the cure; None if it can. Any name of NAMES but auto."""
    if name == "null":
        return None
    if name == "torch":
        return _missing("torch", "train")
    if name in TENSORRT:
        return trt_build.cannot_run(name)
    if reason := _missing("onnxruntime", "gpu" if name == "onnx-cuda" else "cpu"):
        return reason
    from engine.runners import onnx_runner

    return onnx_runner.unavailable(name.removeprefix("onnx-"))


def _missing(package: str, extra: str) -> str | None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        return f"{package} does not load ({error}): pip install 'avatarcast[{extra}]'"
    return None


def default_threads(cores: int | None = None) -> int:
    """The most threads for the network: all cores of a small machine; of a larger one all but two."""
    if cores is None:
        cores = usable_cores()
    return cores if cores <= 2 else min(max(2, cores - 2), MAX_THREADS)


def choose_runner(name: str, avatar: Avatar, threads: int = 0) -> tuple[Runner, str]:
    """The runner of that name for the avatar, and one line that says what it is and why.

    threads: of the CPU; 0 = as many, up to default_threads(), as a short trial finds worth it; what the first
    trial finds, later runners of this process take for networks of that kind and size. The torch runner reads
    the weights back from the avatar's ONNX network.
    """
    if name not in NAMES:
        raise RunnerError(f"runner is {name!r}; wanted one of {', '.join(NAMES)}")
    if threads < 0:
        raise RunnerError(f"threads is {threads}; wanted 0 (a short trial finds how many) or more")
    if name == "null":
        size = avatar.size
        return NullRunner(
            denoiser_inputs(size), denoiser_outputs(size)
        ), "null (asked for): passes the prior through"
    if name == "torch":
        torch_runner, what = _start_torch(avatar)
        return torch_runner, f"torch (asked for): {what}"
    if name != AUTO:
        runner, what = _start(name, avatar, threads)
        return runner, f"{name} (asked for): {what}"
    passed_over: list[str] = []
    for candidate in AUTO_ORDER:
        if candidate in TENSORRT and not trt_engines_of(avatar, candidate):
            continue  # nobody asked for one; see export --target
        try:
            runner, what = _start(candidate, avatar, threads)
        except RunnerError as error:
            passed_over.append(f"{candidate} unavailable: {error}")
        else:
            return runner, "; ".join([f"{candidate}: {what}", *passed_over])
    raise RunnerError("no runner can start: " + "; ".join(passed_over))


def _start(name: str, avatar: Avatar, threads: int) -> tuple[Runner, str]:
    return _start_trt(name, avatar) if name in TENSORRT else _start_onnx(name, avatar, threads)


def _start_trt(name: str, avatar: Avatar) -> tuple[Runner, str]:
    if reason := unavailable(name):
        raise RunnerError(reason)
    from engine.runners import cuda, trt_runner

    gpu, capability = cuda.device()
    wanted = trt_build.engine_key(name, avatar, capability, gpu)
    path = trt_engine_path(avatar, name, capability)
    engine = load_trt_engine(path, wanted, trt_build.rebuild_command(name))
    runner = trt_runner.start(trt_runner.TrtRunner, name, engine)
    return runner, f"{trt_build.SOURCE} in {name} {wanted.library} on {gpu}, CUDA graph"


def _start_onnx(name: str, avatar: Avatar, threads: int) -> tuple[Runner, str]:
    model = next((model for model in MODELS[name] if model in avatar.models), None)
    if model is None:
        raise RunnerError(
            f"avatar {avatar.name} holds {', '.join(avatar.models) or 'no networks'}; {name} wanted "
            f"{' or '.join(MODELS[name])}: export the avatar again"
        )
    if reason := unavailable(name):
        raise RunnerError(reason)
    from engine.runners.onnx_runner import PROVIDERS, VERSION, OnnxRunner

    provider = name.removeprefix("onnx-")
    where = f"{model} in onnxruntime {VERSION}, {PROVIDERS[provider]}"
    if provider == "cpu":
        runner, how_many = _with_threads(
            lambda count: OnnxRunner(avatar.models[model], provider, count), threads, (model, avatar.size)
        )
        return runner, f"{where}, {how_many}"
    try:
        return OnnxRunner(avatar.models[model], provider, threads), f"{where}, CUDA graph"
    except RunnerError as error:
        eager = OnnxRunner(avatar.models[model], provider, threads, eager=True)
        return eager, f"{where}, without a CUDA graph ({error})"


def _with_threads(start: Start, threads: int, kind: tuple[str, int]) -> tuple[Runner, str]:
    """A runner on the CPU with so many threads, 0: as a trial finds. kind: of network, and its size."""
    known, most = (*kind, usable_cores()), default_threads()
    threads = threads or _FOUND.get(known, 0)
    if threads or most == 1:
        return start(threads or most), f"{threads or most} threads"
    runner, best, took_ms = tried(start, most)
    _FOUND[known] = best
    found = ", ".join(f"{count}: {ms:.1f} ms" for count, ms in took_ms.items())
    return runner, f"{best} threads ({found})"


def _start_torch(avatar: Avatar) -> tuple[Runner, str]:
    if reason := unavailable("torch"):
        raise RunnerError(reason)
    import torch

    from engine.runners.torch_runner import TorchRunner

    module = torch_denoiser(avatar)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchRunner(module, denoiser_inputs(avatar.size), device), f"torch {torch.__version__} on {device}"


def torch_denoiser(avatar: Avatar) -> torch.nn.Module:
    """The avatar's network for torch. Raises RunnerError."""
    shape = avatar.training.get("network")
    model = avatar.models.get(TORCH_SOURCE)
    if model is None or not isinstance(shape, dict):
        raise RunnerError(
            f"avatar {avatar.name} holds {', '.join(avatar.models) or 'no networks'}; the torch runner "
            f"wanted {TORCH_SOURCE} and its shape in the manifest: choose onnx-cpu or onnx-cuda"
        )
    from engine.network.onnx_weights import denoiser_from_onnx

    return denoiser_from_onnx(model, shape)
