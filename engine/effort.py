"""How much is done for each picture, where a machine is too slow to do it all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """As usual, or less. The face is tracked for every picture all the same."""

    look_share: float = 1.0  # how often body and hands are looked for, of the usual
    paint_every: int = 1  # the network paints one of so many pictures; 1 or 2


USUAL = Effort()
