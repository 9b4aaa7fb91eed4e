"""Whether there is room for one more session, from what the running ones cost.

The cost of a picture is the CPU time of the whole process per picture rendered: trackers, network, codecs and
all their threads. Wall times would lie, because they grow with the very load they are to tell. Pure: readings
of clocks and counters are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 10.0  # over which the cost is taken
_LEAST_PICTURES = 30  # a cost from fewer is chance
_S = 1_000_000_000  # in ns


@dataclass(frozen=True, slots=True)
class Room:
    """What one session more would mean."""

    sessions: int  # with the new one
    picture_ms: float | None  # CPU time per picture, None while not known
    fps: float | None  # that each session would get, None while not known


class Capacity:
    """Fed about once a second; remembers the last cost when nothing runs."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._readings: deque[tuple[int, float, int]] = deque()
        self._picture_ms: float | None = None

    @property
    def picture_ms(self) -> float | None:
        """CPU time per picture, in ms; None until pictures were rendered."""
        return self._picture_ms

    def read(self, now_ns: int, cpu_s: float, pictures: int) -> None:
        """cpu_s: CPU time of the process so far; pictures: rendered so far, over all sessions."""
        self._readings.append((now_ns, cpu_s, pictures))
        while now_ns - self._readings[0][0] > WINDOW_S * _S:
            self._readings.popleft()
        _, first_s, first = self._readings[0]
        if pictures - first >= _LEAST_PICTURES:
            self._picture_ms = 1e3 * (cpu_s - first_s) / (pictures - first)

    def room(self, running: int) -> Room:
        """For one session beside `running` others."""
        sessions = running + 1
        if self._picture_ms is None:
            return Room(sessions, None, None)
        return Room(sessions, self._picture_ms, 1e3 * self._cores / (max(self._picture_ms, 0.01) * sessions))
