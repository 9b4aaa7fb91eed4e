"""MediaPipe's single-shot detectors: faces, palms and bodies in a whole picture.

A network tells for each of a fixed set of anchors how likely something is there, its box and its key points
(SSD, arXiv:1512.02325; BlazeFace, arXiv:1907.05047). Finds that overlap are averaged, weighted by score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.tracking.litert_model import LiteRtModel, sigmoid
from engine.tracking.region import whole

_LEAST = 0.5  # score of what counts as found
_SAME = 0.3  # intersection over union from which on two finds are one


class Detection(NamedTuple):
    """middle (2,), size (2,) and key points (K, 2) in px; score 0..1."""

    middle: FloatArray
    size: FloatArray
    points: FloatArray
    score: float


class Detector:
    """Looks at the whole picture, letterboxed into a square."""

    def __init__(self, model: str, size: int, anchors: dict[int, int], signed: bool) -> None:
        """size: px of the network's input. anchors: how many at each place, by the stride of their grid, px.

        signed: the input runs from -1 to 1, else from 0 to 1.
        """
        self._model = LiteRtModel(model)
        self._size, self._signed = size, signed
        self._anchors = np.concatenate([_grid(size // stride, many) for stride, many in anchors.items()])

    def find(self, rgb: U8Image) -> list[Detection]:
        """rgb: (H, W, 3) uint8 -> what was found, the surest first."""
        square = whole(rgb)
        batch = square.cut_out(rgb, self._size, black_around=True)
        raw, logits = self._model(batch * 2 - 1 if self._signed else batch)
        scores = sigmoid(logits[0, :, 0])
        likely = np.flatnonzero(scores >= _LEAST)
        # Pairs of x and y: middle, size, then key points; middle and points as seen from the anchor.
        pairs = raw[0, likely].reshape(len(likely), raw.shape[-1] // 2, 2) / self._size
        pairs[:, 0] += self._anchors[likely]
        pairs[:, 2:] += self._anchors[likely, None]
        real = (pairs[:, 1] >= 0).all(-1)
        return [
            Detection(
                square.to_picture(found[:1])[0],
                found[1] * square.side,
                square.to_picture(found[2:]),
                score,
            )
            for found, score in _merged(pairs[real], scores[likely][real])
        ]


def _grid(cells: int, many: int) -> FloatArray:
    """(cells * cells * many, 2): the middles of a grid's cells, 0..1, each `many` times, row by row."""
    along = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    x, y = np.meshgrid(along, along)
    return np.repeat(np.stack([x.ravel(), y.ravel()], -1), many, axis=0)


def _merged(pairs: FloatArray, scores: FloatArray) -> list[tuple[FloatArray, float]]:
    """Finds that overlap the surest of them become one, which keeps its score."""
    low, high = pairs[:, 0] - pairs[:, 1] / 2, pairs[:, 0] + pairs[:, 1] / 2
    area = pairs[:, 1].prod(-1)
    left = np.argsort(-scores, kind="stable")
    merged = []
    while len(left):
        first = left[0]
        sides = np.minimum(high[left], high[first]) - np.maximum(low[left], low[first])
        both = np.clip(sides, 0, None).prod(-1)
        same = both > _SAME * np.maximum(area[left] + area[first] - both, 1e-12)
        same[0] = True
        weights = scores[left[same]]
        mean = np.tensordot(weights / weights.sum(), pairs[left[same]], 1)
        merged.append((mean, float(scores[first])))
        left = left[~same]
    return merged
