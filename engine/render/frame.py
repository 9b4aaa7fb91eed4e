"""The frame that pictures leave in, as a setting names it: auto, square, or WIDTHxHEIGHT. Light to import."""

from __future__ import annotations

import re

from engine.errors import SettingsError

AUTO, SQUARE = "auto", "square"
MIN_PX, MAX_PX, STEP_PX = 128, 1280, 4  # of a side
WIDE = ((640, 360), (960, 540), (1280, 720))  # of which auto chooses
_SIZE = re.compile(r"([1-9]\d{2,3})x([1-9]\d{2,3})")


def checked_frame(text: str) -> str:
    """A frame as a setting names it: auto, square, or WIDTHxHEIGHT in px. Raises SettingsError."""
    if text in (AUTO, SQUARE):
        return text
    found = _SIZE.fullmatch(text)
    sides = [int(side) for side in found.groups()] if found else []
    if not sides or any(not MIN_PX <= side <= MAX_PX or side % STEP_PX for side in sides):
        raise SettingsError(
            f"frame {text[:20]!r}: wanted {AUTO}, {SQUARE}, or a size such as 1280x720, each side a multiple "
            f"of {STEP_PX} from {MIN_PX} to {MAX_PX}"
        )
    return text
