"""Clips and avatars that instruments are given with a label, and the clips that come with the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import SettingsError
from export.footage.footage import load_footage
from export.footage.prepare import frame_footage, prepare
from export.footage.prepared import Prepared

_FILMS = Path(__file__).parents[1] / "data" / "cross_driving"
CANVAS_PX = 256  # what is measured with
FILMS = {name: _FILMS / f"{name}.mp4" for name in ("theo", "amara")}  # of the presenters, unseen in training


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file, or a presenter's name, and what tables call it."""

    label: str
    file: str

    @classmethod
    def parse(cls, text: str) -> Labelled:
        """From LABEL=FILE or FILE."""
        label, equals, file = text.rpartition("=")
        if not file or (equals and not label):
            raise SettingsError(f"{text!r}: wanted LABEL=FILE or FILE")
        return cls(label or Path(file).name, file)


def prepared_from(file: Path) -> Prepared:
    """What `enroll --prepare-only` wrote; a video is prepared now, the whole of its picture."""
    if file.suffix == ".npz":
        return Prepared.load(file)
    footage = load_footage([file])
    return prepare(footage, frame_footage(footage, "full"), CANVAS_PX, lambda done, total: None)
