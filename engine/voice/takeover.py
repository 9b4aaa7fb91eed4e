"""When the voice takes over from the camera, and back. Time comes in as an argument."""

from __future__ import annotations

AFTER_S = 0.4  # without a face
TAKES_S = 0.5  # from the camera to the voice: a head that was turned away comes back unhurried
GIVES_S = 0.3  # and back


class Takeover:
    """How much the voice drives, from 0, the camera alone, to 1."""

    def __init__(self) -> None:
        self._way = 1.0  # no camera has been seen yet
        self._seen_s: float | None = None  # when there was a face last
        self._last_s: float | None = None

    def share(self, time_s: float, has_face: bool) -> float:
        """From now on, eased at both ends. time_s: grows; where it does not, nothing fades meanwhile."""
        passed_s = 0.0 if self._last_s is None else max(time_s - self._last_s, 0.0)
        self._last_s = time_s
        if has_face:
            self._seen_s = time_s
            self._way = max(self._way - passed_s / GIVES_S, 0.0)
        elif self._seen_s is None or not 0.0 <= time_s - self._seen_s < AFTER_S:
            self._way = min(self._way + passed_s / TAKES_S, 1.0)
        return self._way * self._way * (3.0 - 2.0 * self._way)
