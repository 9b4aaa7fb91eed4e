"""Runs a TensorRT engine, of data-centre TensorRT or of TensorRT for RTX: imports differ, the code does not.

All memory is allocated once and stays on the device. A frame is one stream: copies in, the network, copies
out; recorded once as a CUDA graph and replayed, or queued call by call by its eager equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np

from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec, check_feed
from engine.runners.trt_build import library, quiet_logger


class Device(Protocol):
    """What `engine.runners.cuda.Cuda` offers."""

    stream: Any

    def device_memory(self, size_bytes: int) -> int:
        """See engine.runners.cuda."""

    def pinned(self, spec: TensorSpec) -> Array:
        """See engine.runners.cuda."""

    def to_device(self, target: int, source: Array) -> None:
        """See engine.runners.cuda."""

    def to_host(self, target: Array, source: int) -> None:
        """See engine.runners.cuda."""

    def on_device(self, target: int, source: int, size_bytes: int) -> None:
        """See engine.runners.cuda."""

    def capture(self, queue: Any) -> Any:
        """See engine.runners.cuda."""

    def launch(self, graph: Any) -> None:
        """See engine.runners.cuda."""

    def wait(self) -> None:
        """See engine.runners.cuda."""

    def close(self, graph: Any) -> None:
        """See engine.runners.cuda."""


class TrtRunner:
    """One engine, one stream. Not thread-safe.

    eager: queue each call of each frame instead of replaying a graph, for finding faults and for engines that
    cannot be captured; slower, the same result.
    """

    def __init__(self, trt: Any, engine: Any, device: Device, eager: bool = False) -> None:
        self._trt, self._device = trt, device
        self._context = engine.create_execution_context()
        if self._context is None:
            raise RunnerError("TensorRT cannot set the engine up; wanted more GPU memory: see `nvidia-smi`")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        specs = {name: _spec(trt, engine, name) for name in names}
        entering = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        leaving = [name for name in names if name not in entering]
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType({name: specs[name] for name in entering})
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType({name: specs[name] for name in leaving})
        self._feed = {name: device.pinned(specs[name]) for name in entering}
        self._results: dict[str, Array] = {name: device.pinned(specs[name]) for name in leaving}
        bound = {**self._feed, **self._results}
        self._memory = {name: device.device_memory(array.nbytes) for name, array in bound.items()}
        for name, pointer in self._memory.items():
            self._context.set_tensor_address(name, pointer)
        self._queue()  # once outside a graph: TensorRT sets itself up, and RTX compiles its kernels
        device.wait()
        self._graph = None if eager else device.capture(self._queue)
        self._closed = False

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Returned arrays are reused: copy what must outlive the next call."""
        self._require_open()
        check_feed(self.inputs, feed)
        for name, buffer in self._feed.items():
            np.copyto(buffer, feed[name])
        if self._graph is None:
            self._queue()
        else:
            self._device.launch(self._graph)
        self._device.wait()
        return self._results

    def close(self) -> None:
        """Gives the device back."""
        if not self._closed:
            self._closed = True
            self._device.close(self._graph)
            self._context = None

    def _queue(self) -> None:
        """One frame's work onto the stream."""
        for name, buffer in self._feed.items():
            self._device.to_device(self._memory[name], buffer)
        self._execute()
        for name, result in self._results.items():
            self._device.to_host(result, self._memory[name])

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._device.stream)):
            raise RunnerError("TensorRT failed to queue the network: see `avatarcast doctor`")

    def _require_open(self) -> None:
        if self._closed:
            raise RunnerError("the TensorRT runner is closed; make a new one")


_Runner = TypeVar("_Runner", bound=TrtRunner)


class ResidentTrtRunner(TrtRunner):
    """Copies only what is put and read; its CUDA graph holds the network alone. See `ResidentRunner`."""

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Returned arrays are reused: copy what must outlive the next call."""
        check_feed(self.inputs, feed)
        self.put(feed)
        self.infer()
        return {name: self.read(name) for name in self.outputs}

    def put(self, feed: Mapping[str, Array]) -> None:
        """See `ResidentRunner`."""
        self._require_open()
        check_feed(self.inputs, feed, partly=True)
        self._device.wait()  # for copies from the same memory
        for name, array in feed.items():
            np.copyto(self._feed[name], array)
            self._device.to_device(self._memory[name], self._feed[name])

    def infer(self) -> None:
        """See `ResidentRunner`."""
        self._require_open()
        self._execute() if self._graph is None else self._device.launch(self._graph)

    def read(self, name: str) -> Array:
        """See `ResidentRunner`."""
        self._require_open()
        self._device.to_host(self._results[name], self._memory[name])
        self._device.wait()
        return self._results[name]

    def carry(self, output: str, into: str) -> None:
        """See `ResidentRunner`."""
        self._require_open()
        self._device.on_device(self._memory[into], self._memory[output], self._results[output].nbytes)

    def _queue(self) -> None:
        self._execute()


def start(kind: type[_Runner], target: str, engine: bytes, eager: bool = False) -> _Runner:
    """The engine on the GPU in use. Raises RunnerError when TensorRT or CUDA refuses."""
    from engine.runners.cuda import Cuda

    trt, device = library(target), Cuda()
    logger = quiet_logger(trt)
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
    try:
        if loaded is None:
            raise RunnerError(
                f"{target} {trt.__version__} cannot load the engine: {logger.last or 'no reason given'}"
            )
        return kind(trt, loaded, device, eager)
    except RunnerError:
        device.close(None)
        raise


def _spec(trt: Any, engine: Any, name: str) -> TensorSpec:
    shape = tuple(engine.get_tensor_shape(name))
    return TensorSpec(shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name)
