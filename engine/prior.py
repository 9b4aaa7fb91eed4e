"""The prior: real key frames, warped region by region onto the target pose, over the background plate.

It gives the denoiser true texture in about the right place. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import topology as topo
from engine.keyframes import HAND_SIDES, KeyFrameChooser
from engine.landmarks import Landmarks
from engine.motion import Neutral
from engine.warp import ControlPoints, FlowSolver, body_flow, control_points, hand_flow, sample

FloatArray = NDArray[np.float32]
U8Image = NDArray[np.uint8]

CELL_PX = 8  # flow grid of the whole canvas at 256 px; 5 looks and scores the same
PATCH_CELL_PX = 4  # at 256 px
PATCH_SOFTNESS = 0.006  # lips and lids are small: a soft flow would not close them
HAND_SOFTNESS = 0.06  # fingers pass each other: a flow that follows each of them would fold
# The matte's soft ends are cut: a half-transparent person shows the plate through.
MATTE_LOW, MATTE_HIGH = 20.0, 220.0
_MATTE_OF_ALPHA = np.clip((np.arange(256) - MATTE_LOW) / (MATTE_HIGH - MATTE_LOW), 0.0, 1.0).astype(
    np.float32
)


@dataclass(frozen=True, slots=True)
class KeyImage:
    """One key frame of the bank. rgba: (S, S, 4) uint8, alpha 255 is the person."""

    rgba: U8Image
    landmarks: Landmarks


@dataclass(frozen=True, slots=True)
class Prior:
    """rgb: (S, S, 3) uint8; matte: (S, S) float32, 0..1, 1 is the person. Both are fresh arrays."""

    rgb: U8Image
    matte: FloatArray


class PriorBuilder:
    """Builds the prior of one avatar at its canvas size."""

    def __init__(
        self, bank: Sequence[KeyImage], neutral: Neutral, plate: U8Image, per_region: bool = True
    ) -> None:
        self.size = int(plate.shape[0])
        self._bank = list(bank)
        self._plate = plate
        self._points = [control_points(key.landmarks) for key in bank]
        # The solver knows the same points again: target, last target, and where the noise lies undistorted.
        self._points_of = lru_cache(maxsize=4)(control_points)
        self.chooser = KeyFrameChooser([key.landmarks for key in bank], neutral, per_region)
        canvas = (0, 0, self.size, self.size)
        self._solver = FlowSolver(canvas, max(2, CELL_PX * self.size // 256), self.size)

    def build(self, target: Landmarks, forbidden: NDArray[np.bool_] | None = None) -> Prior:
        """The prior for the target landmarks. forbidden: (K,) bool, key frames not to be used (training)."""
        choice = self.chooser.choose(target, forbidden)
        points = self._points_of(target)
        layers = self._warped(choice["torso"], points)
        if choice["head"] != choice["torso"]:
            head = self._warped(choice["head"], points)
            layers = _blended(layers, head, self._head_mask(target))
        for region in ("mouth", "eye_left", "eye_right", "hand_left", "hand_right"):
            if region in choice:
                self._patch(layers, region, choice[region], points, target)
        matte = np.asarray(cv2.LUT(cv2.extractChannel(layers, 3), _MATTE_OF_ALPHA), np.float32)
        return Prior(_blended(self._plate, cv2.cvtColor(layers, cv2.COLOR_RGBA2RGB), matte), matte)

    def flow_between(self, source: Landmarks, target: Landmarks) -> FloatArray:
        """(S, S, 2) px: where each pixel of `target` was in `source`."""
        return body_flow(self._solver, self._points_of(target), self._points_of(source))

    def _warped(self, key: int, points: ControlPoints) -> U8Image:
        return sample(self._bank[key].rgba, body_flow(self._solver, points, self._points[key]))

    def _head_mask(self, target: Landmarks) -> FloatArray:
        """(S, S) float32: 1 on face and hair, fading on the neck."""
        face = target.face[topo.FACE_OVAL, :2]
        grown = (
            face
            + 0.75 * (face - face.mean(0)) * (face[:, 1:] < face[:, 1:].mean())
            + 0.12 * (face - face.mean(0))
        )
        mask = np.zeros((self.size, self.size), np.float32)
        cv2.fillConvexPoly(mask, cv2.convexHull(grown.astype(np.int32)), 1.0)
        soft = max(3, self.size // 20) | 1
        return np.asarray(cv2.blur(mask, (soft, soft)))

    def _patch(
        self,
        layers: U8Image,
        region: str,
        key: int,
        points: ControlPoints,
        target: Landmarks,
    ) -> None:
        """Lays one region of a key frame on the layers, within a soft ellipse; hands along their outline."""
        box = self._box(region, target)
        if box is None:
            return
        x0, y0, x1, y1 = box
        inside = (max(x0, 0), max(y0, 0), min(x1, self.size), min(y1, self.size))
        if inside[2] - inside[0] < 8 or inside[3] - inside[1] < 8:
            return
        softness = HAND_SOFTNESS if region in HAND_SIDES else PATCH_SOFTNESS
        solver = FlowSolver(inside, PATCH_CELL_PX * self.size // 256, self.size, softness)
        source = self._points[key]
        if region in HAND_SIDES:
            flow = hand_flow(solver, points, source, region)
            mask = _hand_mask(target.hands[HAND_SIDES[region], :, :2], inside)
        else:
            flow = body_flow(solver, points, source)
            rows, columns = slice(inside[1] - y0, inside[3] - y0), slice(inside[0] - x0, inside[2] - x0)
            mask = _ellipse(x1 - x0, y1 - y0)[rows, columns]
        patch = sample(self._bank[key].rgba, flow)
        part = layers[inside[1] : inside[3], inside[0] : inside[2]]
        part[:] = _blended(np.ascontiguousarray(part), patch, mask)

    def _box(self, region: str, target: Landmarks) -> tuple[int, int, int, int] | None:
        """x0, y0, x1, y1 px of a region's patch; it may reach over the canvas."""
        if region == "mouth":
            points, grow = target.face[topo.LIPS_OUTER, :2], (1.5, 2.0)
        elif region == "eye_left":
            points, grow = target.face[np.concatenate([topo.EYE_LEFT, topo.BROWS[1]]), :2], (1.35, 1.5)
        elif region == "eye_right":
            points, grow = target.face[np.concatenate([topo.EYE_RIGHT, topo.BROWS[3]]), :2], (1.35, 1.5)
        else:
            points, grow = target.hands[HAND_SIDES[region], :, :2], (1.5, 1.5)
        low, high = points.min(0), points.max(0)
        centre, half = (low + high) / 2, np.maximum((high - low) / 2, 4.0) * np.array(grow, np.float32)
        if not (np.isfinite(centre).all() and (half < self.size).all()):
            return None
        x0, y0 = np.floor(centre - half).astype(int)
        x1, y1 = np.ceil(centre + half).astype(int)
        return int(x0), int(y0), int(x1), int(y1)


def _blended(below: U8Image, above: cv2.typing.MatLike, mask: FloatArray) -> U8Image:
    """`above` over `below`, both (h, w, C) uint8, where mask (h, w), 0..1, says so."""
    return np.asarray(cv2.blendLinear(below, above, 1.0 - mask, mask), np.uint8)


def _hand_mask(points: FloatArray, box: tuple[int, int, int, int]) -> FloatArray:
    """(h, w) float32 over `box`: 1 on palm and fingers, soft just outside them. points: (21, 2) px."""
    x0, y0, x1, y1 = box
    mask = np.zeros((y1 - y0, x1 - x0), np.float32)
    finger_px = max(2, round(0.28 * float(np.linalg.norm(points[9] - points[0]))))
    local = np.round(points - (x0, y0)).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(local[topo.PALM]), 1.0)
    for start, end in topo.HAND_BONES:
        cv2.line(mask, local[start].tolist(), local[end].tolist(), 1.0, finger_px)
    return np.asarray(cv2.blur(mask, (finger_px // 2 * 2 + 1,) * 2))


def _ellipse(width: int, height: int) -> FloatArray:
    """(height, width) float32: 1 in the middle, falling softly to 0 at the ellipse that touches the box."""
    x = (np.arange(width, dtype=np.float32) + 0.5) * (2.0 / width) - 1.0
    y = (np.arange(height, dtype=np.float32) + 0.5) * (2.0 / height) - 1.0
    return np.clip((1.0 - np.sqrt(x * x + y[:, None] * y[:, None])) * 3.0, 0.0, 1.0)
