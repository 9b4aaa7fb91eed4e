"""Runs an ONNX network in ONNX Runtime, on the CPU or on an NVIDIA GPU.

All buffers are bound once, so a frame allocates nothing here; on a GPU they live there, and the network is
one CUDA graph, which ONNX Runtime records in the first run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime

from engine.cores import usable_cores
from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec, allocate, check_feed

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
VERSION: str = onnxruntime.__version__
# Windows knows only this call; elsewhere engine.library_reporting has done it, unless whoever imports us
# imported ONNX Runtime first.
onnxruntime.disable_telemetry_events()
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

    threads: how many compute one operator; 0: as many as can at once. They sleep between operators
    rather than spin: the cores are shared with tracking and encoding. eager: no CUDA graph; it is for
    networks of which some part must run on the CPU.
    """

    def __init__(self, model: bytes, provider: str = "cpu", threads: int = 0, eager: bool = False) -> None:
        if provider not in PROVIDERS:
            raise RunnerError(f"provider is {provider!r}; wanted one of {', '.join(PROVIDERS)}")
        if reason := unavailable(provider):
            raise RunnerError(reason)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A network in memory could else name files of the working folder as its weights.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=_providers(provider, eager))
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
        self._session: Any = session
        self._buffers: Any = (
            HostBuffers(session, self.inputs, self.outputs)
            if provider == "cpu"
            else DeviceBuffers(session, self.inputs, self.outputs, provider)
        )
        if provider != "cpu":
            self.run(allocate(self.inputs))  # records the graph

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Returned arrays are reused: copy what must outlive the next call."""
        with self._telling():
            check_feed(self.inputs, feed)
            self._buffers.put(feed)
            self._session.run_with_iobinding(self._buffers.binding)
            return {name: self._buffers.read(name) for name in self.outputs}

    def put(self, feed: Mapping[str, Array]) -> None:
        """See `ResidentRunner`."""
        with self._telling():
            check_feed(self.inputs, feed, partly=True)
            self._buffers.put(feed)

    def infer(self) -> None:
        """See `ResidentRunner`."""
        with self._telling():
            self._session.run_with_iobinding(self._buffers.binding)

    def read(self, name: str) -> Array:
        """See `ResidentRunner`."""
        with self._telling():
            found: Array = self._buffers.read(name)
            return found

    def carry(self, output: str, into: str) -> None:
        """See `ResidentRunner`."""
        with self._telling():
            self._buffers.carry(output, into)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What goes wrong in ONNX Runtime, as a RunnerError."""
        if self._session is None:
            raise RunnerError("the ONNX runner is closed; make a new one")
        try:
            yield
        except RunnerError:
            raise
        except Exception as error:  # as above
            raise RunnerError(
                f"ONNX Runtime {VERSION} failed while running the network ({_line(error)})"
            ) from error

    def close(self) -> None:
        """Lets the session go."""
        self._session = self._buffers = None


class HostBuffers:
    """Memory of this machine, bound to the network's inputs and outputs."""

    def __init__(
        self, session: Any, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
    ) -> None:
        self.binding = session.io_binding()
        self._feed, self._results = allocate(inputs), allocate(outputs)
        for name, array in self._feed.items():
            self.binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in self._results.items():
            self.binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def put(self, feed: Mapping[str, Array]) -> None:
        """Copies the feed in."""
        for name, array in feed.items():
            np.copyto(self._feed[name], array)

    def read(self, name: str) -> Array:
        """Always the same array."""
        return self._results[name]

    def carry(self, output: str, into: str) -> None:
        """Copies."""
        np.copyto(self._feed[into], self._results[output])


class DeviceBuffers:
    """Memory of a device, at fixed addresses, as a CUDA graph needs it; copied to and fro around each run."""

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        device: str,
    ) -> None:
        self.binding = session.io_binding()
        make = onnxruntime.OrtValue
        self._feed = {
            name: make.ortvalue_from_numpy(array, device, 0) for name, array in allocate(inputs).items()
        }
        self._made = {
            name: make.ortvalue_from_shape_and_type(spec.shape, np.dtype(spec.dtype).type, device, 0)
            for name, spec in outputs.items()
        }
        self._results = allocate(outputs)
        for name, value in self._feed.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in self._made.items():
            self.binding.bind_ortvalue_output(name, value)

    def put(self, feed: Mapping[str, Array]) -> None:
        """Copies the feed in."""
        for name, array in feed.items():
            self._feed[name].update_inplace(np.ascontiguousarray(array))

    def read(self, name: str) -> Array:
        """Waits for the run, then copies out; always the same array."""
        self.binding.synchronize_outputs()
        np.copyto(self._results[name], self._made[name].numpy())
        return self._results[name]

    def carry(self, output: str, into: str) -> None:
        """From device to device."""
        self.binding.synchronize_outputs()
        self._feed[into].update_inplace(self._made[output])


def _providers(provider: str, eager: bool) -> list[Any]:
    if provider == "cpu":
        return [PROVIDERS[provider]]
    # What is float32 needs its digits: a graph solves flows in it.
    return [(PROVIDERS[provider], {"enable_cuda_graph": "0" if eager else "1", "use_tf32": "0"})]


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
