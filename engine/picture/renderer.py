"""What draws the target, whichever way it is done."""

from __future__ import annotations

from typing import Protocol

from engine.arrays import U8Image
from engine.person.landmarks import Landmarks
from engine.render.background import Background
from engine.stages import StageClock


class Renderer(Protocol):
    """Draws one avatar. Not thread-safe: one caller."""

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height) of its pictures."""

    @property
    def picture(self) -> U8Image:
        """(H, W, 3) uint8 RGB of frame_px, of the last target; the first key frame where there was none.

        A buffer that drawing reuses.
        """

    def rest(self) -> None:
        """Shows the first key frame, with nothing to go on from."""

    def may_resend(self, target: Landmarks) -> bool:
        """True when the last picture may be sent again; counts how often it was."""

    def draw(self, target: Landmarks, clock: StageClock) -> None:
        """Draws the target; ends the stages from guidance on."""

    def paint_every(self, pictures: int) -> None:
        """Lets the network paint one of so many pictures; its change is carried on to those in between."""

    def set_background(self, background: Background) -> None:
        """Shows the person before something else, the last picture too."""

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame, the last one too. Raises SettingsError, see `checked_frame`."""

    def close(self) -> None:
        """Releases the network; a second call does nothing."""
