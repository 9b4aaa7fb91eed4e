"""What the avatar remembers between frames: the last picture, a fixed noise field, whether anything moved.

Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import VISIBLE, Landmarks
from engine.render import kernels
from engine.render.prior import Prior, PriorBuilder, shrunk
from engine.render.warp import Flow, Pairs, lay

PREVIOUS_WEIGHT = 0.35  # share of the previous output in the warm start; more lags, less flickers
GATE_PX = 0.3  # at 256 px: when no landmark moved further, the last picture is sent again
REFRESH_FRAMES = 10  # but never for longer than this
JUMP = 0.08  # share of the canvas: when the head moved further between two frames, nothing is carried over
NOISE_SEED = 20_240_229
_PREVIOUS_SHARE = np.full(256, round(255 * PREVIOUS_WEIGHT), np.uint8)  # by how near the person is
_PREVIOUS_SHARE[0] = 0


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


def noise_field(size: int) -> FloatArray:
    """(size, size, 3) float32, unit variance: always the same."""
    return np.random.default_rng(NOISE_SEED).standard_normal((size, size, 3)).astype(np.float32)


class TemporalState:
    """What is decided between the frames of one session: small, and wherever the pictures are."""

    def __init__(self, config: CacheConfig, builder: PriorBuilder) -> None:
        self.config = config
        self._builder = builder
        self._gate_px = GATE_PX * builder.size / 256
        self._anchor: Landmarks | None = None  # where the noise field is undistorted
        self._target: Landmarks | None = None
        self._judged: tuple[Landmarks, bool] | None = None  # of whom it is known whether they jumped
        self._sent_again = 0

    def forget(self) -> None:
        """Starts afresh, as after a cut."""
        self._target = self._anchor = self._judged = None
        self._builder.chooser.forget()

    def may_resend(self, target: Landmarks) -> bool:
        """True when the last picture may be sent again; counts how often it was."""
        if not self.config.pose_gate or self._target is None or self._sent_again >= REFRESH_FRAMES:
            self._sent_again = 0
            return False
        moved = _largest_move(self._target, target)
        self._sent_again = self._sent_again + 1 if moved <= self._gate_px else 0
        return moved <= self._gate_px

    def jumped(self, target: Landmarks) -> bool:
        """True where there is no last frame, or the head is not where it was."""
        if self._target is None:
            return True
        if self._judged is None or self._judged[0] is not target:
            moved = np.linalg.norm((target.face[:, :2] - self._target.face[:, :2]).mean(0))
            self._judged = target, bool(moved > JUMP * self._builder.size)
        return self._judged[1]

    def previous_pairs(self, target: Landmarks) -> Pairs | None:
        """By which each pixel was in the last picture; None at a start, after a jump, or if off."""
        if self._target is None or not self.config.previous_output or self.jumped(target):
            return None
        return self._builder.pairs_between(self._target, target)

    def noise_pairs(self, target: Landmarks) -> Pairs | None:
        """By which each pixel was when the noise was undistorted; None where it is now."""
        if self._anchor is None:
            self._anchor = target
            return None
        return self._builder.pairs_between(self._anchor, target)

    def drew(self, target: Landmarks) -> None:
        """The target is in the last picture."""
        self._target, self._judged = target, None


class TemporalCache(TemporalState):
    """That, with the last picture and the noise themselves."""

    def __init__(self, config: CacheConfig, builder: PriorBuilder, size: int | None = None) -> None:
        """size: px of the picture and the noise that are kept, the network's; None: the canvas's."""
        super().__init__(config, builder)
        size = size or builder.size
        self._scale = np.float32(size / builder.size)
        # A pixel that covers several of the canvas holds the mean of their noise.
        self._field = noise_field(size) * self._scale
        self._moved = np.empty((1, 3, size, size), np.float32)
        self._last: U8Image = np.zeros((size, size, 4), np.uint8)
        self._change: FloatArray = np.zeros((size, size, 3), np.float32)
        self._chosen: dict[str, int] = {}  # of the picture that was changed so, by region
        self._carried = np.empty((1, 3, size, size), np.float32)

    def start(self, prior: Prior, target: Landmarks) -> U8Image:
        """Where denoising starts, (S, S, 3) uint8: `warm_start` with the last picture warped to the target.

        prior: of the side of what is kept. Where nothing of the person can be, both are the plate, and
        nothing is fetched. Without a last picture the prior itself.
        """
        pairs = self.previous_pairs(target)
        if pairs is None:
            return prior.rgb
        start = np.asarray(cv2.cvtColor(prior.rgb, cv2.COLOR_RGB2RGBA), np.uint8)
        lay(
            start, self._last, self._scaled(pairs), np.asarray(cv2.LUT(prior.near, _PREVIOUS_SHARE), np.uint8)
        )
        return np.asarray(cv2.cvtColor(start, cv2.COLOR_RGBA2RGB), np.uint8)

    def noise(self, target: Landmarks) -> FloatArray:
        """Noise (1, 3, S, S), unit variance: one field that moves with the person instead of flickering.

        The buffer is reused: copy what must outlive the next call.
        """
        pairs = self.noise_pairs(target)
        if pairs is None:
            self._moved[0] = self._field.transpose(2, 0, 1)
        else:
            # Of the nearest pixels, which keeps the variance; interpolating would smooth the noise away.
            kernels.move_noise(self._field, self._scaled(pairs).grid, self._moved[0])
        return self._moved

    def keep_change(self, change: FloatArray) -> None:
        """Remembers what the network changed on the prior just built; change: (1, 3, S, S) float32."""
        self._change[:] = change[0].transpose(1, 2, 0)
        self._chosen = self._builder.chooser.chosen

    def carried(self, target: Landmarks) -> FloatArray | None:
        """That change, moved with the person from the last picture to the prior just built; (1, 3, S, S).

        None where that prior is made of other key frames, or does not follow the last picture. The buffer is
        reused: copy what must outlive the next call.
        """
        pairs = self.previous_pairs(target)
        if pairs is None or self._builder.chooser.chosen != self._chosen:
            return None
        kernels.move_noise(self._change, self._scaled(pairs).grid, self._carried[0])
        return self._carried

    def keep(self, target: Landmarks, rgb: U8Image) -> None:
        """Remembers the picture just made; rgb: (S, S, 3) uint8 of the canvas, copied."""
        cv2.cvtColor(shrunk(rgb, len(self._last)), cv2.COLOR_RGB2RGBA, dst=self._last)
        self.drew(target)

    def _scaled(self, pairs: Pairs) -> Flow:
        """The flow over the whole canvas, for what is kept."""
        size = len(self._last)
        return Flow((0, 0, size, size), pairs.flow().grid * self._scale)


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
