"""Warping a key frame onto a target pose by the correspondence of landmarks.

The flow is moving least squares with affine maps (Schaefer, McPhail, Warren, SIGGRAPH 2006), solved on a
coarse grid for all cells at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.landmarks import HAND_POINTS, VISIBLE, Landmarks
from engine.render import kernels

SOFTNESS = 0.015  # share of the canvas: nearer than this, a control point no longer gains weight
RIDGE = 1e-3  # pulls ill-posed affine maps towards a plain shift
_RIDGE = np.float32(RIDGE)
_CONVERSIONS = {  # to four channels and back, by how many there are
    1: (cv2.COLOR_GRAY2RGBA, cv2.COLOR_RGBA2GRAY),
    3: (cv2.COLOR_RGB2RGBA, cv2.COLOR_RGBA2RGB),
    4: (None, None),
}
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
_ALONG = np.repeat(np.array([-0.5, 0.0, 0.5], np.float32), 3)[:, None]  # points of the torso: across it,
_BELOW = np.tile(np.array([0.0, 0.4, 0.9], np.float32), 3)[:, None]  # and down it
_LIMB_ROWS = np.concatenate([topo.ELBOWS, topo.WRISTS])
_WEIGHTS = np.repeat(
    np.array([_FACE_WEIGHT, _HAIR_WEIGHT, _TORSO_WEIGHT, _LIMB_WEIGHT, _HAND_WEIGHT], np.float32),
    [len(_FACE_ROWS), len(topo.FACE_OVAL_TOP), len(_ALONG), len(_LIMB_ROWS), 2 * HAND_POINTS],
)  # where all is seen
CONTROL_POINTS = len(_WEIGHTS)
LIMB_REACH = (
    0.10  # share of the canvas: a limb that moved further is not dragged along, it would tear the torso
)


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """Points that carry the warp; every frame has the same ones in the same order."""

    places: FloatArray  # (N, 2) px
    weights: FloatArray  # (N,) 0 where unknown


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Where each pixel of a box of the canvas comes from, as shifts on a coarse grid, bilinear in between."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1 px
    grid: FloatArray  # (2, rows, columns) px, along x and along y

    def shift_at(self, place: FloatArray) -> FloatArray:
        """(2,) px: the shift at a place (2,) px, of the box's edge where it lies outside."""
        x0, y0, x1, y1 = self.box
        _, rows, columns = self.grid.shape
        x = min(max((float(place[0]) - x0) * columns / (x1 - x0) - 0.5, 0.0), columns - 1.0)
        y = min(max((float(place[1]) - y0) * rows / (y1 - y0) - 0.5, 0.0), rows - 1.0)
        left, top = int(min(x, columns - 2)), int(min(y, rows - 2))
        square = self.grid[:, top : top + 2, left : left + 2]
        across = np.array([1 - (x - left), x - left], np.float32)
        down = np.array([1 - (y - top), y - top], np.float32)
        return np.asarray(square @ across @ down, np.float32)

    def places(self) -> FloatArray:
        """(height, width, 2) float32 px in pixel-index coordinates: each pixel's place in the source."""
        x0, y0, x1, y1 = self.box
        shifts = cv2.resize(np.moveaxis(self.grid, 0, -1), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        pixels = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1)
        return np.asarray(shifts + pixels, np.float32)


def cell_middles(box: tuple[int, int, int, int], rows: int, columns: int) -> tuple[FloatArray, FloatArray]:
    """(columns,) and (rows,) float32 px: along x and along y, the middles of a grid's cells over the box.

    So a plain bilinear resize of the grid meets the pixel centres.
    """
    x0, y0, x1, y1 = box
    xs = x0 + (np.arange(columns, dtype=np.float32) + 0.5) * (x1 - x0) / columns
    ys = y0 + (np.arange(rows, dtype=np.float32) + 0.5) * (y1 - y0) / rows
    return xs, ys


@cache
def _rows() -> dict[str, slice]:
    """Which points belong to which part."""
    hair = len(_FACE_ROWS)
    torso = hair + len(topo.FACE_OVAL_TOP)
    limbs = torso + len(_ALONG)
    return {
        "face": slice(torso),
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
    torso = middle + _ALONG * across + _BELOW * down
    places = np.concatenate(
        [
            face[_FACE_ROWS],
            hair,
            torso,
            landmarks.pose[_LIMB_ROWS, :2],
            landmarks.hands[..., :2].reshape(-1, 2),
        ]
    )
    weights = _WEIGHTS.copy()
    parts = _rows()
    if not landmarks.face_confidence > 0:
        weights[parts["face"]] = 0.0
    if not landmarks.pose_confidence[topo.SHOULDERS].min() > VISIBLE:
        weights[parts["torso"]] = 0.0
    seen = np.concatenate(
        [landmarks.pose_confidence[_LIMB_ROWS], landmarks.hand_confidence.repeat(HAND_POINTS)]
    )
    weights[parts["limbs"]] *= seen > VISIBLE
    return ControlPoints(places.astype(np.float32), weights)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """What a flow is solved from, which may happen elsewhere: where points are, and where they come from."""

    solver: FlowSolver
    target: FloatArray  # (N, 2) px
    source: FloatArray  # (N, 2) px
    weights: FloatArray  # (N,) >= 0; of 0: the point means nothing

    def flow(self) -> Flow:
        """Solved here."""
        return self.solver.solve(self.target, self.source, self.weights)


def body_pairs(solver: FlowSolver, target: ControlPoints, source: ControlPoints) -> Pairs:
    """Of the whole person. Limbs that moved far lose their say: they are other pictures' business."""
    weights = np.minimum(target.weights, source.weights)
    limbs = _rows()["limbs"]
    moved = np.linalg.norm(target.places[limbs] - source.places[limbs], axis=1) / (
        LIMB_REACH * solver.canvas_px
    )
    weights[limbs] *= np.exp(-moved * moved)
    return Pairs(solver, target.places, source.places, weights)


def trunk_pairs(solver: FlowSolver, target: ControlPoints, source: ControlPoints) -> Pairs:
    """Of head and trunk without the limbs: those are laid over it as patches of their own.

    Cloth is stiff next to a face: without a strong say of the chest the face drags collar and shoulders
    along, which costs 0.5 to 1 dB of the whole picture.
    """
    weights = np.minimum(target.weights, source.weights)
    weights[_rows()["limbs"]] = 0.0
    if weights.any():
        weights[_rows()["torso"]] *= _STIFF_CHEST
        return Pairs(solver, target.places, source.places, weights)
    return body_pairs(solver, target, source)


class FlowSolver:
    """Solves flows on one fixed grid over a box of the canvas."""

    def __init__(
        self, box: tuple[int, int, int, int], cell_px: int, canvas_px: int, softness: float = SOFTNESS
    ) -> None:
        self._softness = np.float32(softness**2)
        self.box = x0, y0, x1, y1 = box
        self.canvas_px = canvas_px
        self.columns, self.rows = max(2, (x1 - x0) // cell_px), max(2, (y1 - y0) // cell_px)
        self._nodes: FloatArray | None = None  # until there is something to solve

    def _cells(self) -> FloatArray:
        """(2, rows * columns): the middles of the cells, in shares of the canvas."""
        if self._nodes is None:
            xs, ys = cell_middles(self.box, self.rows, self.columns)
            nodes = np.empty((2, self.rows, self.columns), np.float32)
            nodes[0], nodes[1] = xs, ys[:, None]
            nodes /= np.float32(self.canvas_px)
            self._nodes = nodes.reshape(2, -1)
        return self._nodes

    def solve(self, target: FloatArray, source: FloatArray, weights: FloatArray) -> Flow:
        """The flow by which what is at `target` in the result is fetched from `source`.

        target, source: (N, 2) float32 px; weights: (N,) float32, >= 0.
        """
        share = np.float32(1.0 / self.canvas_px)
        places, shift = (np.ascontiguousarray(points.T * share) for points in (target, source - target))
        cells = self._cells()
        grid = np.empty(cells.shape, np.float32)
        kernels.moving_least_squares(places, shift, weights, cells, self._softness, _RIDGE, grid)
        grid *= np.float32(self.canvas_px)
        return Flow(self.box, grid.reshape(2, self.rows, self.columns))


def lay(layers: U8Image, source: U8Image, flow: Flow, mask: U8Image, top_fade_px: float = 0.0) -> None:
    """Lays `source`, fetched where the flow says, over `layers`, as far as the mask of the flow's box says.

    layers, source: (H, W, 4) uint8, contiguous; mask: (h, w) uint8, 255 is all. Edges are repeated, but past
    the upper one the fourth channel fades over top_fade_px, where that is above 0. Pixels are mixed from the
    4 x 4 around them once, see `engine.render.kernels`: a fetch is where a picture loses its sharpness.
    """
    x0, y0, _, _ = flow.box
    pixels = kernels.as_pixels(layers), kernels.as_pixels(source)
    kernels.lay(*pixels, flow.grid, x0, y0, np.ascontiguousarray(mask), np.float32(top_fade_px))


def remap(image: U8Image, flow: Flow) -> U8Image:
    """The flow's box of `image`, (h, w, C) of (H, W, C), or (h, w) of (H, W), uint8, as `lay` fetches it."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    to, back = _CONVERSIONS[channels]
    source = image if to is None else np.asarray(cv2.cvtColor(image, to), np.uint8)
    x0, y0, x1, y1 = flow.box
    fetched = np.empty((y1 - y0, x1 - x0, 4), np.uint8)
    at_origin = Flow((0, 0, x1 - x0, y1 - y0), flow.grid + np.array([x0, y0], np.float32)[:, None, None])
    lay(fetched, source, at_origin, np.full(fetched.shape[:2], 255, np.uint8))
    return fetched if back is None else np.asarray(cv2.cvtColor(fetched, back), np.uint8)
