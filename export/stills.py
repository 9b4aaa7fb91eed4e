"""A picture that drives an avatar: pose and expression of a photo, as a still of the same avatar."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from engine.arrays import U8Image
from engine.errors import FootageError, SettingsError
from engine.expression.still import still_neutral
from engine.files import replacing
from engine.media.disclosure import COMMENT, MarkStyle, mark
from engine.media.pictures import UNREADABLE
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral
from export.drivers import FrameTracker

PICTURES = (".png", ".jpg", ".jpeg")
MAX_SIDE_PX = 8192
MAX_AREA_PX = 40_000_000  # decoded it takes 3 bytes a pixel
SEEN_PX = 1280  # of the longer side; the finder sees no more
LOOKS = 3  # at a picture: the finder follows its own last find
JPEG_QUALITY = 95
_APART_NS = 1_000_000_000


class StillPipeline(Protocol):
    """The part of engine/pipeline.py that stills need."""

    def drive_by(self, neutral: Neutral) -> None: ...
    def process(self, rgb: U8Image, time_ns: int, landmarks: Landmarks | None = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class Still:
    """A picture, and what is to be made of it."""

    driver: Path
    out: Path


def drives_stills(driver: Path) -> bool:
    """Whether what is named is a picture or a folder of them."""
    return driver.suffix.lower() in PICTURES or driver.is_dir()


def stills_of(driver: Path, out: Path) -> list[Still]:
    """One picture to a picture, or each of a folder to one of the same name in another folder.

    Raises SettingsError.
    """
    if not driver.is_dir():
        if out.suffix.lower() not in PICTURES:
            raise SettingsError(f"--out {out}: a picture makes a picture; end it in {', '.join(PICTURES)}")
        return [Still(driver, out)]
    if out.suffix or (out.exists() and not out.is_dir()):
        raise SettingsError(f"--out {out}: {driver} is a folder of pictures; give a folder for theirs")
    found = sorted(path for path in driver.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise SettingsError(f"--driver {driver}: no picture ({', '.join(PICTURES)}) in this folder")
    if out.exists() and out.samefile(driver):
        raise SettingsError(f"--out {out}: that is the driver itself; choose another folder")
    return [Still(path, out / f"{path.stem}.png") for path in found]


def render_stills(
    fresh: Callable[[], StillPipeline],
    tracker: FrameTracker,
    stills: Sequence[Still],
    style: MarkStyle | None,
    sign: Callable[[Path], Callable[[Path], None] | None],
    mirror: bool = False,
) -> dict[str, Any]:
    """Renders each; gives the machine-readable result. A picture without a face is left out of a folder.

    fresh: the pipeline as new, settings made. tracker: as new at each call of `fresh`. sign: of a file's
    name, what is called with the finished file. Raises FootageError where there is no face at all.
    """
    without: list[str] = []
    written: list[str] = []
    for number, still in enumerate(stills):
        pipeline = fresh()
        rgb = read_picture(still.driver)
        landmarks = _found(tracker, np.ascontiguousarray(rgb[:, ::-1]) if mirror else rgb, number)
        if landmarks.face_confidence <= 0:
            without.append(str(still.driver))
            continue
        pipeline.drive_by(still_neutral(landmarks))
        shown = pipeline.process(np.zeros((1, 1, 3), np.uint8), number * _APART_NS, landmarks=landmarks).rgb
        still.out.parent.mkdir(exist_ok=True)
        write_picture(still.out, mark(shown, style) if style else shown, sign(still.out))
        written.append(str(still.out))
    if not written:
        raise FootageError(f"{stills[0].driver}: no face found; give a picture that faces the camera")
    return {"pictures": written, "without_face": without}


def read_picture(path: Path) -> U8Image:
    """(H, W, 3) uint8 RGB, upright, SEEN_PX at most. Raises SettingsError."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("PNG", "JPEG")) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if max(image.size) > MAX_SIDE_PX or image.width * image.height > MAX_AREA_PX:
                raise SettingsError(
                    f"{path}: {image.width}x{image.height} px; wanted {MAX_SIDE_PX} px a side and "
                    f"{MAX_AREA_PX / 1e6:.0f} million in all at most: make it smaller"
                )
            image.draft("RGB", (SEEN_PX, SEEN_PX))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((SEEN_PX, SEEN_PX))
            return np.array(upright, np.uint8)
    except UNREADABLE as error:
        raise SettingsError(f"{path}: not a readable PNG or JPEG ({error}); export it anew") from error


def write_picture(path: Path, rgb: U8Image, finish: Callable[[Path], None] | None) -> None:
    """PNG or JPEG by its name, saying what it is. finish: called with the file. Raises FileError."""
    data = BytesIO()
    if path.suffix.lower() == ".png":
        said = PngImagePlugin.PngInfo()
        said.add_text("Comment", COMMENT)
        Image.fromarray(rgb).save(data, "PNG", pnginfo=said)
    else:
        Image.fromarray(rgb).save(data, "JPEG", quality=JPEG_QUALITY, comment=COMMENT)
    with replacing(path) as part:
        part.file.write(data.getvalue())
        part.file.flush()
        if finish is not None:
            finish(part.path)


def _found(tracker: FrameTracker, rgb: U8Image, number: int) -> Landmarks:
    looks = [tracker.track(rgb, number * _APART_NS + look) for look in range(LOOKS)]
    return looks[-1]
