"""The face mesh with irises, refined where it matters (Attention Mesh, arXiv:2006.10962).

One network finds 468 points. Lips and eyes are then looked at again, each through a window on that network's
own features, by a small network of its own; it moves the points that it is about.
"""

from __future__ import annotations

import math
from importlib.resources import files

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import FACE_POINTS
from engine.tracking.litert_model import LiteRtModel, sigmoid
from engine.tracking.region import Region, around_points, turn

_SIZE = 192  # px of the network's input
_FEATURES = 48  # px of its features
_WINDOW = 16  # px of a window on them
_MARGIN = 1.5  # window by box of its points
_CORNERS = {"lips": (61, 291), "right_eye": (33, 133), "left_eye": (362, 263)}  # of a level window
_IRIS = {"right_eye": slice(468, 473), "left_eye": slice(473, 478)}
_RIM = 16  # the first points about an eye are its lids, whose mean depth is the iris's


class FaceMesh:
    """Finds the points of a face in a region that holds one."""

    def __init__(self) -> None:
        self._mesh = LiteRtModel("face_mesh")
        self._refiners = {name: LiteRtModel(f"face_{name}") for name in _CORNERS}
        crops = files("engine").joinpath("assets/tracking/face_crops.npz")
        with crops.open("rb") as stream, np.load(stream) as table:
            self._about = {name: table[name].astype(np.intp) for name in self._refiners}

    def find(self, rgb: U8Image, region: Region) -> tuple[FloatArray, float]:
        """rgb: (H, W, 3) uint8 -> points (478, 3) px, and how likely they are those of a face, 0..1."""
        mesh, flag, features = self._mesh(region.cut_out(rgb, _SIZE))
        points = np.zeros((FACE_POINTS, 3), np.float32)
        points[:468] = mesh.reshape(468, 3)
        refined = {name: self._refined(name, points, features) for name in self._refiners}
        for name, (around, iris) in refined.items():
            points[self._about[name], :2] = around
            if iris is not None:
                points[_IRIS[name], :2] = iris
                points[_IRIS[name], 2] = points[self._about[name][:_RIM], 2].mean()
        return region.to_picture(points / np.float32(_SIZE)), float(sigmoid(flag).reshape(()))

    def _refined(
        self, name: str, points: FloatArray, features: FloatArray
    ) -> tuple[FloatArray, FloatArray | None]:
        """-> the points that the window is about (N, 2), and the iris (5, 2), px of the input."""
        left, right = _CORNERS[name]
        angle = turn(points[left], points[right], 0.0)
        middle, size = around_points(points[self._about[name], :2], angle)
        cos, sin = math.cos(angle), math.sin(angle)
        scale = size * _MARGIN / _SIZE * _FEATURES / _WINDOW
        axes = np.array([[cos * scale[0], -sin * scale[1]], [sin * scale[0], cos * scale[1]]], np.float32)
        corner = middle * (_FEATURES / _SIZE) - axes.sum(1) * (_WINDOW / 2)
        found = self._refiners[name](_window(features, axes, corner))
        # A px of the refiner is to one of its window as a px of the input is to one of the features.
        around, *iris = [part.reshape(-1, 2) @ axes.T + corner * (_SIZE / _FEATURES) for part in found]
        return around, iris[0] if iris else None


def _window(features: FloatArray, axes: FloatArray, corner: FloatArray) -> FloatArray:
    """features: (1, H, W, C) -> (1, 16, 16, C): read bilinearly at corner + axes * (x, y), 0 outside."""
    along = np.arange(_WINDOW, dtype=np.float32) + 0.5  # middles of pixels
    x, y = np.meshgrid(along, along)
    places = np.stack([x.ravel(), y.ravel()], -1) @ axes.T + corner - 0.5
    last = _FEATURES - 1
    inside = ((places >= 0) & (places <= last)).all(-1)
    low = np.clip(np.floor(places), 0, last - 1).astype(np.intp)
    right, down = (places - low).T[..., None]
    (column, row), grid = low.T, features[0]
    upper = (1 - right) * grid[row, column] + right * grid[row, column + 1]
    lower = (1 - right) * grid[row + 1, column] + right * grid[row + 1, column + 1]
    read = ((1 - down) * upper + down * lower) * inside[:, None]
    return np.asarray(read, np.float32).reshape(1, _WINDOW, _WINDOW, -1)
