"""The base: what lips do for what is heard, in nobody's own way. A small network, trained on rules alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np

from engine.arrays import FloatArray
from engine.voice.features import LOOK_AHEAD_S as ROW_AHEAD_S
from engine.voice.features import ROW, ROWS_HZ
from engine.voice.motion_code import LIPS

BEFORE, AFTER = 3, 3  # rows around its own that a lip position is told from
AROUND = (BEFORE + 1 + AFTER) * ROW
LOOK_AHEAD_S = ROW_AHEAD_S + AFTER / ROWS_HZ  # of sound, before a lip position is known
LIP_NUMBERS = LIPS.stop - LIPS.start


def around(rows: FloatArray) -> FloatArray:
    """(n - BEFORE - AFTER, AROUND): each row with those around it. rows: (n, ROW)."""
    windows = np.lib.stride_tricks.sliding_window_view(rows, BEFORE + 1 + AFTER, axis=0)
    return np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(len(windows), AROUND)


def edged(rows: FloatArray) -> FloatArray:
    """The rows with their first BEFORE times before them and their last AFTER times after: for `around`."""
    return np.concatenate([rows[:1].repeat(BEFORE, 0), rows, rows[-1:].repeat(AFTER, 0)])


class Base:
    """A network of two hidden layers with SiLU: (n, AROUND) to (n, LIP_NUMBERS) of the motion code."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        """weights: mean, scale (AROUND,); 0.weight (AROUND, H), 0.bias (H,), 1.weight, ... 2.bias."""
        self._mean, self._scale = weights["mean"], weights["scale"]
        self._layers = [(weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in range(3)]

    def __call__(self, heard: FloatArray) -> FloatArray:
        """heard: see `around`."""
        x = (heard - self._mean) / self._scale
        for number, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias
            if number < len(self._layers) - 1:
                x = np.float32(0.5) * x * (np.float32(1.0) + np.tanh(np.float32(0.5) * x))
        return np.asarray(x, np.float32)


@cache
def base() -> Base:
    """The one that comes with avatarcast."""
    with files("engine").joinpath("assets/voice/base.npz").open("rb") as stream, np.load(stream) as stored:
        return Base({name: stored[name].astype(np.float32) for name in stored.files})
