"""When a voice helps lips that the camera sees badly, and how much. Time comes in as an argument.

What a voice tells of lips is late, so the camera's lips are shown as late while it helps.
"""

from __future__ import annotations

_CALM_S = 0.4  # over which doubt is averaged
_BEGINS, _ENDS = 0.3, 0.1  # of doubt
_BEGINS_AFTER_S, _ENDS_AFTER_S = 0.4, 3.0  # each change makes the sound wait, or skips some of it
_LATE_S = 1.0  # from the camera's time to the voice's: lips then move by a quarter slower
_FADES_S = 0.6


class LipAssist:
    """How much of the lips is the voice's, and how late they are, each 0 to 1."""

    def __init__(self) -> None:
        self.share = self.late = 0.0
        self._helps = False
        self._doubt = self._other_way_s = 0.0
        self._last_s: float | None = None

    def update(self, time_s: float, sight: float, heeded: float = 1.0) -> None:
        """The next picture, of a time that grows. sight: of the lips, 0 to 1; heeded: of the voice."""
        passed_s = 0.0 if self._last_s is None else max(time_s - self._last_s, 0.0)
        self._last_s = time_s
        self._doubt += (heeded * (1.0 - sight) - self._doubt) * min(passed_s / _CALM_S, 1.0)
        turns = self._doubt < _ENDS if self._helps else self._doubt > _BEGINS
        self._other_way_s = self._other_way_s + passed_s if turns else 0.0
        if turns and self._other_way_s >= (_ENDS_AFTER_S if self._helps else _BEGINS_AFTER_S):
            self._helps, self._other_way_s = not self._helps, 0.0
        self.share = _toward(self.share, self._doubt if self._helps else 0.0, passed_s / _FADES_S)
        # Lips go back to the camera's time only when they are the camera's alone.
        if self._helps or not self.share:
            self.late = _toward(self.late, float(self._helps), passed_s / _LATE_S)
        self.share = min(self.share, self.late)


def _toward(value: float, goal: float, step: float) -> float:
    return min(value + step, goal) if value < goal else max(value - step, goal)
