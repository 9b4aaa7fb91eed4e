"""The prior: real key frames, warped region by region onto the target pose, over the background plate.

From far to near: plate, torso without its arms, head, mouth and eyes, the farther hand with its forearm, the
nearer one. It gives the denoiser true texture in about the right place. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, VISIBLE, Landmarks
from engine.person.motion import Neutral
from engine.render import kernels
from engine.render.keyframes import HAND_SIDES, KeyFrame, KeyFrameChooser
from engine.render.patches import (
    Box,
    Gaze,
    arm_box,
    arm_mask,
    arm_points,
    arm_weights,
    clipped,
    elbow_known,
    ellipse,
    eye_cell_px,
    face_box,
    filled_outline,
    hand_presence,
    head_outline,
    look,
    shown_arm,
)
from engine.render.stray_arms import stray_arms
from engine.render.warp import (
    ControlPoints,
    Flow,
    FlowSolver,
    Pairs,
    body_pairs,
    control_points,
    lay,
    trunk_pairs,
)

CELL_PX = 8  # flow grid of the whole canvas at 256 px; 5 looks and scores the same
PATCH_CELL_PX = 4  # at 256 px
PATCH_SOFTNESS = 0.006  # lips and lids are small: a soft flow would not close them
HAND_SOFTNESS = 0.06  # fingers pass each other: a flow that follows each of them would fold
EYE_SIDES = {"eye_left": LEFT, "eye_right": RIGHT}
SAME_ARM = 0.35  # shoulder distances: an arm this near to where the torso's key frame has it may stay there
BARED_KEPT = 64  # torsos without arms that are kept; one takes a millisecond to make
BARE_EDGE = 5  # px at 256 px
TOP_FADE_PX = 3.0  # at 256 px: over so much a person ends above the key frame's upper edge
# The matte's soft ends are cut: a half-transparent person shows the plate through.
MATTE_LOW, MATTE_HIGH = 20.0, 220.0
_MATTE_OF_ALPHA = np.round(
    255 * np.clip((np.arange(256) - MATTE_LOW) / (MATTE_HIGH - MATTE_LOW), 0.0, 1.0)
).astype(np.uint8)
REACH = 1 / 36  # of the canvas: further out from the person the network paints a haze, which costs 0.1 dB
_NEAR = np.minimum(3 * np.arange(256), 255).astype(np.uint8)  # of the blurred matte
# Where a mask is full nothing below it shows.
_ALL_UNLESS_FULL = np.where(np.arange(256) < 255, 255, 0).astype(np.uint8)


def reach_px(size: int) -> int:
    """Width of the blur by which a canvas of so many px tells what is near the person."""
    return max(3, int(REACH * size)) | 1


def shrunk(picture: U8Image, size: int) -> U8Image:
    """(S, S) or (S, S, C) uint8 to (size, size, ...), each pixel the mean of those that it covers."""
    if len(picture) == size:
        return picture
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class Prior:
    """rgb: (S, S, 3) uint8; matte and near: (S, S) uint8. All are fresh arrays."""

    rgb: U8Image
    matte: U8Image  # 255 is the person
    near: U8Image  # 255 on the person and just around, 0 where nothing of them can be

    def shrunk(self, size: int) -> Prior:
        """Of that side, px: the mean of what a pixel covers."""
        if len(self.rgb) == size:
            return self
        return Prior(*(shrunk(part, size) for part in (self.rgb, self.matte, self.near)))


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A piece of a picture of the person, to be laid over those before it: what is decided of a prior."""

    region: str  # of REGIONS
    source: U8Image  # (S, S, 4); the same array for the same picture
    pairs: Pairs
    ellipse: Box | None = None  # which it is laid within; may reach over the canvas
    outline: NDArray[np.int32] | None = None  # (N, 2) px, which it is laid within
    mask: U8Image | None = None  # (h, w) uint8 over the box; of none of them: all of the box
    top_fade_px: float = 0.0
    gaze: Gaze | None = None  # of an eye

    @property
    def box(self) -> Box:
        """Of its flow."""
        return self.pairs.solver.box

    def flow(self) -> Flow:
        """Solved here."""
        flow = self.pairs.flow()
        if self.gaze is not None:
            look(flow, self.gaze)
        return flow

    def drawn_mask(self) -> U8Image:
        """(h, w) uint8 over the box."""
        x0, y0, x1, y1 = self.box
        if self.ellipse is not None:
            left, top, right, bottom = self.ellipse
            whole = ellipse(right - left, bottom - top)
            return whole[y0 - top : y1 - top, x0 - left : x1 - left]
        if self.outline is not None:
            return filled_outline(self.outline, x1 - x0)
        return np.full((y1 - y0, x1 - x0), 255, np.uint8) if self.mask is None else self.mask


class PriorBuilder:
    """Builds the prior of one avatar at its canvas size."""

    def __init__(
        self,
        bank: Sequence[KeyFrame],
        neutral: Neutral,
        plate: U8Image,
        bare_torso: U8Image | None = None,
    ) -> None:
        """bare_torso: (S, S, 4) uint8, the person of bank[0] without arms; None: torsos keep their arms."""
        self.size = int(plate.shape[0])
        self._bank = list(bank)
        self._plate = plate
        self._bare_torso = bare_torso
        self._body_scale = float(neutral.body_scale)
        self._top_fade_px = TOP_FADE_PX * self.size / 256
        self._points = [control_points(key.landmarks) for key in bank]
        # The solver knows the same points again: target, last target, and where the noise lies undistorted.
        self._points_of = lru_cache(maxsize=4)(control_points)
        self._bared = lru_cache(maxsize=BARED_KEPT)(self._bare)
        canvas = (0, 0, self.size, self.size)
        self._solver = FlowSolver(canvas, max(2, CELL_PX * self.size // 256), self.size)
        landmarks = [key.landmarks for key in bank]
        stray = None
        if bare_torso is not None:
            stray = stray_arms(bank, self._points, bare_torso, self._solver, self._body_scale)
        self.chooser = KeyFrameChooser(landmarks, neutral, bare_torso is None, stray)

    def build(self, target: Landmarks, forbidden: NDArray[np.bool_] | None = None) -> Prior:
        """The prior for the target landmarks. forbidden: as `layers`."""
        laid = self.layers(target, forbidden)
        layers = np.empty((self.size, self.size, 4), np.uint8)
        masks = [layer.drawn_mask() for layer in laid]
        if len(laid) > 1 and laid[1].region == "head":
            masks[0] = np.asarray(cv2.LUT(masks[1], _ALL_UNLESS_FULL), np.uint8)
        for layer, mask in zip(laid, masks, strict=True):
            lay(layers, layer.source, layer.flow(), mask, layer.top_fade_px)
        rgb, matte = np.empty_like(self._plate), np.empty(self._plate.shape[:2], np.uint8)
        kernels.over_plate(kernels.as_pixels(layers), _MATTE_OF_ALPHA, self._plate, rgb, matte)
        reach = reach_px(self.size)
        return Prior(rgb, matte, np.asarray(cv2.LUT(cv2.blur(matte, (reach, reach)), _NEAR), np.uint8))

    def layers(self, target: Landmarks, forbidden: NDArray[np.bool_] | None = None) -> list[Layer]:
        """What the prior is laid of, from far to near: a whole body first.

        forbidden: (K,) bool, key frames not to be used (training).
        """
        choice = self.chooser.choose(target, forbidden)
        points = self._points_of(target)
        torso = self._bared(choice["torso"], self._arms_to_remove(choice, target))
        laid = [self._body("torso", torso, choice["torso"], points)]
        if choice["head"] != choice["torso"]:
            head = self._bank[choice["head"]].rgba
            laid.append(self._body("head", head, choice["head"], points, head_outline(target)))
        for region in ("mouth", "eye_left", "eye_right"):
            if region in choice and (part := self._face_part(region, choice[region], points, target)):
                laid.append(part)
        for region in _far_hand_first(target):
            if region in choice and (arm := self._arm(region, choice[region], target)):
                laid.append(arm)
        return laid

    def pairs_between(self, source: Landmarks, target: Landmarks) -> Pairs:
        """By which each pixel of `target` was somewhere in `source`."""
        return body_pairs(self._solver, self._points_of(target), self._points_of(source))

    def flow_between(self, source: Landmarks, target: Landmarks) -> Flow:
        """Where each pixel of `target` was in `source`."""
        return self.pairs_between(source, target).flow()

    def _body(
        self,
        region: str,
        rgba: U8Image,
        key: int,
        points: ControlPoints,
        outline: NDArray[np.int32] | None = None,
    ) -> Layer:
        pairs = trunk_pairs(self._solver, points, self._points[key])
        # Clothes go on below the key frame; hair that touched its top must not run up in streaks.
        return Layer(region, rgba, pairs, outline=outline, top_fade_px=self._top_fade_px)

    def _arms_to_remove(self, choice: Mapping[str, int], target: Landmarks) -> tuple[bool, bool]:
        """Which arms of the torso's key frame must go: those laid anew, and ghosts."""
        key = self._bank[choice["torso"]].landmarks
        left, right = (
            region in choice or not self._same_arm(key, target, side) for region, side in HAND_SIDES.items()
        )
        return left, right

    def _same_arm(self, key: Landmarks, target: Landmarks, side: int) -> bool:
        """Whether an arm whose hand is lost is where the key frame has it, as far as the wrists tell."""
        if target.pose_confidence[topo.WRISTS[side]] <= VISIBLE:
            return False
        shown = key.hand_confidence[side] > VISIBLE
        wrist = key.hands[side, 0, :2] if shown else key.pose[topo.WRISTS[side], :2]
        away = float(np.linalg.norm(target.pose[topo.WRISTS[side], :2] - wrist))
        return away < SAME_ARM * self._body_scale

    def _bare(self, key: int, arms: tuple[bool, bool]) -> U8Image:
        """(S, S, 4): the key frame with these arms, left and right, replaced by what is behind them."""
        image = self._bank[key]
        if self._bare_torso is None or not any(arms):
            return image.rgba
        masks = [
            shown_arm(image.landmarks, side, self.size, self._body_scale)
            for side, remove in enumerate(arms)
            if remove
        ]
        mask = np.maximum.reduce(masks)
        if not mask.any():
            return image.rgba
        edge = max(3, BARE_EDGE * self.size // 256) | 1
        bared = image.rgba.copy()
        behind = trunk_pairs(self._solver, self._points[key], self._points[0]).flow()
        lay(bared, self._bare_torso, behind, np.asarray(cv2.blur(mask, (edge, edge)), np.uint8))
        return bared

    def _face_part(self, region: str, key: int, points: ControlPoints, target: Landmarks) -> Layer | None:
        """Mouth or eye of a key frame, within a soft ellipse."""
        box = face_box(region, target)
        inside = clipped(box, self.size) if box else None
        if inside is None:
            return None
        gaze = None
        if region == "mouth":
            solver = self._patch_solver(inside, PATCH_SOFTNESS)
        else:
            solver = FlowSolver(inside, eye_cell_px(inside, self.size), self.size, PATCH_SOFTNESS)
            gaze = Gaze.of(EYE_SIDES[region], target, self._bank[key].landmarks)
        pairs = body_pairs(solver, points, self._points[key])
        return Layer(region, self._bank[key].rgba, pairs, ellipse=box, gaze=gaze)

    def _arm(self, region: str, key: int, target: Landmarks) -> Layer | None:
        """Hand and forearm of a key frame, along their outline."""
        side, source = HAND_SIDES[region], self._bank[key].landmarks
        with_elbow = elbow_known(source, side) and elbow_known(target, side)
        there = arm_points(target, side, with_elbow, self._body_scale)
        box = arm_box(there, self._body_scale, self.size)
        inside = clipped(box, self.size) if box else None
        if inside is None:
            return None
        here = arm_points(source, side, with_elbow, self._body_scale)
        pairs = Pairs(self._patch_solver(inside, HAND_SOFTNESS), there, here, arm_weights())
        presence = hand_presence(float(target.hand_confidence[side]))
        mask = arm_mask(there, inside, self._body_scale, presence)
        return Layer(region, self._bank[key].rgba, pairs, mask=mask)

    def _patch_solver(self, box: Box, softness: float) -> FlowSolver:
        return FlowSolver(box, PATCH_CELL_PX * self.size // 256, self.size, softness)


def _far_hand_first(target: Landmarks) -> list[str]:
    """The hands' regions in the order in which guidance draws them too."""
    depth = target.hands[:, :, 2].mean(1) + target.pose[topo.WRISTS, 2]
    regions = list(HAND_SIDES)
    return [regions[index] for index in np.argsort(-depth)]
