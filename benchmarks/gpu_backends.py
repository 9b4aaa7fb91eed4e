"""Ways to run one torch network again and again on the same inputs: each gives a function that runs it once.

Inputs and outputs stay where the network runs, but for TensorRT. A way that cannot be taken here raises
RunnerError with the reason. Knows nothing of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine import runner_trt, trt_build
from engine.errors import RunnerError
from export.onnx_export import export_onnx

Run = Callable[[], object]  # starts one run; on a GPU it may return before it is done
Inputs = Mapping[str, Tensor]  # by name, in the order the network takes them
_ERRORS_ONLY = 3  # of ONNX Runtime's log levels
_ELEMENTS = {torch.float32: "float32", torch.float16: "float16"}


def eager(network: nn.Module, inputs: Inputs) -> Run:
    """torch, operator by operator."""
    values = tuple(inputs.values())
    return lambda: network(*values)


def cuda_graph(network: nn.Module, inputs: Inputs) -> Run:
    """The operators recorded once, then launched as a whole."""
    if device_of(inputs) != "cuda":
        raise RunnerError("a CUDA graph needs device cuda")
    values = tuple(inputs.values())
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries allocate on their first runs, which a graph must not
        for _ in range(3):
            network(*values)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(*values)
    return graph.replay


def compiled(network: nn.Module, inputs: Inputs) -> Run:
    """torch.compile, with CUDA graphs where there is a GPU."""
    values = tuple(inputs.values())
    mode = "reduce-overhead" if device_of(inputs) == "cuda" else None
    torch.compiler.reset()
    quick: Any = torch.compile(network, mode=mode, dynamic=False)
    try:
        quick(*values)
    except Exception as error:  # whatever the compilers behind it raise, of many kinds
        raise RunnerError(f"torch.compile failed: {_line(error)}") from error
    return lambda: quick(*values)


def onnxruntime_bound(network: nn.Module, inputs: Inputs) -> Run:
    """ONNX Runtime on buffers of the device, bound once."""
    import onnxruntime  # the others do without

    device = device_of(inputs)
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    if provider not in (found := onnxruntime.get_available_providers()):
        raise RunnerError(f"onnxruntime has {', '.join(found)}; wanted {provider}")
    model = export_onnx(network, dict(inputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if device == "cpu":
        options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RunnerError(f"onnxruntime started with {session.get_providers()[0]}; wanted {provider}")
    output = torch.zeros_like(network(*inputs.values()))
    binding = session.io_binding()
    for name, tensor in inputs.items():
        binding.bind_input(name, device, 0, _ELEMENTS[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
    binding.bind_output("clean", device, 0, _ELEMENTS[output.dtype], tuple(output.shape), output.data_ptr())
    kept = (inputs, output)  # the binding knows addresses only

    def run() -> object:
        session.run_with_iobinding(binding)
        return kept[1]

    return run


def tensorrt(network: nn.Module, inputs: Inputs, target: str = "tensorrt") -> Run:
    """An engine built for this GPU, in the runner that serves: with the copies from the host and back."""
    if reason := trt_build.cannot_run(target):
        raise RunnerError(reason)
    engine = trt_build.build(target, export_onnx(network, dict(inputs)), None).engine
    runner = runner_trt.start(target, engine)
    feed = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
    return lambda: runner.run(feed)


BACKENDS: Mapping[str, Callable[[nn.Module, Inputs], Run]] = {
    "torch": eager,
    "cuda_graph": cuda_graph,
    "compile": compiled,
    "onnxruntime": onnxruntime_bound,
    "tensorrt": tensorrt,
    "tensorrt-rtx": partial(tensorrt, target="tensorrt-rtx"),
}


def device_of(inputs: Inputs) -> str:
    """Where the inputs lie: "cpu" or "cuda"."""
    return next(iter(inputs.values())).device.type


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
