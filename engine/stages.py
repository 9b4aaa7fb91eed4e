"""Names of the stages of one frame, in order, and the clock that times them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

STAGES = ("track", "retarget", "guidance", "warp", "denoise", "compose")
# What the live tracker does within "track"; "pose" and "hands" run in threads of their own, beside it.
TRACK_PARTS = ("hand_over", "face", "body", "chest", "predict", "filter", "pose", "hands")

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
