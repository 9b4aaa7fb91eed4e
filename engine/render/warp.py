"""Warping a key frame onto a target pose by the correspondence of landmarks.

The flow is moving least squares with affine maps (Schaefer, McPhail, Warren, SIGGRAPH 2006), solved on a
coarse grid for all cells at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.landmarks import HAND_POINTS, VISIBLE, Landmarks

SOFTNESS = 0.015  # share of the canvas: nearer than this, a control point no longer gains weight
RIDGE = 1e-3  # pulls ill-posed affine maps towards a plain shift
_ORIGIN = np.float32(0.5)  # coordinates are shares of the canvas, from its middle
_FACE_ROWS = np.unique(
    np.concatenate(
        [
            topo.FACE_OVAL,
            topo.LIPS_OUTER,
            topo.LIPS_INNER,
            *topo.EYES,
            *topo.BROWS,
            *(iris[:1] for iris in topo.IRISES),
            topo.NOSE_BRIDGE,
            topo.NOSE_BASE,
            topo.CHEEKS,
        ]
    )
)
_HAIR_REACH = 0.55  # hair and skull: this much of the way from the face's centre past the oval
# The face has many more points than the chest; without these weights it drags the collar along.
_STIFF_CHEST = 64.0  # times the torso's weight where no limbs take part
_FACE_WEIGHT, _HAIR_WEIGHT, _TORSO_WEIGHT, _LIMB_WEIGHT, _HAND_WEIGHT = 0.05, 0.3, 4.0, 2.0, 0.1
LIMB_REACH = (
    0.10  # share of the canvas: a limb that moved further is not dragged along, it would tear the torso
)


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """Points that carry the warp; every frame has the same ones in the same order."""

    places: FloatArray  # (N, 2) px
    weights: FloatArray  # (N,) 0 where unknown


@cache
def _rows() -> dict[str, slice]:
    """Which points belong to which part."""
    hair = len(_FACE_ROWS)
    torso = hair + len(topo.FACE_OVAL_TOP)
    limbs = torso + 9
    return {
        "torso": slice(torso, limbs),
        "limbs": slice(limbs, None),
    }


def control_points(landmarks: Landmarks) -> ControlPoints:
    """The control points of one frame."""
    face = landmarks.face[:, :2]
    centre = face[topo.RIGID].mean(0)
    hair = face[topo.FACE_OVAL_TOP] + _HAIR_REACH * (face[topo.FACE_OVAL_TOP] - centre)
    shoulders = landmarks.pose[topo.SHOULDERS, :2]
    middle, across = shoulders.mean(0), shoulders[0] - shoulders[1]
    if landmarks.pose_confidence[topo.HIPS].min() > VISIBLE:
        down = landmarks.pose[topo.HIPS, :2].mean(0) - middle
    else:
        down = np.array([-across[1], across[0]], np.float32)
    torso = [
        middle + along * across + below * down for along in (-0.5, 0.0, 0.5) for below in (0.0, 0.4, 0.9)
    ]
    limb_rows = np.concatenate([topo.ELBOWS, topo.WRISTS])
    places = np.concatenate(
        [
            face[_FACE_ROWS],
            hair,
            torso,
            landmarks.pose[limb_rows, :2],
            landmarks.hands[..., :2].reshape(-1, 2),
        ]
    )
    face_seen = float(landmarks.face_confidence > 0)
    weights = np.concatenate(
        [
            np.full(len(_FACE_ROWS), _FACE_WEIGHT * face_seen),
            np.full(len(hair), _HAIR_WEIGHT * face_seen),
            np.full(len(torso), _TORSO_WEIGHT * (landmarks.pose_confidence[topo.SHOULDERS].min() > VISIBLE)),
            _LIMB_WEIGHT * (landmarks.pose_confidence[limb_rows] > VISIBLE),
            np.repeat(_HAND_WEIGHT * (landmarks.hand_confidence > VISIBLE), HAND_POINTS),
        ]
    )
    return ControlPoints(places.astype(np.float32), weights.astype(np.float32))


def body_flow(solver: FlowSolver, target: ControlPoints, source: ControlPoints) -> FloatArray:
    """Flow of the whole person. Limbs that moved far lose their say: they are other pictures' business."""
    weights = np.minimum(target.weights, source.weights)
    limbs = _rows()["limbs"]
    moved = np.linalg.norm(target.places[limbs] - source.places[limbs], axis=1) / (
        LIMB_REACH * solver.canvas_px
    )
    weights[limbs] *= np.exp(-moved * moved)
    return solver.solve(target.places, source.places, weights)


def trunk_flow(solver: FlowSolver, target: ControlPoints, source: ControlPoints) -> FloatArray:
    """Flow of head and trunk without the limbs: those are laid over it as patches of their own.

    Cloth is stiff next to a face: without a strong say of the chest the face drags collar and shoulders
    along, which costs 0.5 to 1 dB of the whole picture.
    """
    weights = np.minimum(target.weights, source.weights)
    weights[_rows()["limbs"]] = 0.0
    if weights.any():
        weights[_rows()["torso"]] *= _STIFF_CHEST
        return solver.solve(target.places, source.places, weights)
    return body_flow(solver, target, source)


class FlowSolver:
    """Solves flows on one fixed grid over a box of the canvas.

    How far each cell is from each target point is worked out once for a target array and kept for the next
    source, so arrays that were given as `target` must not be changed.
    """

    def __init__(
        self, box: tuple[int, int, int, int], cell_px: int, canvas_px: int, softness: float = SOFTNESS
    ) -> None:
        self._softness = np.float32(softness**2)
        self.x0, self.y0, self.x1, self.y1 = box
        self.canvas_px = canvas_px
        self.width, self.height = self.x1 - self.x0, self.y1 - self.y0
        columns, rows = max(2, self.width // cell_px), max(2, self.height // cell_px)
        # Cell centres laid so that a plain bilinear resize of the grid meets the pixel centres.
        xs = self.x0 + (np.arange(columns, dtype=np.float32) + 0.5) * self.width / columns
        ys = self.y0 + (np.arange(rows, dtype=np.float32) + 0.5) * self.height / rows
        self.shape = (rows, columns)
        nodes = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
        self._nodes = (nodes / canvas_px - _ORIGIN).astype(np.float32)
        self._pixels = np.stack(np.meshgrid(np.arange(self.x0, self.x1), np.arange(self.y0, self.y1)), -1)
        self._pixels = self._pixels.astype(np.float32)
        self._target: FloatArray | None = None
        self._nearness = self._powers = np.empty((0, 0), np.float32)

    def solve(self, target: FloatArray, source: FloatArray, weights: FloatArray) -> FloatArray:
        """Where each pixel of the box comes from, (height, width, 2) float32 px in pixel-index coordinates.

        target, source: (N, 2) px; weights: (N,) >= 0, some above 0. What is at `target` in the result is
        fetched from `source`.
        """
        if target is not self._target:
            self._approach(target)
        # The shift, not the place, keeps float32 exact.
        shift = (source - target) * np.float32(1.0 / self.canvas_px)
        by_x, by_y = self._powers[:, :3] * shift[:, :1], self._powers[:, :3] * shift[:, 1:]
        total = (np.concatenate([self._powers, by_x, by_y], 1) * weights[:, None]).T @ self._nearness
        moments = total[1:] / total[0]
        mx, my, mxx, mxy, myy, msx, mxsx, mysx, msy, mxsy, mysy = moments
        cxx, cxy, cyy = mxx - mx * mx + RIDGE, mxy - mx * my, myy - my * my + RIDGE
        determinant = cxx * cyy - cxy * cxy
        dx, dy = self._nodes[:, 0] - mx, self._nodes[:, 1] - my
        along_x, along_y = (cyy * dx - cxy * dy) / determinant, (cxx * dy - cxy * dx) / determinant
        grid = np.empty((len(dx), 2), np.float32)
        for axis, (mean, bx, by) in enumerate(((msx, mxsx, mysx), (msy, mxsy, mysy))):
            grid[:, axis] = mean + along_x * (bx - mx * mean) + along_y * (by - my * mean)
        grid = grid.reshape(*self.shape, 2) * self.canvas_px
        flow = cv2.resize(grid, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.add(flow, self._pixels), np.float32)

    def _approach(self, target: FloatArray) -> None:
        """Works out what every source shares: nearness (N, cells) and the powers of the points (N, 6)."""
        p = target * np.float32(1.0 / self.canvas_px) - _ORIGIN
        squares = (p * p).sum(1) + self._softness
        distance = squares[:, None] + (self._nodes * self._nodes).sum(1) - 2.0 * (p @ self._nodes.T)
        np.maximum(distance, self._softness, out=distance)
        np.multiply(distance, distance, out=distance)
        self._nearness = np.reciprocal(distance, out=distance)
        px, py = p.T
        self._powers = np.stack([np.ones_like(px), px, py, px * px, px * py, py * py], 1)
        self._target = target


def remap(
    image: NDArray[np.uint8] | FloatArray, flow: FloatArray, nearest: bool = False
) -> NDArray[np.uint8]:
    """image fetched at `flow` (h, w, 2) px; edges are repeated."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.remap(image, flow, None, how, borderMode=cv2.BORDER_REPLICATE))
