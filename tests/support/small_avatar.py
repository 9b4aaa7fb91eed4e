"""Small made-up parts of avatars, for tests and for instruments that damage them."""

from __future__ import annotations

import numpy as np

from engine.network.contract import denoiser_inputs, denoiser_outputs
from engine.network.network_check import OPSET
from engine.network.onnx_file import Graph, Node, encode_graph


def least_network(size: int, bias: float = 0.0) -> bytes:
    """The least that is a denoiser of a `size` px canvas, as ONNX: the prior with `bias` added."""
    weights = {"bias": np.full((1, 3, 1, 1), bias, np.float32)}
    nodes = (Node("Add", ("prior", "bias"), ("clean",), {}),)
    return encode_graph(Graph(OPSET, denoiser_inputs(size), denoiser_outputs(size), weights, nodes))
