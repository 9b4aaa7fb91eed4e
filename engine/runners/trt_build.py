"""Builds TensorRT engines from ONNX: data-centre TensorRT and TensorRT for RTX, which share their Python API.

TensorRT for RTX builds for a compute capability that is named, on a machine without any GPU; the other builds
for the GPU it runs on. No plug-ins; the network's own types are kept (strongly typed).
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np

from engine.avatar.avatar import Avatar
from engine.errors import RunnerError
from engine.network.contract import TensorSpec, denoiser_inputs, denoiser_outputs
from engine.runners.trt_cache import ANY_GPU, TrtEngineKey

PACKAGES: Mapping[str, str] = MappingProxyType({"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"})
EXTRAS: Mapping[str, str] = MappingProxyType({"tensorrt": "trt", "tensorrt-rtx": "trt-rtx"})
WORKSPACE_BYTES = 1 << 30  # that one layer may take while running; these networks need far less
KEEPS_TIMINGS = ("tensorrt",)  # the other chooses its kernels where it runs
SOURCE = "denoiser-fp16.onnx"  # the network that engines are built from
_DRIVER = "libcuda.so.1"


def engine_key(target: str, avatar: Avatar, compute_capability: str, gpu: str) -> TrtEngineKey:
    """What an engine of the avatar's network must have been built from. gpu: its name.

    Raises RunnerError when the avatar has no network to build from, or the library does not load.
    """
    model = avatar.models.get(SOURCE)
    if model is None:
        raise RunnerError(
            f"avatar {avatar.name} holds {', '.join(avatar.models) or 'no networks'}; "
            f"{target} wanted {SOURCE}: {rebuild_command(target)}"
        )
    shapes = {**denoiser_inputs(avatar.size), **denoiser_outputs(avatar.size)}
    return TrtEngineKey(
        target=target,
        library=str(library(target).__version__),
        model_sha256=hashlib.sha256(model).hexdigest(),
        precision="fp16",
        shapes=", ".join(f"{name} {spec}" for name, spec in shapes.items()),
        compute_capability=compute_capability,
        gpu=ANY_GPU if target == "tensorrt-rtx" else gpu,
    )


def rebuild_command(target: str) -> str:
    """For messages."""
    return f"avatarcast export NAME.avatar --target {target}"


def cannot_build(target: str) -> str | None:
    """Why this machine cannot build engines of that kind, with the cure; None if it can."""
    if find_spec(PACKAGES[target]) is None:
        return f"{PACKAGES[target]} is not installed: pip install 'avatarcast[{EXTRAS[target]}]'"
    return no_gpu() if target == "tensorrt" else None


def cannot_run(target: str) -> str | None:
    """Why this machine cannot run engines of that kind, with the cure; None if it seems it can."""
    for package in (PACKAGES[target], "cuda.bindings"):
        if find_spec(package.partition(".")[0]) is None:
            return f"{package} is not installed: pip install 'avatarcast[{EXTRAS[target]}]'"
    return no_gpu()


def no_gpu() -> str | None:
    """Why no GPU can be used; None if its driver is there. Quick: loads no library but the driver's."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"found no {_DRIVER}; wanted an NVIDIA GPU and its driver"
    return None


def library(target: str) -> Any:
    """The Python package. Raises RunnerError when it does not load."""
    try:
        return importlib.import_module(PACKAGES[target])
    except Exception as error:  # a broken installation may raise anything
        raise RunnerError(
            f"{PACKAGES[target]} does not load ({error}): pip install 'avatarcast[{EXTRAS[target]}]'"
        ) from error


@dataclass(frozen=True, slots=True)
class Built:
    """A serialized engine, and what goes in and out."""

    engine: bytes
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    timings: bytes  # for later builds; empty where the library has none


def build(target: str, model: bytes, compute_capability: str | None, timings: bytes = b"") -> Built:
    """The engine of an ONNX network.

    compute_capability: "8.9"; None builds for the GPU in use. timings: of an earlier build there,
    which make this one faster. Raises RunnerError with the parser's or the builder's own words.
    """
    trt = library(target)
    logger = quiet_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(
            " ".join(parser.get_error(index).desc().split()) for index in range(parser.num_errors)
        )
        raise RunnerError(
            f"{target} {trt.__version__} cannot read the network ({errors[:200]}): export it again"
        )
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # what is float32 needs its digits: flows are solved in it
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if compute_capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_named(trt, target, compute_capability), 0)
    if target in KEEPS_TIMINGS:
        config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=True)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise RunnerError(
            f"{target} {trt.__version__} cannot build the network: {logger.last or 'no reason given'}"
        )
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    measured = bytes(config.get_timing_cache().serialize()) if target in KEEPS_TIMINGS else b""
    return Built(bytes(engine), _specs(trt, inputs), _specs(trt, outputs), measured)


def _specs(trt: Any, tensors: Sequence[Any]) -> dict[str, TensorSpec]:
    return {
        tensor.name: TensorSpec(tuple(tensor.shape), np.dtype(trt.nptype(tensor.dtype)).name)
        for tensor in tensors
    }


def _named(trt: Any, target: str, compute_capability: str) -> Any:
    if target == "tensorrt":
        raise RunnerError(
            f"compute capability is {compute_capability}, but tensorrt builds only for the GPU it runs on: "
            "leave it out there, or use --target tensorrt-rtx"
        )
    known = trt.ComputeCapability.__members__
    name = "SM" + compute_capability.replace(".", "")
    if name not in known:
        found = ", ".join(f"{key[2:-1]}.{key[-1]}" for key in known if key.startswith("SM"))
        raise RunnerError(f"compute capability is {compute_capability}; tensorrt-rtx wanted one of {found}")
    return known[name]


def quiet_logger(trt: Any) -> Any:
    """For the library `trt`: a logger that prints nothing and keeps the last error, for messages."""

    class Quiet(trt.ILogger):  # type: ignore[misc]  # the base comes from the library chosen at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = " ".join(message.split())[:200]

    return Quiet()
