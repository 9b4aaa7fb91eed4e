"""The few CUDA calls that a runner needs, through NVIDIA's own bindings: memory, one stream, graphs.

cuda-bindings rather than torch: 31 MB instead of gigabytes, and serving works without torch. Import it only
where a GPU is wanted.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime

from engine.errors import RunnerError
from engine.network.contract import Array, TensorSpec

Pointer = int
Graph = Any
Stream = Any


def device() -> tuple[str, str]:
    """Name and compute capability ("8.9") of the GPU in use. Raises RunnerError where there is none."""
    _checked(runtime.cudaGetDeviceCount())
    properties = _checked(runtime.cudaGetDeviceProperties(_checked(runtime.cudaGetDevice())))
    return properties.name.decode(), f"{properties.major}.{properties.minor}"


class Cuda:
    """One stream of the GPU in use, and what lives beside it. Not thread-safe."""

    def __init__(self) -> None:
        _checked(runtime.cudaGetDeviceCount())
        # Non-blocking: nothing waits for the legacy default stream.
        self.stream: Stream = _checked(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self._device: list[Pointer] = []
        self._host: list[Pointer] = []

    def device_memory(self, size_bytes: int) -> Pointer:
        """Lives until `close`."""
        self._device.append(pointer := int(_checked(runtime.cudaMalloc(size_bytes))))
        return pointer

    def pinned(self, spec: TensorSpec) -> Array:
        """Page-locked host memory, which copies need to be asynchronous; lives until `close`."""
        kind = np.dtype(spec.dtype)
        count = int(np.prod(spec.shape))
        self._host.append(pointer := int(_checked(runtime.cudaMallocHost(count * kind.itemsize))))
        memory: Any = (ctypes.c_byte * (count * kind.itemsize)).from_address(pointer)
        array: Array = np.frombuffer(memory, kind).reshape(spec.shape)
        array.fill(0)
        return array

    def to_device(self, target: Pointer, source: Array) -> None:
        """Queues the copy."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(target, source.ctypes.data, source.nbytes, kind)

    def to_host(self, target: Array, source: Pointer) -> None:
        """Queues the copy."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(target.ctypes.data, source, target.nbytes, kind)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """What `queue` puts on the stream, as a graph; nothing runs yet."""
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _checked(runtime.cudaStreamBeginCapture(self.stream, mode))
        try:
            queue()
        finally:
            recorded = _checked(runtime.cudaStreamEndCapture(self.stream))
        graph = _checked(runtime.cudaGraphInstantiate(recorded, 0))
        _checked(runtime.cudaGraphDestroy(recorded))
        return graph

    def launch(self, graph: Graph) -> None:
        """Queues the whole graph."""
        _checked(runtime.cudaGraphLaunch(graph, self.stream))

    def wait(self) -> None:
        """Until everything queued is done."""
        _checked(runtime.cudaStreamSynchronize(self.stream))

    def close(self, graph: Graph | None) -> None:
        """Waits, then gives everything back."""
        self.wait()
        if graph is not None:
            _checked(runtime.cudaGraphExecDestroy(graph))
        for pointer in self._device:
            _checked(runtime.cudaFree(pointer))
        for pointer in self._host:
            _checked(runtime.cudaFreeHost(pointer))
        self._device, self._host = [], []
        _checked(runtime.cudaStreamDestroy(self.stream))

    def on_device(self, target: Pointer, source: Pointer, size_bytes: int) -> None:
        """Queues the copy."""
        self._copy(target, source, size_bytes, runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice)

    def _copy(self, target: Pointer, source: Pointer, size_bytes: int, kind: Any) -> None:
        _checked(runtime.cudaMemcpyAsync(target, source, size_bytes, kind, self.stream))


def _checked(answer: tuple[Any, ...]) -> Any:
    """What a call gave besides its status. Raises RunnerError with CUDA's own words for any other status."""
    status, *values = answer
    if status != runtime.cudaError_t.cudaSuccess:
        _, words = runtime.cudaGetErrorString(status)
        raise RunnerError(
            f"CUDA says {status.name}: {words.decode()}; wanted an NVIDIA GPU and its driver: "
            "see `nvidia-smi`, or choose --runner onnx-cpu"
        )
    return values[0] if values else None
