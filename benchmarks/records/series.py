"""What a series of measurements says: a slope, and a ratio with how far it can be trusted.

Pure functions of the values, in order of time. What changes between two runs and not within one (another
neighbour on the machine, a warmer CPU) is in no interval drawn from single runs: only repeated runs show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import DoubleArray, FloatArray

RESAMPLES = 2_000
COVERED = 95  # per cent of the resampled ratios lie in the interval
BLOCK = 5  # neighbouring values kept together: a busy second is seldom alone
FEWEST = 3  # values of one side below which no interval is drawn


def slope_per_minute(samples: Sequence[tuple[int, float]]) -> float | None:
    """Least-squares slope of (time ns, value), per minute; None of fewer than three samples."""
    if len(samples) < 3:
        return None
    minutes = np.array([at_ns for at_ns, _ in samples], float) / 60e9
    values = np.array([value for _, value in samples], float)
    return round(float(np.polyfit(minutes - minutes[0], values, 1)[0]), 3)


def correlation(a: FloatArray, b: FloatArray) -> float:
    """0 where one of them does not move."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-12 else 0.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with its interval; low and high are None where too few values were there to draw one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def within_noise(self) -> bool | None:
        """Whether no change at all would explain it; None where that cannot be told."""
        return None if self.low is None or self.high is None else self.low <= 1.0 <= self.high

    def as_json(self) -> dict[str, float | None]:
        """By name, rounded."""
        return {
            name: None if value is None else round(value, 3)
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }


def ratio_of_medians(numerator: Sequence[float], denominator: Sequence[float], block: int = BLOCK) -> Ratio:
    """The ratio of the medians of two series, with its interval by a moving-block bootstrap (Künsch, 1989).

    Both in order of time, the denominator's median above 0. block 1: values that know nothing of each other.
    """
    value = float(np.median(numerator) / np.median(denominator))
    if min(len(numerator), len(denominator)) < FEWEST:
        return Ratio(value)
    rng = np.random.default_rng(0)  # the same records give the same interval
    tops, bottoms = (_resampled_medians(series, block, rng) for series in (numerator, denominator))
    inside = bottoms > 0
    low, high = np.percentile(tops[inside] / bottoms[inside], [50 - COVERED / 2, 50 + COVERED / 2])
    return Ratio(value, float(low), float(high))


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """The median of the ratios of values that were measured side by side, with its interval.

    For interleaved runs: what slows both of a pair is not in it. Both sides have the same length.
    """
    return ratio_of_medians(np.divide(numerator, denominator).tolist(), [1.0] * len(denominator), block=1)


def _resampled_medians(series: Sequence[float], block: int, rng: np.random.Generator) -> DoubleArray:
    """(RESAMPLES,) medians of series put together from blocks of this one."""
    values = np.asarray(series, np.float64)
    length = min(block, max(1, len(values) // FEWEST))
    starts = rng.integers(0, len(values) - length + 1, (RESAMPLES, -(-len(values) // length)))
    places = (starts[..., None] + np.arange(length)).reshape(RESAMPLES, -1)[:, : len(values)]
    return np.asarray(np.median(values[places], axis=1), np.float64)
