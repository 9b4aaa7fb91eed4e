"""Builds the TensorRT engine of an avatar's fp16 network and keeps it in the engine cache of this machine.

Engines are not put into the avatar's file: they fit one kind of GPU and one version of the library only.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.avatar.avatar import Avatar
from engine.errors import RunnerError, SettingsError
from engine.network.contract import denoiser_inputs, denoiser_outputs
from engine.runners.names import TENSORRT
from engine.runners.trt_build import SOURCE, build, cannot_build, engine_key, no_gpu
from engine.runners.trt_cache import TrtEngineKey, load_trt_engine, save_trt_engine, trt_engine_path
from engine.user_folders import cache_folder

TARGETS = TENSORRT


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What was built, and where it lies."""

    path: Path
    key: dict[str, Any]
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"engine": str(self.path), **self.key, **self.facts}


def require_buildable(target: str, compute_capability: str | None) -> None:
    """Raises RunnerError or SettingsError where this machine cannot build that engine."""
    if reason := cannot_build(target):
        raise RunnerError(reason)
    if compute_capability is None and (reason := no_gpu()):
        raise SettingsError(f"{reason}; or name the GPU to build for: --compute-capability 8.9")


def build_engine(avatar: Avatar, target: str, compute_capability: str | None) -> EngineReport:
    """Builds from the avatar's fp16 network and stores; the engine before it stays until this one is whole.

    compute_capability: "8.9"; None is the GPU in use.
    """
    gpu, capability = gpu_for(compute_capability)
    key = engine_key(target, avatar, capability, gpu)
    begun = perf_counter()
    timings = cache_folder() / f"{target}-sm{capability}.timings"
    built = build(target, avatar.models[SOURCE], compute_capability, _kept_timings(timings, key))
    if built.inputs != denoiser_inputs(avatar.size) or built.outputs != denoiser_outputs(avatar.size):
        raise RunnerError(
            f"the engine takes {_names(built.inputs)} and gives {_names(built.outputs)}; "
            f"wanted a denoiser of {avatar.size} px: export the avatar again"
        )
    facts = {
        "seconds": round(perf_counter() - begun, 1),
        "bytes": len(built.engine),
        "machine": platform.machine(),
        "weights_sha256": avatar.variants[SOURCE].get("weights_sha256"),
        "parity": avatar.variants[SOURCE].get("parity"),
    }
    path = trt_engine_path(avatar, target, capability)
    save_trt_engine(path, key, built.engine, facts)
    if built.timings:
        save_trt_engine(timings, _timings_key(key), built.timings, {})
    return EngineReport(path, asdict(key), facts)


def _timings_key(key: TrtEngineKey) -> TrtEngineKey:
    """Timings of kernels hold for every network."""
    return replace(key, model_sha256="", precision="", shapes="")


def _kept_timings(path: Path, key: TrtEngineKey) -> bytes:
    """Without any the build takes longer, and no more is lost."""
    try:
        return load_trt_engine(path, _timings_key(key), "built anew")
    except RunnerError:
        return b""


def gpu_for(compute_capability: str | None) -> tuple[str, str]:
    """Name and compute capability of what is built for; None: the GPU in use."""
    if compute_capability is not None:
        return "", compute_capability
    from engine.runners import cuda

    return cuda.device()


def _names(specs: Any) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in specs.items())
