"""Where a new session goes: arithmetic alone, so that what it does to many can be computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Room:
    """What is known of one node."""

    node: str
    fits: int  # sessions at the rate that is wanted, as measured there
    running: int  # those it had when it was asked, and what was placed there since
    drains: bool = False  # takes no new ones

    @property
    def free(self) -> int:
        """Sessions that still fit."""
        return 0 if self.drains else max(0, self.fits - self.running)


def placed(rooms: Iterable[Room]) -> Room | None:
    """The node that would be the least full with one more, of equals the largest; None where none has room.

    By share rather than by number: what is measured as fitting wavers, most on large machines.
    """
    fitting = [room for room in rooms if room.free > 0]
    return min(fitting, key=lambda room: ((room.running + 1) / room.fits, -room.fits), default=None)
