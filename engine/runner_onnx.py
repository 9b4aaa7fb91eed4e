"""Runs an ONNX network in ONNX Runtime, on the CPU or on an NVIDIA GPU.

All buffers are bound once, so a frame allocates nothing here. Knows nothing of what the network computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime

from engine.errors import RunnerError
from engine.runner import Array, TensorSpec, allocate, check_feed

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
VERSION: str = onnxruntime.__version__
_ERRORS_ONLY = 3  # of ONNX Runtime's log levels
_DTYPES: Mapping[str, str] = {  # ONNX Runtime's name -> NumPy's
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


def unavailable(provider: str) -> str | None:
    """Why this installation cannot use the provider ("cpu" or "cuda"), with the cure; None if it can."""
    found = onnxruntime.get_available_providers()
    if PROVIDERS[provider] in found:
        return None
    return (
        f"onnxruntime {VERSION} has {', '.join(found)}; wanted {PROVIDERS[provider]}: "
        "pip uninstall onnxruntime, then pip install 'avatarcast[gpu]'"
    )


class OnnxRunner:
    """One ONNX network in memory, with fixed shapes. Not thread-safe.

    threads: how many compute one operator; 0 lets ONNX Runtime take every core. They sleep between operators
    rather than spin: the cores are shared with tracking and encoding.
    """

    def __init__(self, model: bytes, provider: str = "cpu", threads: int = 0) -> None:
        if provider not in PROVIDERS:
            raise RunnerError(f"provider is {provider!r}; wanted one of {', '.join(PROVIDERS)}")
        if reason := unavailable(provider):
            raise RunnerError(reason)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(model, options, providers=[PROVIDERS[provider]])
        except Exception as error:  # ONNX Runtime raises many kinds, all of its own and none exported
            raise RunnerError(
                f"ONNX Runtime {VERSION} cannot load the network with {PROVIDERS[provider]} "
                f"({_line(error)}): export the avatar again, or see `avatarcast doctor`"
            ) from error
        # It moves to the CPU by itself when the GPU's libraries do not load.
        if session.get_providers()[0] != PROVIDERS[provider]:
            raise RunnerError(
                f"ONNX Runtime {VERSION} started with {session.get_providers()[0]}; "
                f"wanted {PROVIDERS[provider]}: check the GPU's driver, CUDA and cuDNN"
            )
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(_specs(session.get_inputs()))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(_specs(session.get_outputs()))
        self._feed = allocate(self.inputs)
        self._results = allocate(self.outputs)
        self._binding = session.io_binding()
        for name, array in self._feed.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in self._results.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._session: Any = session

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Returned arrays are reused: copy what must outlive the next call."""
        if self._session is None:
            raise RunnerError("the ONNX runner is closed; make a new one")
        check_feed(self.inputs, feed)
        for name, buffer in self._feed.items():
            np.copyto(buffer, feed[name])
        try:
            # With CUDA bound values move to the device and back inside this call, which waits for them.
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # as above
            raise RunnerError(
                f"ONNX Runtime {VERSION} failed while running the network ({_line(error)})"
            ) from error
        return self._results

    def close(self) -> None:
        """Lets the session go."""
        self._session = self._binding = None


def _specs(nodes: list[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for node in nodes:
        if node.type not in _DTYPES:
            raise RunnerError(f"{node.name} is {node.type}; wanted one of {', '.join(_DTYPES)}")
        if not all(isinstance(length, int) for length in node.shape):
            raise RunnerError(
                f"{node.name} has the open shape {node.shape}; wanted fixed lengths: "
                "export with a fixed canvas size"
            )
        specs[node.name] = TensorSpec(tuple(node.shape), _DTYPES[node.type])
    return specs


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
