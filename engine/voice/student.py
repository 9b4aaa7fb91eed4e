"""The student: a small causal network that hears in speech what a large encoder hears, in any language.

Depthwise convolutions over past steps with pointwise ones between (temporal convolutional network, Bai et
al., arXiv:1803.01271), trained by export.voice.student. Weights are INT8 and stay so; arithmetic is float32,
in one compiled pass: a row of sound is two steps, for which a library spends more on calls than on numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.compiled import compiled_sums
from engine.voice.mel import MELS

STACK = 2  # mel frames a step
STEP_S = 0.02
CHANNELS, HIDDEN, KERNEL = 160, 320, 5
DILATIONS = (1, 2, 4, 8, 1, 2, 4)
FEATURES = 96
DELAY = 4  # steps: a step's features are of what was heard so much earlier
REACH_S = (KERNEL - 1) * sum(DILATIONS) * STEP_S  # of sound, that a step is of

Int8 = NDArray[np.int8]


class Student:
    """Runs over one sound, as it comes in. Holds what it has heard last: one object a sound."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        """weights: as export.voice.student.exported names them."""
        self._into, self._head = _pointwise(weights, "into"), _pointwise(weights, "head")
        blocks = range(len(DILATIONS))
        self._taps = np.stack([weights[f"{number}.depthwise"] for number in blocks])
        self._shift = np.stack([weights[f"{number}.depthwise_bias"] for number in blocks])
        self._wide = _stacked([_pointwise(weights, f"{number}.wide") for number in blocks])
        self._narrow = _stacked([_pointwise(weights, f"{number}.narrow") for number in blocks])
        self._past = np.zeros((len(DILATIONS), (KERNEL - 1) * max(DILATIONS), CHANNELS), np.float32)

    def push(self, levelled: FloatArray) -> FloatArray:
        """levelled: (2 n, 40) float32 mel frames; (n, 96) float32, whitened, of DELAY steps earlier."""
        steps = np.ascontiguousarray(levelled).reshape(-1, STACK * MELS)
        return _run(
            steps, self._past, _DILATIONS, self._taps, self._shift,
            self._into, self._wide, self._narrow, self._head,
        )  # fmt: skip


_DILATIONS = np.array(DILATIONS)


def _pointwise(weights: Mapping[str, FloatArray], name: str) -> tuple[Any, FloatArray, FloatArray]:
    """(in, out) int8, its scale (out,) and bias (out,)."""
    rows = np.ascontiguousarray(weights[f"{name}.int8"].T)
    return rows, weights[f"{name}.scale"].astype(np.float32), weights[f"{name}.bias"].astype(np.float32)


def _stacked(parts: list[tuple[Any, FloatArray, FloatArray]]) -> tuple[Any, FloatArray, FloatArray]:
    weight, scale, bias = zip(*parts, strict=True)
    return np.stack(weight), np.stack(scale), np.stack(bias)


@compiled_sums
def _times(x: FloatArray, weight: Int8, scale: FloatArray, bias: FloatArray, out: FloatArray) -> None:
    """out[:2] = x[:2] @ (weight scale) + bias. Two rows and four weights at once: each is read once."""
    for m in range(weight.shape[1]):
        out[0, m] = 0.0
        out[1, m] = 0.0
    for k in range(0, weight.shape[0], 4):
        a0, a1, a2, a3 = x[0, k], x[0, k + 1], x[0, k + 2], x[0, k + 3]
        b0, b1, b2, b3 = x[1, k], x[1, k + 1], x[1, k + 2], x[1, k + 3]
        for m in range(weight.shape[1]):
            w0, w1 = np.float32(weight[k, m]), np.float32(weight[k + 1, m])
            w2, w3 = np.float32(weight[k + 2, m]), np.float32(weight[k + 3, m])
            out[0, m] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
            out[1, m] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
    for m in range(weight.shape[1]):
        out[0, m] = out[0, m] * scale[m] + bias[m]
        out[1, m] = out[1, m] * scale[m] + bias[m]


@compiled_sums
def _run(
    steps: FloatArray,
    past: FloatArray,
    dilations: NDArray[np.int64],
    taps: FloatArray,
    shift: FloatArray,
    into: tuple[Int8, FloatArray, FloatArray],
    wide: tuple[Int8, FloatArray, FloatArray],
    narrow: tuple[Int8, FloatArray, FloatArray],
    head: tuple[Int8, FloatArray, FloatArray],
) -> FloatArray:  # pragma: no cover - compiled
    """(n, FEATURES) of (n, STACK * MELS); `past`, (blocks, reach, CHANNELS), goes on to what comes next."""
    count, channels = steps.shape[0], taps.shape[2]
    found = np.empty((count, head[0].shape[1]), np.float32)
    given = np.empty((2, steps.shape[1]), np.float32)
    x, y = np.empty((2, channels), np.float32), np.empty((2, channels), np.float32)
    hidden = np.empty((2, wide[0].shape[2]), np.float32)
    told = np.empty((2, found.shape[1]), np.float32)
    for at in range(0, count, 2):
        rows = min(2, count - at)
        for row in range(2):
            given[row] = steps[at + min(row, rows - 1)]
        _times(given, into[0], into[1], into[2], x)
        for block in range(taps.shape[0]):
            held, by = past[block], dilations[block]
            reach = held.shape[0]
            for row in range(2):
                y[row] = shift[block]
                for tap in range(taps.shape[1]):
                    back = row - (taps.shape[1] - 1 - tap) * by
                    for m in range(channels):
                        value = x[back, m] if back >= 0 else held[reach + back, m]
                        y[row, m] += taps[block, tap, m] * value
            held[: reach - rows] = held[rows:].copy()
            held[reach - rows :] = x[:rows]
            _times(y, wide[0][block], wide[1][block], wide[2][block], hidden)
            for row in range(2):
                for m in range(hidden.shape[1]):
                    hidden[row, m] /= np.float32(1.0) + np.exp(-hidden[row, m])
            _times(hidden, narrow[0][block], narrow[1][block], narrow[2][block], y)
            x += y
        _times(x, head[0], head[1], head[2], told)
        found[at : at + rows] = told[:rows]
    return found
