"""What stands behind the person: the avatar's own background, a colour, or a picture."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from engine.arrays import U8Image
from engine.errors import SettingsError
from engine.media.pictures import UNREADABLE

MAX_PICTURE_BYTES = 4 * 1024 * 1024
MAX_PICTURE_PX = 4096  # of a side; checked, as all of it, before anything is decoded
MAX_PICTURE_AREA_PX = 4096 * 3072  # a telephone's photo; decoded it takes 4 bytes a pixel, 50 MB
KEPT_PX = 1024  # of the shorter side where there is that much, and up to twice that of the longer
_BAND_PX = 64  # rows that are worked on at a time
_ORIENTATION = 0x0112  # of EXIF
_PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A chosen background; make one with `original`, `color` or `picture`."""

    rgb: U8Image | None  # (H, W, 3) uint8 RGB, a side up to 2 * KEPT_PX; None: the avatar's own

    @classmethod
    def original(cls) -> Background:
        """The background of the footage."""
        return cls(None)

    @classmethod
    def color(cls, text: str) -> Background:
        """One colour. text: "#rrggbb". Raises SettingsError for anything else."""
        if not _COLOR.fullmatch(text):
            raise SettingsError(f"background colour {text[:20]!r}: wanted #rrggbb, such as #00b140")
        return cls(np.array([[list(bytes.fromhex(text[1:]))]], np.uint8))

    @classmethod
    def picture(cls, data: bytes) -> Background:
        """A PNG or JPEG, upright; where it is transparent it becomes black. Raises SettingsError.

        Takes up to 60 MB while it decodes, and keeps up to 12 MB.
        """
        if len(data) > MAX_PICTURE_BYTES:
            raise SettingsError(f"background picture: more than {MAX_PICTURE_BYTES} bytes: make it smaller")
        try:
            with warnings.catch_warnings(), Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                if max(image.size) > MAX_PICTURE_PX or image.width * image.height > MAX_PICTURE_AREA_PX:
                    raise SettingsError(
                        f"background picture: {image.width}x{image.height} px; wanted {MAX_PICTURE_PX} px "
                        f"a side and {MAX_PICTURE_AREA_PX / 1e6:.1f} million in all at most: make it smaller"
                    )
                if image.mode not in _PICTURE_MODES:
                    raise SettingsError(
                        f"background picture: pixels of kind {image.mode}; wanted 8 bits a channel: "
                        "export it anew"
                    )
                return cls(np.array(_upright(image), np.uint8))
        except UNREADABLE as error:
            raise SettingsError(
                f"background picture: not a readable PNG or JPEG ({error}): export it anew"
            ) from error

    @classmethod
    def parse(cls, text: str) -> Background:
        """As a command line names it: original, #rrggbb, or the path of a picture. Raises SettingsError."""
        if text == "original":
            return cls.original()
        if text.startswith("#"):
            return cls.color(text)
        path = Path(text)
        if not path.is_file():
            raise SettingsError(
                f"background {text}: no such picture; give original, a colour such as '#00b140', "
                "or the path of a PNG or JPEG"
            )
        try:
            with path.open("rb") as file:
                data = file.read(MAX_PICTURE_BYTES + 1)
        except OSError as error:
            raise SettingsError(f"background {text}: cannot be read ({error.strerror})") from error
        return cls.picture(data)

    def fitted(self, width: int, height: int) -> U8Image | None:
        """(height, width, 3) uint8 RGB: the middle of it fills the frame. None for the avatar's own."""
        if self.rgb is None:
            return None
        found_h, found_w = self.rgb.shape[:2]
        scale = max(width / found_w, height / found_h)
        rows, columns = max(1, round(height / scale)), max(1, round(width / scale))
        top, left = (found_h - rows) // 2, (found_w - columns) // 2
        middle = self.rgb[top : top + rows, left : left + columns]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(middle, (width, height), interpolation=how), np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    """Over black, RGB, scaled down; of the picture never more than one copy is made."""
    image.draft(None, (KEPT_PX, KEPT_PX))  # a JPEG is scaled while it is decoded
    shrink = max(1, min(image.size) // KEPT_PX, -(-max(image.size) // (2 * KEPT_PX)))
    kept = Image.new("RGB", (image.width // shrink or 1, image.height // shrink or 1))
    for row in range(0, kept.height, _BAND_PX):
        end = min(row + _BAND_PX, kept.height)
        band = image.crop((0, row * shrink, kept.width * shrink, end * shrink)).convert("RGBA")
        black = Image.new("RGBA", band.size, (0, 0, 0, 255))
        kept.paste(Image.alpha_composite(black, band).convert("RGB").reduce(shrink), (0, row))
    kept.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return ImageOps.exif_transpose(kept)
