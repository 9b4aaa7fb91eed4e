"""Whether there is room for one more session, from what the running ones cost.

The cost of a picture is the CPU time of the whole process per picture rendered: trackers, network, codecs and
all their threads. Wall times would lie, because they grow with the very load they are to tell. Pure: readings
of clocks and counters are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

READINGS = 10  # the cost is their median: a model that is loaded meanwhile does not count
_LEAST_PICTURES = 5  # between two readings; a cost from fewer is chance


@dataclass(frozen=True, slots=True)
class Room:
    """What one session more would mean."""

    sessions: int  # with the new one
    picture_ms: float | None  # CPU time per picture, None while not known
    fps: float | None  # that each session would get, None while not known


class Capacity:
    """Fed about once a second; remembers the last costs when nothing runs."""

    def __init__(self, cores: float) -> None:
        """cores: whose time the process gets, as `engine.cores.usable_share` says."""
        self._cores = cores
        self._before: tuple[float, int] | None = None  # the last reading
        self._costs_ms: deque[float] = deque(maxlen=READINGS)

    @property
    def picture_ms(self) -> float | None:
        """CPU time per picture, in ms; None until pictures were rendered."""
        return median(self._costs_ms) if self._costs_ms else None

    def read(self, cpu_s: float, pictures: int) -> None:
        """cpu_s: CPU time of the process so far; pictures: rendered so far, over all sessions."""
        if self._before is not None:
            spent_s, rendered = cpu_s - self._before[0], pictures - self._before[1]
            if rendered >= _LEAST_PICTURES:
                self._costs_ms.append(1e3 * spent_s / rendered)
        self._before = (cpu_s, pictures)

    def room(self, running: int) -> Room:
        """For one session beside `running` others."""
        sessions = running + 1
        picture_ms = self.picture_ms
        if picture_ms is None:
            return Room(sessions, None, None)
        return Room(sessions, picture_ms, 1e3 * self._cores / (max(picture_ms, 0.01) * sessions))

    def sessions(self, least_fps: float, most: int) -> int:
        """How many get this rate each, at least one; `most` where none is wanted or the cost is not known."""
        picture_ms = self.picture_ms
        if picture_ms is None or not least_fps:
            return most
        return max(1, min(most, int(1e3 * self._cores / (max(picture_ms, 0.01) * least_fps))))
