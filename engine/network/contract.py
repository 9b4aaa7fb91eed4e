"""What a loaded network looks like to the rest of the engine, whichever backend runs it; and a null one.

Knows no backend: each lives in the module named after it (`engine.runners.onnx_runner`, ...);
`engine.runners.choice` chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import RunnerError
from engine.render.guidance import GUIDANCE_CHANNELS

Array = NDArray[Any]
PRIOR = "prior"  # the input that is a first guess at the output


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and type of one input or output; fixed for the life of a runner."""

    shape: tuple[int, ...]
    dtype: str = "float32"  # NumPy's name

    def __post_init__(self) -> None:
        if any(type(length) is not int or length < 0 for length in self.shape):
            raise RunnerError(f"shape is {self.shape}; wanted fixed lengths: export with a fixed canvas size")

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class Runner(Protocol):
    """One loaded network. Not thread-safe: one caller, one CUDA stream."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the network's order."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """By name, in the network's order."""

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. The feed is copied; returned arrays are reused: copy what must outlive the next call."""

    def close(self) -> None:
        """Gives memory and device back. A closed runner refuses to run; closing again does nothing."""


class ResidentRunner(Runner, Protocol):
    """A runner that keeps what it was given, wherever it runs: only what changes is handed over."""

    def put(self, feed: Mapping[str, Array]) -> None:
        """Copies some inputs in; they stay until they are put again. All begin as 0."""

    def infer(self) -> None:
        """Runs once, on what was put; may return before it is done."""

    def read(self, name: str) -> Array:
        """An output of the last run, waited for; reused: copy what must outlive the next call."""

    def carry(self, output: str, into: str) -> None:
        """Copies an output of the last run into an input of the same shape and type, where it is."""


def denoiser_inputs(size: int) -> Mapping[str, TensorSpec]:
    """What a denoiser of a `size` px canvas takes, in the network's order."""
    return {
        "noisy": TensorSpec((1, 3, size, size)),  # [-1, 1]
        PRIOR: TensorSpec((1, 3, size, size)),  # [-1, 1]
        "guidance": TensorSpec((1, GUIDANCE_CHANNELS, size // 2, size // 2)),  # [0, 1]
        "noise_level": TensorSpec((1,)),  # [0, 1]
    }


def half_px(size: int) -> int | None:
    """The side of the smaller network that a `size` px canvas may have; None where there can be none.

    What a network corrects is coarse. On a large canvas it may do so at half the size: the fine part comes
    from the key frames, see `engine.render.composer`.
    """
    return size // 2 if size >= 512 and size % 256 == 0 else None


def network_px(runner: Runner) -> int:
    """The side of the pictures that a denoiser takes and gives."""
    return runner.inputs[PRIOR].shape[-1]


def denoiser_outputs(size: int) -> Mapping[str, TensorSpec]:
    """What a denoiser of a `size` px canvas gives."""
    return {"clean": TensorSpec((1, 3, size, size))}  # [-1, 1]


def check_feed(inputs: Mapping[str, TensorSpec], feed: Mapping[str, Array], partly: bool = False) -> None:
    """Refuses a feed that is not exactly what the network takes, with what was found and what was wanted.

    partly: inputs may be missing.
    """
    if not (feed.keys() <= inputs.keys() if partly else feed.keys() == inputs.keys()):
        missing = [name for name in inputs if name not in feed]
        unknown = [name for name in feed if name not in inputs]
        raise RunnerError(
            f"the feed lacks {missing or 'nothing'} and has unknown {unknown or 'nothing'}; "
            f"wanted {list(inputs)}: feed every input of runner.inputs and no other"
        )
    for name, array in feed.items():
        spec = inputs[name]
        if array.shape != spec.shape or array.dtype.name != spec.dtype:
            raise RunnerError(
                f"input {name} is {array.dtype} {array.shape}; wanted {spec}: "
                "the avatar was made for another canvas or data type, export it again"
            )


def allocate(specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """One zeroed buffer for each tensor."""
    return {name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}


class NullRunner:
    """Right names, shapes and types, no work: an output is the prior where it fits, else zeros.

    For trying the path around the network, and for measuring it.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> None:
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(outputs))
        self._buffers = allocate(outputs)
        self._closed = False

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Passes the prior through. Returned arrays are reused: copy what must outlive the next call."""
        if self._closed:
            raise RunnerError("the null runner is closed; make a new one")
        check_feed(self.inputs, feed)
        for name, spec in self.outputs.items():
            if self.inputs.get(PRIOR) == spec:
                np.copyto(self._buffers[name], feed[PRIOR])
        return self._buffers

    def close(self) -> None:
        """Refuses to run from now on."""
        self._closed = True
