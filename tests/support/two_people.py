"""Pictures of two synthetic people: one sits at the left, another stands at the right and may come nearer."""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import U8Image
from engine.avatar.avatar_file import load_avatar
from engine.avatar.bundled import bundled_file
from engine.media.video import read_frames
from tests.support.places import PRESENTER

WIDTH, HEIGHT = 640, 480
FOLLOWED_PX = 300  # of the left one's square picture


def pasted(rgba: U8Image, size_px: int) -> U8Image:
    """The person of a key frame, (S, S, 4), so large."""
    return np.asarray(cv2.resize(rgba, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)


def scene(left: U8Image | None, right: U8Image | None) -> U8Image:
    """(480, 640, 3) uint8 RGB. left: a square frame; right: what `pasted` gives, before and beside them."""
    picture = np.full((HEIGHT, WIDTH, 3), (150, 145, 140), np.uint8)
    if left is not None:
        size = FOLLOWED_PX
        picture[HEIGHT - size :, :size] = cv2.resize(left, (size, size), interpolation=cv2.INTER_CUBIC)
    if right is not None:
        size = right.shape[0]
        top, begin = max(HEIGHT - size, 0), WIDTH - size + size // 6
        piece = right[: HEIGHT - top, : WIDTH - begin]
        matte = piece[..., 3:].astype(np.float32) / 255
        where = picture[top:, begin:]
        where[:] = (where * (1 - matte) + piece[..., :3] * matte).astype(np.uint8)
    return picture


class TwoPeople:
    """For a camera: one at the left; after a second another comes in at the right, nearer and nearer."""

    loop_s = 12.0

    def __init__(self, leaves: bool = False) -> None:
        """leaves: the one at the left is gone from the fourth second on."""
        self._left = [frame.rgb for frame in read_frames(PRESENTER)]
        self._leaves = leaves
        with bundled_file("amara") as file:
            self._right = load_avatar(file).keyframes[0].rgba

    def frame(self, elapsed_s: float) -> U8Image:
        """(480, 640, 3) uint8 RGB."""
        elapsed_s %= self.loop_s
        right = pasted(self._right, round(260 + 60 * min(elapsed_s - 1, 3))) if elapsed_s >= 1 else None
        left = self._left[min(round(elapsed_s * 15), len(self._left) - 1)]
        return scene(None if self._leaves and elapsed_s >= 4 else left, right)

    def at(self, elapsed_s: float) -> U8Image:
        """The same, as planes of I420."""
        return np.asarray(cv2.cvtColor(self.frame(elapsed_s), cv2.COLOR_RGB2YUV_I420), np.uint8)
