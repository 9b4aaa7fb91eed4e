"""Picture graphs in the engine cache of this machine, as ONNX or as TensorRT engines: where, and of what.

A graph belongs to one avatar, its room and one frame, and to the module it was exported from; like an engine
it is refused where any of that has changed. Light: needs neither torch nor a runtime.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engine.avatar.avatar import Avatar
from engine.errors import RunnerError
from engine.picture.contract import graph_inputs, graph_outputs
from engine.render.scene import Layout, frame_size, layout_of
from engine.runners.choice import TORCH_SOURCE
from engine.runners.names import TENSORRT
from engine.runners.trt_build import library
from engine.runners.trt_cache import ANY_GPU, TrtEngineKey, engine_file, load_trt_engine

FP32, FP16 = "fp32", "fp16"
PRECISIONS = {"onnx-cpu": FP32, "onnx-cuda": FP16, **dict.fromkeys(TENSORRT, FP16)}  # of each runner's graph


_MADE_BY = [Path(__file__).with_name(f"graph_{part}.py") for part in ("module", "flows", "mesh")]


@dataclass(frozen=True, slots=True)
class GraphOf:
    """Which graph of an avatar."""

    avatar: Avatar
    frame: str  # as `engine.render.frame.checked_frame` gives it
    steps: int

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height)."""
        return frame_size(self.frame, self.avatar.size, self.avatar.scene)

    @property
    def layout(self) -> Layout | None:
        """None where the canvas is the frame."""
        width, height = self.frame_px
        if (width, height) == (self.avatar.size,) * 2:
            return None
        return layout_of(self.avatar.plate, self.avatar.scene, width, height)

    def path(self, target: str, where: str) -> Path:
        """target: onnx or one of TENSORRT; where: its precision, or the compute capability."""
        width, height = self.frame_px
        suffix = f"sm{where.replace('.', '')}.engine" if target in TENSORRT else f"{where}.engine"
        return engine_file(self.avatar, f"graph-{width}x{height}-{self.steps}-{target}-{suffix}")

    def key(self, target: str, precision: str, compute_capability: str = "", gpu: str = "") -> TrtEngineKey:
        """All that it must have been made of. Raises RunnerError where the avatar has no network."""
        digest = hashlib.sha256(self.network)
        for picture in (self.avatar.plate, *(() if self.layout is None else (self.layout.still,))):
            digest.update(picture.tobytes())
        tensors = {**graph_inputs(self.avatar.size), **graph_outputs(self.avatar.size, self.frame_px)}
        made_by = hashlib.sha256(b"".join(path.read_bytes() for path in _MADE_BY)).hexdigest()
        return TrtEngineKey(
            target=target,
            library=str(library(target).__version__) if target in TENSORRT else "",
            model_sha256=digest.hexdigest(),
            precision=precision,
            shapes=f"graph {made_by}: " + ", ".join(f"{name} {spec}" for name, spec in tensors.items()),
            compute_capability=compute_capability,
            gpu=ANY_GPU if target == "tensorrt-rtx" else gpu,
        )

    @property
    def network(self) -> bytes:
        """The network that it is made of. Raises RunnerError."""
        if TORCH_SOURCE not in self.avatar.models:
            raise RunnerError(f"avatar {self.avatar.name} holds no {TORCH_SOURCE}, which a graph is made of")
        return self.avatar.models[TORCH_SOURCE]

    def load(self, target: str, where: str, key: TrtEngineKey) -> bytes:
        """The file's graph or engine. Raises RunnerError where it is missing, damaged or stale."""
        return load_trt_engine(self.path(target, where), key, self.make_command(target, key.precision))

    def make_command(self, target: str, precision: str) -> str:
        """For messages."""
        target = "onnx-fp16" if (target, precision) == ("onnx", FP16) else target
        width, height = self.frame_px
        square = (width, height) == (self.avatar.size,) * 2
        options = "" if square else f" --frame {width}x{height}"
        options += "" if self.steps == 1 else f" --draws {self.steps}"
        return f"avatarcast export NAME.avatar --graph --target {target}{options}"
