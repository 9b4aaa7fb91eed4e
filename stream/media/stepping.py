"""What is let go of while the machine or the link cannot keep up, and slowly taken up again afterwards.

A slow machine first looks for body and hands less often, and then lets the network paint every second picture
(`Efforts`): the face follows as before. Then come fewer pictures, then smaller ones, since a talking head at
20 pictures a second is still a person, and at half the size no longer is (`Stepper`, one for each receiver).
Pure: time and load are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.effort import USUAL, Effort

_S = 1_000_000_000  # in ns


@dataclass(frozen=True, slots=True)
class Level:
    """How much is sent at most."""

    fps: int  # pictures per second
    scale: float  # of both sides of the avatar's canvas

    @property
    def words(self) -> str | None:
        """What the presenter should know of it; None at the highest level."""
        if self == FULL:
            return None
        size = "" if self.scale == 1 else f" at {self.scale:.0%} of the size"
        return f"This machine or the network is busy: at most {self.fps} pictures a second{size}."


LADDER = (Level(30, 1.0), Level(20, 1.0), Level(15, 1.0), Level(15, 0.75), Level(15, 0.5))
FULL = LADDER[0]
_SMALLER_FROM = 3  # the first level with smaller pictures

EFFORTS = (USUAL, Effort(0.5), Effort(0.25), Effort(0.25, paint_every=2))

STRAINED_S = 2.0  # of strain in a row, before a step down
SETTLING_S = 3.0  # at the start and after a step, before anything is judged
PATIENCE_S = 10.0  # of ease in a row, before a step up; doubled when that step was a mistake
MOST_PATIENCE_S = 80.0
MISTAKE_S = 20.0  # a step up that is taken back within this time was one
_LEAST_SHARE = 0.6  # of the pictures wanted; fewer: the machine does not keep up
_LATE_SHARE = 0.85  # likewise; fewer: the looks at body and hands take what the face would need
_BUSY_SHARE = 0.85  # of the render thread's time; more: no room for a higher rate
_LOSS = 0.10  # share of packets lost; congestion control by loss (as in draft-ietf-rmcat-gcc, section 6)
_EASY_LOSS = 0.02
_OVER_LINK = 1.2  # sent over what the receiver says it can take


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a session renders, over the last seconds."""

    fps_in: float  # of the camera
    fps_out: float
    render_ms: float  # of the render thread per picture
    relieved: bool = True  # the machine has let go of all that goes before fewer pictures, see Efforts


@dataclass(frozen=True, slots=True)
class Load:
    """The last seconds of one receiver."""

    rendering: Rendering
    encode_ms: float  # per picture
    sent_bps: float
    link_bps: float | None = None  # the receiver's estimate (REMB), None before the first
    lost: float = 0.0  # share of packets


class _Stairs:
    """Down one step after strain, up one after ease, with patience that mistakes double."""

    def __init__(self, start_ns: int) -> None:
        self.index = 0
        self._patience_s = PATIENCE_S
        self._strained_since_ns: int | None = None
        self._easy_since_ns: int | None = None
        self._stepped_ns = start_ns
        self._raised_ns: int | None = None

    def settles(self, now_ns: int) -> bool:
        """Nothing is judged yet."""
        return now_ns - self._stepped_ns < SETTLING_S * _S

    def update(self, strained: bool, easy: bool, last: int, now_ns: int) -> None:
        """One look. easy: there is room for the step above; last: the step below which it does not fall."""
        self._strained_since_ns = _since(self._strained_since_ns, strained, now_ns)
        self._easy_since_ns = _since(self._easy_since_ns, not strained and easy, now_ns)
        if strained and self.index < last and _lasted(self._strained_since_ns, now_ns, STRAINED_S):
            if self._raised_ns is not None and now_ns - self._raised_ns < MISTAKE_S * _S:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            self._step(+1, now_ns)
        elif self.index > 0 and _lasted(self._easy_since_ns, now_ns, self._patience_s):
            self._step(-1, now_ns)
            self._raised_ns = now_ns
        elif self.index == 0 and _lasted(self._easy_since_ns, now_ns, MOST_PATIENCE_S):
            self._patience_s = PATIENCE_S

    def _step(self, by: int, now_ns: int) -> None:
        self.index += by
        self._stepped_ns = now_ns
        self._strained_since_ns = self._easy_since_ns = None


class Efforts:
    """How much one session does for each picture. start_ns: as of `Stepper`."""

    def __init__(self, start_ns: int) -> None:
        self._stairs = _Stairs(start_ns)

    @property
    def effort(self) -> Effort:
        """One of EFFORTS."""
        return EFFORTS[self._stairs.index]

    @property
    def least(self) -> bool:
        """Nothing more can be let go of here."""
        return self._stairs.index == len(EFFORTS) - 1

    @property
    def words(self) -> str | None:
        """What the presenter should know of it; None at the usual effort."""
        if self.effort == USUAL:
            return None
        painted = "" if self.effort.paint_every == 1 else ", and only every second picture is painted anew"
        share = f"{self.effort.look_share:.0%}"
        return f"This machine is busy: body and hands are looked for {share} as often{painted}."

    def update(self, rendering: Rendering, wanted_fps: int, now_ns: int) -> Effort:
        """One look at the load, about twice a second; gives the effort from now on."""
        wanted = min(wanted_fps, rendering.fps_in)
        if not self._stairs.settles(now_ns):
            late = rendering.fps_out < _LATE_SHARE * wanted
            easy = rendering.render_ms * wanted / 1_000 < _BUSY_SHARE
            self._stairs.update(late, easy, len(EFFORTS) - 1, now_ns)
        return self.effort


class Stepper:
    """Where on the ladder one receiver stands. start_ns: its rates mean nothing before they have settled."""

    def __init__(self, start_ns: int) -> None:
        self._stairs = _Stairs(start_ns)

    @property
    def level(self) -> Level:
        """What may be sent now."""
        return LADDER[self._stairs.index]

    def update(self, load: Load, now_ns: int) -> Level:
        """One look at the load, about twice a second; gives the level from now on."""
        if self._stairs.settles(now_ns):
            return self.level
        link = load.lost > _LOSS or (load.link_bps is not None and load.sent_bps > _OVER_LINK * load.link_bps)
        # Smaller pictures relieve a link; the renderer takes as long for them, so they do not help it.
        last = len(LADDER) - 1 if link else _SMALLER_FROM - 1
        strained = link or self._machine_strained(load.rendering)
        self._stairs.update(strained, self._has_room(load), last, now_ns)
        return self.level

    def _machine_strained(self, rendering: Rendering) -> bool:
        wanted_fps = min(self.level.fps, rendering.fps_in)
        return rendering.relieved and rendering.fps_out < _LEAST_SHARE * wanted_fps

    def _has_room(self, load: Load) -> bool:
        if self._stairs.index == 0:
            return True
        above, rendering = LADDER[self._stairs.index - 1], load.rendering
        busy = max(rendering.render_ms, load.encode_ms) * min(above.fps, max(rendering.fps_in, 1)) / 1_000
        return load.lost <= _EASY_LOSS and (above.fps == self.level.fps or busy < _BUSY_SHARE)


class RateGate:
    """Lets at most so many events per second pass, evenly, whatever their own rate and jitter."""

    def __init__(self, ticks_per_s: int) -> None:
        self._ticks_per_s = ticks_per_s
        self._due: int | None = None  # ticks

    def passes(self, ticks: int, fps: int) -> bool:
        """Whether the event at `ticks` goes through; a third of an interval too early is on time."""
        interval = self._ticks_per_s // fps
        if self._due is not None and abs(ticks - self._due) > 2 * interval:
            self._due = None  # a pause, or another clock
        if self._due is not None and ticks < self._due - interval // 3:
            return False
        self._due = interval + (ticks if self._due is None else max(self._due, ticks - interval // 3))
        return True


def _since(since_ns: int | None, holds: bool, now_ns: int) -> int | None:
    if not holds:
        return None
    return now_ns if since_ns is None else since_ns


def _lasted(since_ns: int | None, now_ns: int, least_s: float) -> bool:
    return since_ns is not None and now_ns - since_ns >= least_s * _S
