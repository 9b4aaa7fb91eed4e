"""Whether two films show the same person's face, by a network that was trained to tell people apart.

The network is dlib's (Davis King, "High Quality Face Recognition with Deep Metric Learning", 2017: a ResNet
of 29 layers, CC0 1.0; see .ci/face_embedding.py), run by ONNX Runtime. It maps a face to 128 numbers that lie
near each other where the person is the same. Of what it is worth, see TRUST.md: it was shown few faces of
some peoples, and takes those for each other more easily.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.geometry import similarity_fit

SIZE_PX = 150
# Distances of two films' mean embeddings: up to the first it is the same person, from the second on another.
SAME, OTHER = 0.35, 0.45
_LEAST_SCALE = (
    0.5  # of a picture: what is made smaller than that is made smaller first, so that nothing aliases
)
# Corners of the eyes (the person's left: outer, inner; right: outer, inner) and the base of the nose: points
# of the face mesh, and where the network was shown them, in shares of a chip without its border.
_POINTS = np.array([263, 362, 33, 133, 2], np.intp)
_PLACES = ((0.8596, 0.2135), (0.6461, 0.2290), (0.1206, 0.2137), (0.3341, 0.2291), (0.4901, 0.6278))
_BORDER = 0.25
_ON_CHIP = (np.array(_PLACES, np.float32) + _BORDER) / (1 + 2 * _BORDER) * SIZE_PX


@lru_cache(maxsize=1)
def _network() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = files("engine").joinpath("assets/face_embedding.onnx").read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def embedding(rgb: U8Image, face: FloatArray) -> FloatArray:
    """rgb: (H, W, 3) uint8; face: (478, 3) px, its mesh -> (128,) float32, the mean with its mirror's."""
    chip = _chip(rgb, face)
    both = np.stack([chip, chip[:, ::-1]]).astype(np.float32).transpose(0, 3, 1, 2)
    return np.asarray(_network().run(None, {"rgb": both})[0].mean(0), np.float32)


def distance(some: Sequence[FloatArray], others: Sequence[FloatArray]) -> float:
    """How far the faces of two films are apart, from embeddings of pictures of each; see SAME, OTHER."""
    return float(np.linalg.norm(np.mean(some, axis=0) - np.mean(others, axis=0)))


def _chip(rgb: U8Image, face: FloatArray) -> U8Image:
    """(SIZE_PX, SIZE_PX, 3) uint8: the face upright, as the network was shown faces."""
    source, target = np.zeros((2, len(_POINTS), 3), np.float32)
    source[:, :2], target[:, :2] = face[_POINTS, :2], _ON_CHIP
    rotation, scale, shift = similarity_fit(source, target)
    affine = np.column_stack([scale * rotation[:2, :2], shift[:2]])
    if scale < _LEAST_SCALE:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        affine[:, :2] /= scale
    return np.asarray(
        cv2.warpAffine(rgb, affine, (SIZE_PX, SIZE_PX), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
