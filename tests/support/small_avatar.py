"""Small made-up avatars and networks, for tests and for instruments that damage them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.network.contract import denoiser_inputs, denoiser_outputs
from engine.network.network_check import OPSET
from engine.network.onnx_file import Graph, Node, encode_graph
from engine.person.motion import build_neutral
from engine.person.retarget import Support
from engine.person.torso import TorsoModel
from engine.render.keyframes import KeyFrame
from tests.support.puppet import Pose, Puppet


def least_network(size: int, bias: float = 0.0) -> bytes:
    """The least that is a denoiser of a `size` px canvas, as ONNX: the prior with `bias` added."""
    weights = {"bias": np.full((1, 3, 1, 1), bias, np.float32)}
    nodes = (Node("Add", ("prior", "bias"), ("clean",), {}),)
    return encode_graph(Graph(OPSET, denoiser_inputs(size), denoiser_outputs(size), weights, nodes))


def noise_avatar(size: int = 64) -> Avatar:
    """A puppet's landmarks on pictures of noise, with the least network."""
    rng = np.random.default_rng(7)

    def image(channels: int) -> Any:
        return rng.integers(0, 256, (size, size, channels), np.uint8)

    def zeros(*shape: int) -> FloatArray:
        return np.zeros(shape, np.float32)

    landmarks = [Puppet(size).landmarks(Pose(yaw_deg=yaw)) for yaw in (0.0, 8.0)]
    return Avatar(
        name="noise",
        size=size,
        fps=25.0,
        neutral=build_neutral(landmarks),
        support=Support(np.full(6, -5.0, np.float32), np.full(6, 5.0, np.float32), np.ones(2, np.float32)),
        torso=TorsoModel(zeros(7, 2), zeros(9, 2), zeros(2), zeros(2, 2)),
        keyframes=tuple(KeyFrame(image(4), points) for points in landmarks),
        plate=image(3),
        models={"denoiser-fp32.onnx": least_network(size)},
        variants={"denoiser-fp32.onnx": {"precision": "fp32", "steps": 1}},
        consent={
            "who": "nobody: noise",
            "statement": "made for tests",
            "date": "2024-05-01",
            "person": "synthetic",
        },
        report={"held_out": None},
        preview_jpeg=jpeg(image(3)),
        training={"minutes": 0.0},
    )


def jpeg(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """rgb: (H, W, 3)."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG")
    return buffer.getvalue()
