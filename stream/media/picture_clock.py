"""One clock for a session's pictures, whether a camera's frame or a voice's moment they are of."""

from __future__ import annotations

from aiortc.mediastreams import VIDEO_CLOCK_RATE

_NS = 1_000_000_000
_ELSEWHERE = VIDEO_CLOCK_RATE  # ticks: a camera that is so far off counts from somewhere else


class PictureClock:
    """90 kHz ticks that go on where camera and voice take turns; the camera's own while it is alone."""

    def __init__(self) -> None:
        self._ahead: int | None = None  # of this clock before ours
        self._shift = 0  # from the camera's ticks to this clock's

    def of_camera(self, ticks: int, arrived_ns: int) -> int:
        """For a frame with these ticks that was here at this time (perf_counter_ns)."""
        ours = _ours(arrived_ns)
        if self._ahead is None:
            self._ahead = ticks - ours
        expected = ours + self._ahead
        if abs(ticks + self._shift - expected) > _ELSEWHERE:
            self._shift = expected - ticks
        return ticks + self._shift

    def of_voice(self, now_ns: int) -> int:
        """For a picture that no frame belongs to."""
        if self._ahead is None:
            self._ahead = 0
        return _ours(now_ns) + self._ahead


def _ours(time_ns: int) -> int:
    return time_ns * VIDEO_CLOCK_RATE // _NS
