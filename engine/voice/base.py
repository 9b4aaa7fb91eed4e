"""The base: what lips do for what is heard, in nobody's own way. A small network, trained on rules alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from zlib import crc32

import numpy as np

from engine.arrays import FloatArray
from engine.voice.features import LOOK_AHEAD_S as ROW_AHEAD_S
from engine.voice.features import ROW, ROWS_HZ
from engine.voice.motion_code import LIPS

BEFORE, AFTER = 2, 2  # rows around its own that a lip position is told from
AROUND = (BEFORE + 1 + AFTER) * ROW
LOOK_AHEAD_S = ROW_AHEAD_S + AFTER / ROWS_HZ  # of sound, before a lip position is known
_FEW = 4
LIP_NUMBERS = LIPS.stop - LIPS.start
SHAPES = 16  # visemes and an open jaw, each of mean 0 and variance 1 in read speech
PRESSED = 5  # of the shapes: lips on each other, for B, M and P
_SHUTS = (0.13, 1.2)  # of that shape: the lips begin to close, are shut. Chosen on virtual speakers


def around(rows: FloatArray) -> FloatArray:
    """(n - BEFORE - AFTER, AROUND): each row with those around it. rows: (n, ROW)."""
    rows = np.ascontiguousarray(rows, np.float32)
    count = len(rows) - BEFORE - AFTER
    # One row lies behind the other in memory, so those around it are one stretch of it.
    return np.lib.stride_tricks.as_strided(rows, (count, AROUND), rows.strides).copy()


def edged(rows: FloatArray) -> FloatArray:
    """The rows with their first BEFORE times before them and their last AFTER times after: for `around`."""
    return np.concatenate([rows[:1].repeat(BEFORE, 0), rows, rows[-1:].repeat(AFTER, 0)])


def times(x: FloatArray, weight: FloatArray) -> FloatArray:
    """(n, in) by (in, out). For a few rows BLAS wakes threads that cost more than what they do."""
    if len(x) > _FEW:
        return np.asarray(x @ weight, np.float32)
    return np.asarray(np.einsum("nk,km->nm", x, weight), np.float32)


def parted(shapes: FloatArray) -> FloatArray:
    """(n,) 1 where lips may part, 0 where they must meet: a mean of many mouths would leave them ajar."""
    low, high = _SHUTS
    return np.asarray(1.0 - np.clip((shapes[:, PRESSED] - low) / (high - low), 0.0, 1.0), np.float32)


class Base:
    """A network of two hidden layers with SiLU."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        """weights: mean, scale (AROUND,); 0.weight (AROUND, H), 0.bias (H,), 1.weight, ... 2.bias."""
        self._mean, self._scale = weights["mean"], weights["scale"]
        self._layers = [(weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in range(3)]
        self.mark = _mark(weights)

    def __call__(self, heard: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, LIP_NUMBERS) of the motion code, and (n, SHAPES) of what is said. heard: see `around`."""
        x = (heard - self._mean) / self._scale
        for number, (weight, bias) in enumerate(self._layers):
            x = times(x, weight) + bias
            if number < len(self._layers) - 1:
                x = np.float32(0.5) * x * (np.float32(1.0) + np.tanh(np.float32(0.5) * x))
        return np.asarray(x[:, :LIP_NUMBERS], np.float32), np.asarray(x[:, LIP_NUMBERS:], np.float32)


def _mark(weights: Mapping[str, FloatArray]) -> FloatArray:
    """(2,) tells one base from another: what was fitted to the one says nothing with another."""
    digest = crc32(b"".join(np.asarray(weights[name], np.float32).tobytes() for name in sorted(weights)))
    return np.array([digest >> 16, digest & 0xFFFF], np.float32) / np.float32(1 << 16)


@cache
def base() -> Base:
    """The one that comes with avatarcast."""
    with files("engine").joinpath("assets/voice/base.npz").open("rb") as stream, np.load(stream) as stored:
        return Base({name: stored[name].astype(np.float32) for name in stored.files})
