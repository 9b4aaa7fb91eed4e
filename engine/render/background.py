"""What stands behind the person: the avatar's own background, a colour, or a picture.

Takes the drawn picture, its matte and the plate it was drawn over.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from engine.arrays import FloatArray, U8Image
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

# Tuned by eye on dark hair, cloth and skin over chroma green.
PLATE_LIKE = 14  # of 255, in each channel: what differs no more from the plate is the plate
MATTE_ERROR_PX = 16  # at 256 px: how far the matte may reach over the person
SPECK_SHARE = 0.004  # of the canvas: smaller pieces are not of a person, a hand is larger
MATTE_EDGE = (0.35, 0.95)  # of the smoothed matte: cut inwards, its outermost pixel is mostly background
SPILL_PX = 4  # at 256 px: how far inside the outline the old background may shine
COLOR_REACH_PX = 7  # at 256 px: over which the person's own colour near the outline is averaged
_LEAST_CONTRAST = 100.0  # squared distance of colours below which person and plate cannot be told apart


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


def settled_matte(drawn: U8Image, matte: FloatArray, plate: U8Image) -> FloatArray:
    """The matte without what the picture shows to be background, and without specks; as `replace_background`.

    The matte is that of the warped key frames. In a pose far from all of them it reaches over the person, and
    there the network has painted the plate: what looks like the plate and hangs together with the outside is
    outside. Deep inside the person nothing is asked, so a coat of the wall's colour stays whole.
    """
    person = (matte > 0.5).astype(np.uint8)
    difference = cv2.absdiff(cv2.blur(drawn, (3, 3)), cv2.blur(plate, (3, 3)))
    plate_like = cv2.inRange(difference, (0, 0, 0), (PLATE_LIKE, PLATE_LIKE, PLATE_LIKE)) > 0
    depth_px = cv2.distanceTransform(person, cv2.DIST_L2, 3)  # to the outline; the canvas's edge is not one
    near = depth_px <= MATTE_ERROR_PX * plate.shape[0] / 256
    maybe_outside = (plate_like & near) | (person == 0)
    count, pieces = cv2.connectedComponents(maybe_outside.astype(np.uint8), connectivity=4)
    is_outside = np.zeros(count, np.bool_)
    is_outside[pieces[person == 0]] = True

    count, pieces, facts, _ = cv2.connectedComponentsWithStats(
        (~is_outside[pieces]).astype(np.uint8), connectivity=4
    )
    is_person = facts[:, cv2.CC_STAT_AREA] >= SPECK_SHARE * matte.size
    is_person[0] = False  # what is outside
    return matte * _mean(is_person[pieces].astype(np.float32), 1)


def replace_background(drawn: U8Image, matte: FloatArray, plate: U8Image, background: U8Image) -> U8Image:
    """The person over another background, without a fringe of the old one.

    drawn: (S, S, 3) uint8 RGB, the person over `plate`; matte: (S, S) float32, 0..1, 1 is the person;
    plate, background: (S, S, 3) uint8 RGB. Near the outline the plate's share of each colour is taken out:
    C = aF + (1 - a)B is solved for the person F, with B the plate and the first guess of F the mean of what
    lies further inside (compare blur-fusion foreground estimation, Forte, ICIP 2021).
    """
    scale = plate.shape[0] / 256
    low, high = MATTE_EDGE
    alpha = np.clip((cv2.GaussianBlur(matte, (5, 5), 0) - low) / (high - low), 0, 1)
    spill_px, reach_px = max(1, round(SPILL_PX * scale)), max(1, round(COLOR_REACH_PX * scale))
    inner = np.clip(_mean(matte, spill_px) * 4 - 3, 0, 1)  # 1 where no outline is near
    result = np.where(alpha[..., None] > 0, drawn, background)

    edge = (alpha > 0) & (inner < 1)
    weight = _mean(inner, reach_px)[edge, None]
    inside = _mean(drawn * inner[..., None], reach_px)[edge] / np.maximum(weight, 1e-3)
    colour, old, share = drawn[edge].astype(np.float32), plate[edge].astype(np.float32), alpha[edge, None]
    inside = np.where(weight > 0.02, inside, colour)  # fine hair, a finger: nothing lies further inside
    to_plate = old - inside
    spill = ((colour - inside) * to_plate).sum(1) / np.maximum((to_plate**2).sum(1), _LEAST_CONTRAST)
    spill = np.clip(spill, 0, 1) * (1 - inner[edge])
    person = np.clip(colour - spill[:, None] * to_plate, 0, 255)
    result[edge] = np.round(background[edge] + (person - background[edge]) * share)
    return result


def _mean(values: FloatArray, radius_px: int) -> FloatArray:
    return np.asarray(cv2.blur(values, (2 * radius_px + 1,) * 2), np.float32)
