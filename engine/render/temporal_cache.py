"""What the avatar remembers between frames: the last picture, a fixed noise field, whether anything moved.

Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import VISIBLE, Landmarks
from engine.render.prior import PriorBuilder
from engine.render.warp import remap

PREVIOUS_WEIGHT = 0.35  # share of the previous output in the warm start; more lags, less flickers
GATE_PX = 0.3  # at 256 px: when no landmark moved further, the last picture is sent again
REFRESH_FRAMES = 10  # but never for longer than this
JUMP = 0.08  # share of the canvas: when the head moved further between two frames, nothing is carried over
NOISE_SEED = 20_240_229


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """What may be left out: for the warped key frames alone, and where every picture has to be drawn."""

    previous_output: bool = True
    pose_gate: bool = True


def warm_start(prior: U8Image, previous: U8Image | None) -> U8Image:
    """Where denoising starts: the prior with a share of the previous picture, all (S, S, 3) uint8."""
    if previous is None:
        return prior
    return np.asarray(cv2.addWeighted(prior, 1 - PREVIOUS_WEIGHT, previous, PREVIOUS_WEIGHT, 0), np.uint8)


class TemporalCache:
    """State carried between the frames of one session."""

    def __init__(self, config: CacheConfig, builder: PriorBuilder) -> None:
        self.config = config
        self._builder = builder
        size = builder.size
        self._gate_px = GATE_PX * size / 256
        noise = np.random.default_rng(NOISE_SEED).standard_normal((size, size, 3))
        self._field = noise.astype(np.float32)
        self._anchor: Landmarks | None = None  # where the noise field is undistorted
        self._last: U8Image = np.zeros((size, size, 3), np.uint8)
        self._target: Landmarks | None = None
        self._sent_again = 0

    def forget(self) -> None:
        """Starts afresh, as after a cut."""
        self._target = None
        self._anchor = None
        self._builder.chooser.forget()

    def may_resend(self, target: Landmarks) -> bool:
        """True when the last picture may be sent again; counts how often it was."""
        if not self.config.pose_gate or self._target is None or self._sent_again >= REFRESH_FRAMES:
            self._sent_again = 0
            return False
        moved = _largest_move(self._target, target)
        self._sent_again = self._sent_again + 1 if moved <= self._gate_px else 0
        return moved <= self._gate_px

    def previous(self, target: Landmarks) -> U8Image | None:
        """The last picture (S, S, 3) uint8 warped to the target; None at a start, after a jump, or if off."""
        if self._target is None or not self.config.previous_output or self.jumped(target):
            return None
        return remap(self._last, self._builder.flow_between(self._target, target))

    def jumped(self, target: Landmarks) -> bool:
        """True where there is no last frame, or the head is not where it was."""
        if self._target is None:
            return True
        moved = np.linalg.norm((target.face[:, :2] - self._target.face[:, :2]).mean(0))
        return bool(moved > JUMP * self._builder.size)

    def noise(self, target: Landmarks) -> FloatArray:
        """Noise (1, 3, S, S), unit variance: one field that moves with the person instead of flickering."""
        if self._anchor is None:
            self._anchor, field = target, self._field
        else:
            flow = self._builder.flow_between(self._anchor, target)
            # Nearest neighbour keeps the variance; interpolating would smooth the noise away.
            field = cv2.remap(self._field, flow, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(field.transpose(2, 0, 1))[None]

    def keep(self, target: Landmarks, rgb: U8Image) -> None:
        """Remembers the picture just made; rgb: (S, S, 3) uint8, copied."""
        np.copyto(self._last, rgb)
        self._target = target


def _largest_move(before: Landmarks, after: Landmarks) -> float:
    """Largest shift in px of any landmark that shows in either frame."""
    moved = float(np.abs(after.face[:, :2] - before.face[:, :2]).max())
    body = (before.pose_confidence > VISIBLE) | (after.pose_confidence > VISIBLE)
    if body.any():
        moved = max(moved, float(np.abs(after.pose[body, :2] - before.pose[body, :2]).max()))
    for side in (0, 1):
        if max(before.hand_confidence[side], after.hand_confidence[side]) > VISIBLE:
            moved = max(moved, float(np.abs(after.hands[side, :, :2] - before.hands[side, :, :2]).max()))
    return moved
