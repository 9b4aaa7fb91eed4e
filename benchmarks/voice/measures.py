"""What lips that were told from sound are worth beside the real ones. Numbers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.arrays import DoubleArray, FloatArray
from engine.voice.features import ROWS_HZ
from engine.voice.motion_code import MOUTH, expression_of

RESAMPLED = 1000
BLOCK_ROWS = ROWS_HZ  # what is resampled together: a second
CLOSED_SHARE = 0.25  # of the 90th percentile of the gap
NEAR_S = 0.05


def width(lips: FloatArray) -> FloatArray:
    """(n,) how much wider the mouth is than at rest, head units. lips: (n, 22)."""
    corners = _corners()
    return np.asarray(lips[:, MOUTH] @ corners, np.float32)


def _corners() -> FloatArray:
    from engine.person import topology as topo

    told = []
    for number in range(MOUTH.stop - MOUTH.start):
        code = np.zeros(48, np.float32)
        code[32:34] = 1.0
        code[number] = 1.0
        face = expression_of(code)
        told.append(face[topo.MOUTH_CORNERS[1], 0] - face[topo.MOUTH_CORNERS[0], 0])
    return np.array(told, np.float32)


def lip_error(told: FloatArray, true: FloatArray) -> float:
    """Largest error of a lip point, mean over rows, in thousandths of a head unit. (n, 22) each."""
    from engine.person import topology as topo

    points = np.concatenate([topo.LIPS_INNER, topo.LIPS_OUTER])
    largest = []
    for difference in told - true:
        code = np.zeros(48, np.float32)
        code[32:34] = 1.0
        code[MOUTH] = difference[MOUTH]
        largest.append(np.linalg.norm(expression_of(code)[points, :2], axis=1).max())
    return float(np.mean(largest) * 1000.0)


def closed_share(gap: FloatArray, moments_s: Sequence[float], most: float) -> float:
    """Share of moments at which lips shut within NEAR_S. gap: (n,) 25 a second; most: a gap that counts."""
    at = np.arange(len(gap)) / ROWS_HZ
    shut = [
        gap[np.abs(at - moment) <= NEAR_S + 1e-6].min() < most
        for moment in moments_s
        if 0 <= moment <= at[-1]
    ]
    return float(np.mean(shut)) if shut else float("nan")


def share_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` events (Wilson, J. Am. Stat. Assoc. 1927)."""
    z = 1.96
    middle = share + z * z / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return float((middle - half) / (1 + z * z / count)), float((middle + half) / (1 + z * z / count))


def jerk(gap: FloatArray) -> float:
    """Mean size of the third difference, of a gap of spread 1."""
    return float(np.abs(np.diff(gap, 3)).mean() / max(float(gap.std()), 1e-9))


def quick_share(gap: FloatArray) -> float:
    """Share of the variance that lies above 2 Hz."""
    power = np.abs(np.fft.rfft(gap - gap.mean())) ** 2
    hz = np.fft.rfftfreq(len(gap), 1.0 / ROWS_HZ)
    return float(power[hz > 2.0].sum() / max(float(power.sum()), 1e-12))


def area_under_curve(inside: FloatArray, outside: FloatArray) -> float:
    """How often one of `inside` is above one of `outside`; ties count half."""
    above = (inside[:, None] > outside[None]).mean() + 0.5 * (inside[:, None] == outside[None]).mean()
    return float(above)


def resampled(parts: Sequence[int], figure: Callable[[Sequence[DoubleArray]], float]) -> tuple[float, float]:
    """95 % interval of a figure under resampling of whole blocks within each part.

    parts: length of each part in rows; figure: of the rows chosen in each.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLED):
        chosen = []
        for length in parts:
            starts = np.arange(0, max(1, length - BLOCK_ROWS + 1), BLOCK_ROWS)
            drawn = rng.choice(starts, len(starts))
            chosen.append(np.concatenate([np.arange(s, min(s + BLOCK_ROWS, length)) for s in drawn]))
        found.append(figure(chosen))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
