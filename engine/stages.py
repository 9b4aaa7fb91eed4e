"""Names of the stages of one frame, in order, the clock that times them, and percentiles of what it tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

STAGES = ("track", "retarget", "guidance", "warp", "denoise", "compose")
# What the live tracker does within "track"; "pose" and "hands" run in threads of their own, beside it.
TRACK_PARTS = ("others", "hand_over", "face", "body", "chest", "predict", "filter", "pose", "hands")

RANKS = ("p50", "p95", "p99")

Clock = Callable[[], float]  # seconds; of the wall, or the CPU time of a thread or a process


class StageClock:
    """Time of each stage, in ms: from the end of the one before to its own."""

    def __init__(self, now: Clock = perf_counter) -> None:
        self.stage_ms: dict[str, float] = {}
        self._now = now
        self._since = now()

    def end(self, stage: str) -> None:
        """The stage has just ended."""
        now = self._now()
        self.stage_ms[stage] = (now - self._since) * 1e3
        self._since = now


def percentiles(
    values: Sequence[float] | NDArray[np.floating[Any]], ranks: Sequence[str] = RANKS
) -> dict[str, float | None]:
    """Each of the ranks, such as "p95", linear between values, rounded to 0.01; None of nothing."""
    if not np.size(values):
        return dict.fromkeys(ranks)
    found = np.percentile(values, [float(rank[1:]) for rank in ranks])
    return {rank: round(float(value), 2) for rank, value in zip(ranks, found, strict=True)}
