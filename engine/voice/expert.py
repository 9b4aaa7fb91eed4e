"""Whether lips go with a sound, by two small networks of which neither ever told lips.

One turns what is heard into numbers, one what a mouth does, so that those of the same moment are alike and
those of other moments of the same utterance are not (Syncnet, Chung and Zisserman, ACCV 2016 workshops; in
motion space as in Learn2Talk, Zhuang et al., TVCG 2024). It judges told lips without their teller's errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np

from engine.arrays import FloatArray
from engine.voice.features import ROWS_HZ
from engine.voice.motion_code import LIP_GAP

MOUTH_NUMBERS = np.r_[LIP_GAP, 0:8]  # of the motion code: those that mean most
WINDOW = 2 * ROWS_HZ  # rows that are compared together
LAYERS = 4
_STEP = 5


class SyncExpert:
    """Convolutions over time with SiLU between them; `sound` and `mouth` towers of LAYERS each."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        """weights: mean, scale (ROW,) of rows; sound.0.weight (taps, in, out), sound.0.bias, ..."""
        self._mean, self._scale = weights["mean"], weights["scale"]
        self._towers = {
            tower: [(weights[f"{tower}.{n}.weight"], weights[f"{tower}.{n}.bias"]) for n in range(LAYERS)]
            for tower in ("sound", "mouth")
        }

    def sound(self, rows: FloatArray) -> FloatArray:
        """(n, E) of (n, ROW)."""
        return self._through("sound", (rows - self._mean) / self._scale)

    def mouth(self, lips: FloatArray) -> FloatArray:
        """(n, E) of (n, 22 or CODE), on the same clock."""
        return self._through("mouth", levelled(lips))

    def _through(self, tower: str, x: FloatArray) -> FloatArray:
        for number, (weight, bias) in enumerate(self._towers[tower]):
            if number:
                x = np.float32(0.5) * x * (np.float32(1.0) + np.tanh(np.float32(0.5) * x))
            reach = len(weight) // 2
            held = np.pad(x, ((reach, reach), (0, 0)))
            x = sum(held[tap : tap + len(x)] @ weight[tap] for tap in range(len(weight))) + bias
        return np.asarray(x, np.float32)


def levelled(lips: FloatArray) -> FloatArray:
    """(n, len(MOUTH_NUMBERS)): what the mouth does beside what it mostly does. lips: (n, 22 or CODE)."""
    moves = lips[:, MOUTH_NUMBERS]
    return np.asarray((moves - moves.mean(0)) / (moves.std(0) + 1e-4), np.float32)


def agreement(sound: FloatArray, mouth: FloatArray) -> FloatArray:
    """(w,) -1..1 of windows of WINDOW rows, one every _STEP. sound, mouth: (n, E), n at least WINDOW."""
    starts = range(0, len(sound) - WINDOW + 1, _STEP)
    pieces = [np.stack([one[at : at + WINDOW] for at in starts]) for one in (sound, mouth)]
    a, b = (one - one.mean(1, keepdims=True) for one in pieces)
    sizes = np.sqrt(np.square(a).sum((1, 2)) * np.square(b).sum((1, 2)))
    return np.asarray((a * b).sum((1, 2)) / np.maximum(sizes, 1e-6), np.float32)


@cache
def expert() -> SyncExpert:
    """The one that comes with avatarcast."""
    with files("engine").joinpath("assets/voice/expert.npz").open("rb") as stream, np.load(stream) as stored:
        return SyncExpert({name: stored[name].astype(np.float32) for name in stored.files})
