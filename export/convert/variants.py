"""Makes a variant of an avatar's network and proves it: parity, the held-out gate, and how fast it is here.

Reads no files and writes none. `convert` takes the network as it is given, wherever it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from engine.avatar.avatar import Avatar, HeldOutFrame
from engine.commands.doctor import cpu_name
from engine.errors import RunnerError
from engine.network.contract import denoiser_inputs, half_px
from engine.network.denoiser import Denoiser
from engine.network.network_check import checked_denoiser
from engine.network.onnx_weights import denoiser_from_onnx
from engine.person.landmarks import Landmarks
from engine.render.sampler import STEADY_LEVEL
from engine.runners.choice import TORCH_SOURCE
from engine.runners.onnx_runner import OnnxRunner
from engine.runners.torch_runner import TorchRunner
from export.convert.fused import FusedDenoiser, HalfDenoiser
from export.convert.gate import judge, race, require
from export.convert.halved import halved
from export.convert.onnx_export import PARITY_BOUND, export_onnx, parity
from export.convert.quantise import quantise
from export.evaluate.replay import Feed, feeds_of, poses
from export.progress import StageShareDone

TOOLS = ("onnx", "onnxruntime", "torch")
BETWEEN = 1  # poses between key frames that feeds are taken from
MOST_POSES = 80  # at 256 px; each takes nine runs of the float32 network, and memory for two feeds
EVERY_FEED = 5  # is kept; see feeds_of
PROBE_EVERY = 7  # of the kept feeds is measured on; the rest set the scales


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of network file, and what it may lose."""

    model: str  # its name in the package
    precision: str
    parity_db: float  # PSNR against the float32 network at least, peak 2.0
    loss_db: float  # of PSNR on the held-out frames at most


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "onnx": Target(TORCH_SOURCE, "fp32", 100.0, 0.3),
        "onnx-fp16": Target("denoiser-fp16.onnx", "fp16", 50.0, 0.1),
        "onnx-int8": Target("denoiser-int8.onnx", "int8", 38.0, 0.3),
    }
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A network file and what is known about it."""

    name: str
    model: bytes
    facts: dict[str, Any]  # for the manifest


def network_of(avatar: Avatar) -> Denoiser:
    """The denoiser that the avatar's float32 network holds. Raises RunnerError when there is none."""
    shape = avatar.training.get("network")
    if TORCH_SOURCE not in avatar.models or not isinstance(shape, dict):
        raise RunnerError(
            f"avatar {avatar.name} holds {', '.join(avatar.models) or 'no networks'}; wanted {TORCH_SOURCE} "
            "and its shape in the manifest: enrol again"
        )
    return denoiser_from_onnx(avatar.models[TORCH_SOURCE], shape)


def weights_sha256(network: Denoiser) -> str:
    """Of names and values: variants of the same weights share it."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + b"\0" + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def is_current(avatar: Avatar, target: str) -> bool:
    """Whether the avatar holds that variant, made of the weights it now has."""
    facts = avatar.variants.get(TARGETS[target].model, {})
    return bool(facts.get("weights_sha256") == weights_sha256(network_of(avatar)))


def convert(
    avatar: Avatar,
    network: Denoiser,
    target: str,
    frames: Sequence[HeldOutFrame],
    progress: StageShareDone | None = None,
) -> Variant:
    """The network as `target`, one of TARGETS, judged on the avatar's held-out frames.

    The avatar's own float32 network is what the new one is compared with. INT8 of a large canvas is of half
    its size, see `half_px`. Raises RunnerError when a bound is missed.
    """
    say = progress or (lambda stage, share: None)
    wanted = TARGETS[target]
    before = OnnxRunner(avatar.models[TORCH_SOURCE], threads=1)
    try:
        say("posing", 0.0)
        way = poses(avatar, BETWEEN)
        most = MOST_POSES * 256 // avatar.size
        step = 1 if len(way) <= most else -(-len(way) // most) | 1  # odd: some lie between key frames
        plain = feeds_of(avatar, before, way[::step], EVERY_FEED)
        running, feeds = network, plain
        if wanted.precision == "int8" and half_px(network.config.size) is not None:  # for CPUs
            running = halved(network)
            feeds = _feeds_of_half(avatar, running, way[::step])
        probes = feeds[::PROBE_EVERY]
        say("converting", 0.0)
        converted, facts = _converted(running, wanted, feeds, probes, say)
        model = checked_denoiser(
            converted, avatar.size, may_be_half=running is not network
        )  # as it will load
        after = OnnxRunner(model, threads=1)
        try:
            say("judging", 0.0)
            verdict = judge(avatar, before, after, frames)
            require(verdict, wanted.loss_db)
            say("timing", 0.0)
            fp32_ms, p50_ms = race((before, _steady(plain)), (after, _steady(feeds)))
        finally:
            after.close()
    finally:
        before.close()
    facts |= {
        "precision": wanted.precision,
        "steps": 1,
        "sha256": hashlib.sha256(model).hexdigest(),
        "weights_sha256": weights_sha256(network),
        "inputs": {name: str(spec) for name, spec in denoiser_inputs(running.config.size).items()},
        "tools": {tool: metadata.version(tool) for tool in TOOLS},
        "held_out": verdict.to_dict(),
        "speed": {
            "p50_ms": round(p50_ms, 2),
            "fp32_p50_ms": round(fp32_ms, 2),
            "threads": 1,
            "machine": cpu_name(),
        },
    }
    source = avatar.variants.get(TORCH_SOURCE, {})
    if "distillation" in source and source.get("weights_sha256") == facts["weights_sha256"]:
        facts["distillation"] = source["distillation"]
    return Variant(wanted.model, model, facts)


def _feeds_of_half(avatar: Avatar, network: Denoiser, way: Sequence[Landmarks]) -> list[Feed]:
    """Feeds of a network of half the canvas's size, as `feeds_of`."""
    runner = TorchRunner(network, denoiser_inputs(network.config.size))
    try:
        return feeds_of(avatar, runner, way, EVERY_FEED)
    finally:
        runner.close()


def _converted(
    network: Denoiser, target: Target, feeds: Sequence[Feed], probes: Sequence[Feed], say: StageShareDone
) -> tuple[bytes, dict[str, Any]]:
    """The model, and its parity and how it was made, for the manifest."""
    example = {name: torch.from_numpy(array) for name, array in probes[0].items()}
    if target.precision == "fp32":
        plain = export_onnx(network, example)
        return plain, {"parity": _parity(network, plain, probes, PARITY_BOUND, target)}
    if target.precision == "fp16":
        half = export_onnx(HalfDenoiser(network).eval(), example)
        return half, {"parity": _parity(network, half, probes, np.inf, target)}
    running = export_onnx(FusedDenoiser(network).eval(), example)
    parity(network, running, probes)
    scales = [feed for index, feed in enumerate(feeds) if index % PROBE_EVERY]
    found = quantise(
        running, scales, probes, target.parity_db, lambda done, total: say("quantising", done / total)
    )
    return found.model, {
        "parity": _parity(network, found.model, probes, np.inf, target),
        "float_layers": list(found.float_layers),
        "sensitivity_db": {layer: round(value, 1) for layer, value in found.sensitivity_db.items()},
    }


def _parity(
    network: Denoiser, model: bytes, probes: Sequence[Feed], bound: float, target: Target
) -> dict[str, Any]:
    """How far the model is from the torch network. Raises RunnerError beyond the target's bound."""
    report = parity(network, model, probes, bound)
    if report.psnr_db < target.parity_db:
        raise RunnerError(
            f"the {target.precision} network reaches {report.psnr_db:.1f} dB of its float self; "
            f"wanted {target.parity_db:g} dB: nothing was changed; use --target onnx"
        )
    return {
        "max_abs_error": report.max_abs_error,
        "mean_abs_error": report.mean_abs_error,
        "psnr_db": round(min(report.psnr_db, 200.0), 2),
        "feeds": report.feeds,
    }


def _steady(feeds: Sequence[Feed]) -> Feed:
    return next(feed for feed in feeds if feed["noise_level"][0] == np.float32(STEADY_LEVEL))
