"""The frame that leaves: the canvas alone, or the canvas as a window in the wider picture around it.

A `Scene` is the still rest of the footage's own frame. What no footage shows is continued: as bright as the
picture's edge, with what is near it mirrored and out of focus.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.render import enlarging, replacing
from engine.render.background import Background
from engine.render.frame import AUTO, MAX_PX, SQUARE, WIDE, checked_frame

_EDGE_SHARE = 1 / 24  # of the canvas, at the edges where a person may be cut off
_BLUR_SHARE = 1 / 20  # of the canvas: how far out of focus what is continued is
_LIGHT = 4  # times that: what is larger is how the room is lit, and is not mirrored
_REACH_SHARE = 1 / 36  # of the canvas: how far around the matte its own picture still shows
_SPREAD = 3  # of the matte blurred by that, how much more is shown

Size = tuple[int, int]  # width, height, px


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The room that a person was filmed in, and where the canvas lies in it: its last row is the room's.

    rgb: (H, W, 3) uint8, without the person where the canvas is; left, top, side: of the canvas, px of rgb.
    """

    rgb: U8Image
    left: int
    top: int
    side: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the canvas lies in a frame. The frame's edge is the canvas's where they meet."""

    still: U8Image  # (H, W, 3), the frame without the person
    left: int  # of the canvas, px of the frame
    top: int
    side: int
    inside: FloatArray  # (S, S), share of the canvas where the person is: fades at edges within the frame
    reach_px: int  # width of the blur by which a matte tells where the canvas's own picture shows


def scene_flaw(scene: Scene) -> str:
    """What is wrong with it, as one line; empty if nothing."""
    if scene.rgb.ndim != 3 or scene.rgb.shape[2] != 3 or scene.rgb.dtype != np.uint8:
        return f"its picture is {scene.rgb.dtype} {scene.rgb.shape}; wanted uint8 (H, W, 3)"
    height, width = scene.rgb.shape[:2]
    if max(width, height) > MAX_PX:
        return f"its picture is {width}x{height}; wanted at most {MAX_PX} a side"
    low = scene.left >= 0 and scene.top >= 0 and scene.side > 0
    if not (low and scene.left + scene.side <= width and scene.top + scene.side == height):
        return (
            f"the canvas is {scene.side} px at {scene.left}, {scene.top}; "
            f"wanted within its {width}x{height} picture and at its bottom"
        )
    return ""


def frame_size(frame: str, canvas_px: int, scene: Scene | None) -> Size:
    """(width, height) px of the pictures. frame: as `checked_frame` gives it.

    auto: of WIDE what the scene fills, where there is one that is wider than high; else square.
    """
    if frame == AUTO and scene is not None and scene.rgb.shape[1] > scene.rgb.shape[0]:
        return next((wide for wide in WIDE if wide[0] >= scene.rgb.shape[1]), WIDE[-1])
    if frame in (AUTO, SQUARE):
        return canvas_px, canvas_px
    width, height = map(int, frame.split("x"))
    return width, height


class Framer:
    """Lays what is drawn on the canvas into the frame, before the background. Not thread-safe: one caller."""

    def __init__(self, plate: U8Image, scene: Scene | None) -> None:
        """plate: (S, S, 3) uint8, the canvas without the person."""
        self._plate = plate
        self._scene = scene
        self._background = Background.original()
        self._frame = SQUARE
        self._still: U8Image | None = None  # the frame without the person; None: there is nothing around it
        # The chosen background, on the canvas, and what lays the person over it.
        self._behind: tuple[replacing.Replacer, U8Image] | None = None
        self._is_laid_out = True
        enlarging.warm_up()
        replacing.warm_up()

    @property
    def size(self) -> Size:
        """(width, height) of the frame, px."""
        return frame_size(self._frame, self._plate.shape[0], self._scene)

    @property
    def is_own_room(self) -> bool:
        """Whether the background is the avatar's own."""
        return self._background.rgb is None

    def choose(self, frame: str) -> None:
        """From now on pictures of this frame. Raises SettingsError."""
        self._frame = checked_frame(frame)
        self._is_laid_out = False

    def set_background(self, background: Background) -> None:
        """From now on before this."""
        self._background = background
        self._is_laid_out = False

    def framed(self, drawn: U8Image, matte_u8: U8Image) -> U8Image:
        """(H, W, 3) uint8 RGB; `drawn` itself or a buffer that the next call may reuse, to be read alone.

        drawn: (S, S, 3) uint8, the person over the plate; matte_u8: (S, S) uint8, 255 is the person.
        """
        if not self._is_laid_out:
            self._lay_out()
        if self._behind is None and self._still is None:
            return drawn
        matte: U8Image | FloatArray = matte_u8
        gain = _SPREAD / 255
        if self._behind is not None:
            replacer, behind = self._behind
            matte, gain = matte_u8.astype(np.float32) / np.float32(255), _SPREAD
            matte = replacer.settled(drawn, matte)
            drawn = replacer.replaced(drawn, matte, behind)
        if self._still is None:
            return drawn
        layout, size, (height, width) = self._layout, len(drawn), self._still.shape[:2]
        # Away from the person the scene is sharper than the canvas.
        reach = layout.reach_px, layout.reach_px
        cv2.boxFilter(matte, cv2.CV_32F, reach, dst=self._spread)
        enlarging.lay_enlarged(
            drawn.reshape(size, 3 * size),
            self._spread,
            np.float32(gain),
            layout.inside,
            self._taps,
            self._still.reshape(height, 3 * width),
            layout.left,
            layout.top,
            self._covered,
            self._picture.reshape(height, 3 * width),
        )
        return self._picture

    def _lay_out(self) -> None:
        """What stands still: the whole frame, the part of it behind the canvas, and where that is."""
        size, (width, height) = self._plate.shape[0], self.size
        self._still, self._behind, self._is_laid_out = None, None, True
        if (width, height) == (size, size):
            self._behind = self._before(self._background.fitted(size, size))
            return
        self._layout = layout = layout_of(self._plate, self._scene, width, height)
        chosen = self._background.fitted(width, height)
        self._still = np.ascontiguousarray(layout.still if chosen is None else chosen)
        self._picture = self._still.copy()
        self._taps = enlarging.taps(size, layout.side)
        self._covered = np.zeros((layout.side, 2), np.int32)
        self._spread = np.empty((size, size), np.float32)
        if chosen is not None:
            there = chosen[layout.top : layout.top + layout.side, layout.left : layout.left + layout.side]
            self._behind = self._before(_resized(there, size, size))

    def _before(self, chosen: U8Image | None) -> tuple[replacing.Replacer, U8Image] | None:
        """With buffers of its own: whoever still reads the picture before another background keeps it."""
        return None if chosen is None else (replacing.Replacer(self._plate), chosen)


def layout_of(plate: U8Image, scene: Scene | None, width: int, height: int) -> Layout:
    """Of a canvas (S, S, 3) whose room is the scene, in a frame of width x height px."""
    size = len(plate)
    shown = window(scene or Scene(plate, 0, 0, size), width, height)
    reach = max(3, round(size * _REACH_SHARE)) | 1
    return Layout(shown.rgb, shown.left, shown.top, shown.side, _inside(size, shown, width), reach)


def window(scene: Scene, width: int, height: int) -> Scene:
    """The scene as a frame of this size shows it: as much of the room as fits, around the canvas.

    The canvas's lowest row stays the frame's, since below it the person would end. What the room lacks on
    either side or above is continued.
    """
    room_h, room_w = scene.rgb.shape[:2]
    bottom, ratio = scene.top + scene.side, width / height
    seen_h = min(bottom, room_w / ratio)
    seen_h = max(seen_h, scene.side, scene.side / ratio)  # the whole canvas is in it
    scale = height / seen_h
    room = _resized(scene.rgb, max(1, round(room_w * scale)), max(1, round(room_h * scale)))
    side = min(round(scene.side * scale), width, height)
    canvas = round(scene.left * scale)  # from here on in px of the frame
    left = round((scene.left + scene.side / 2) * scale - width / 2)
    beyond = room.shape[1] - width
    left = min(max(left, 0), beyond) if beyond >= 0 else beyond // 2
    left = max(min(left, canvas), canvas + side - width)
    box = (left, room.shape[0] - height, width, height)
    rgb = _continued(room, box, round(side * _BLUR_SHARE))
    return Scene(np.ascontiguousarray(rgb), canvas - left, height - side, side)


def _continued(rgb: U8Image, box: tuple[int, int, int, int], blur_px: int) -> U8Image:
    """That box of the picture: left, top, width, height, px; what lies beyond is continued."""
    left, top, width, height = box
    above, before, behind = max(0, -top), max(0, -left), max(0, left + width - rgb.shape[1])
    within = rgb[max(0, top) : top + height, max(0, left) : left + width]
    if not (above or before or behind):
        return within
    blur_px = max(1, blur_px)
    borders = above, 0, before, behind
    mirrored = cv2.copyMakeBorder(within, *borders, cv2.BORDER_REFLECT).astype(np.float32)
    light = _blurred(within.astype(np.float32), _LIGHT * blur_px)
    light = cv2.copyMakeBorder(light, *borders, cv2.BORDER_REPLICATE)
    beyond = light + _blurred(mirrored, blur_px) - _blurred(mirrored, _LIGHT * blur_px)
    outside = np.ones(mirrored.shape[:2], np.uint8)
    outside[above:, before : width - behind] = 0
    share = np.clip(cv2.distanceTransform(outside, cv2.DIST_L2, 3) / (2 * blur_px), 0, 1)[..., None]
    return np.asarray(np.clip(mirrored + (beyond - mirrored) * share, 0, 255) + 0.5, np.uint8)


def _blurred(rgb: FloatArray, sigma_px: int) -> FloatArray:
    """By a Gaussian; a wide one on a smaller copy, which takes a hundredth of the time."""
    shrink = max(1, sigma_px // 4)
    height, width = rgb.shape[:2]
    small = (max(1, width // shrink), max(1, height // shrink))
    soft = cv2.GaussianBlur(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), (0, 0), sigma_px / shrink)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _inside(size: int, scene: Scene, width: int) -> FloatArray:
    """(S, S) float32: fades out at those edges of the canvas that are not the frame's, 0 at the edge."""
    ramp = np.clip(np.arange(size, dtype=np.float32) / max(1.0, size * _EDGE_SHARE), 0, 1)
    still = np.ones(size, np.float32)
    across = (ramp if scene.left > 0 else still) * (ramp[::-1] if scene.left + scene.side < width else still)
    return np.asarray(np.outer(ramp if scene.top > 0 else still, across), np.float32)


def _resized(rgb: U8Image, width: int, height: int) -> U8Image:
    smaller = width < rgb.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)
