"""The student: a small causal network that hears in speech what a large encoder hears, in any language.

Depthwise convolutions over past steps with pointwise ones between (temporal convolutional network, Bai et
al., arXiv:1803.01271), trained by export.voice.student. Weights are INT8; arithmetic is float32, in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.arrays import FloatArray
from engine.voice.mel import MELS

STACK = 2  # mel frames a step
STEP_S = 0.02
CHANNELS, HIDDEN, KERNEL = 160, 320, 5
DILATIONS = (1, 2, 4, 8, 1, 2, 4)
FEATURES = 96
_FEW = 4
DELAY = 4  # steps: a step's features are of what was heard so much earlier


class Student:
    """Runs over one sound, as it comes in. Holds what it has heard last: one object a sound."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        """weights: as export.voice.student.exported names them."""
        self._into = _pointwise(weights, "into")
        self._head = _pointwise(weights, "head")
        self._blocks = [
            (
                dilation,
                weights[f"{number}.depthwise"],
                weights[f"{number}.depthwise_bias"],
                _pointwise(weights, f"{number}.wide"),
                _pointwise(weights, f"{number}.narrow"),
            )
            for number, dilation in enumerate(DILATIONS)
        ]
        self._past = [np.zeros(((KERNEL - 1) * dilation, CHANNELS), np.float32) for dilation in DILATIONS]

    def push(self, levelled: FloatArray) -> FloatArray:
        """levelled: (2 n, 40) float32 mel frames; (n, 96) float32, whitened, of DELAY steps earlier."""
        count = len(levelled) // STACK
        weight, bias = self._into
        x = _times(levelled.reshape(count, STACK * MELS), weight) + bias
        for number, (dilation, depthwise, shift, wide, narrow) in enumerate(self._blocks):
            reach = np.concatenate([self._past[number], x])
            self._past[number] = reach[count:]
            taps = np.lib.stride_tricks.as_strided(
                reach, (KERNEL, count, CHANNELS), (dilation * reach.strides[0], *reach.strides)
            )
            y = np.einsum("knc,kc->nc", taps, depthwise) + shift
            y = _times(y, wide[0]) + wide[1]
            x = x + _times(_silu(y), narrow[0]) + narrow[1]
        weight, bias = self._head
        return np.asarray(_times(x, weight) + bias, np.float32)


def _times(x: FloatArray, weight: FloatArray) -> FloatArray:
    """(n, in) by (in, out). BLAS packs weights anew each time: for a few rows that takes twice as long."""
    if len(x) > _FEW:
        return np.asarray(x @ weight, np.float32)
    return np.asarray(np.einsum("nk,km->nm", x, weight), np.float32)


def _silu(x: FloatArray) -> FloatArray:
    return np.asarray(np.float32(0.5) * x * (np.float32(1.0) + np.tanh(np.float32(0.5) * x)), np.float32)


def _pointwise(weights: Mapping[str, FloatArray], name: str) -> tuple[FloatArray, FloatArray]:
    """(in, out) and (out,) float32."""
    rows = weights[f"{name}.int8"].astype(np.float32) * weights[f"{name}.scale"][:, None]
    return np.ascontiguousarray(rows.T), weights[f"{name}.bias"]
