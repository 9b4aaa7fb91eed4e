"""MediaPipe's face, body, hands and person matte, each as one small class that returns pixels.

Its networks, run by LiteRT; what MediaPipe does between them is written anew here, with its numbers: a
detector finds the part in the whole picture, a second network its points in a square about it, and the next
look takes the square about the points found last (BlazePose arXiv:2006.10204, MediaPipe Hands
arXiv:2006.10214).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import HAND_POINTS, POSE_POINTS
from engine.tracking.detector import Detection, Detector
from engine.tracking.face_mesh import FaceMesh
from engine.tracking.hand_sides import HandFound, PoseFound
from engine.tracking.litert_model import LiteRtModel, loading_quietly, sigmoid
from engine.tracking.region import Region, about, around_points, turn

_SURE = 0.5  # from here on a part counts as still there
_UP = math.pi / 2
_FACE_CORNERS = (33, 263)  # outer corners of the eyes


def _face_detector() -> Detector:
    return Detector("face_detector", 128, {8: 2, 16: 6}, signed=True)


class FacePart:
    """The face mesh with irises."""

    def __init__(self) -> None:
        with loading_quietly():
            self._detector = _face_detector()
            self._mesh = FaceMesh()
        self._region: Region | None = None

    def find(self, rgb: U8Image) -> list[FloatArray]:
        """rgb: (H, W, 3) uint8 -> at most one (478, 3) px."""
        region = self._region or self._first(rgb)
        self._region = None
        if region is None:
            return []
        points, score = self._mesh.find(rgb, region)
        if score <= _SURE:
            return []
        corners = points[_FACE_CORNERS, :2]
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        self._region = about((low + high) / 2, high - low, turn(corners[0], corners[1], 0.0), 1.5)
        return [points]

    def _first(self, rgb: U8Image) -> Region | None:
        for face in self._detector.find(rgb):
            right, left = face.points[:2]  # eyes
            return about(face.middle, face.size, turn(right, left, 0.0), 1.5)
        return None

    def reset(self) -> None:
        """Forget where the face was: the next frame is searched from scratch."""
        self._region = None


class FaceCounter:
    """Where faces are, without a mesh: to notice a second person."""

    def __init__(self) -> None:
        with loading_quietly():
            self._detector = _face_detector()

    def find(self, rgb: U8Image) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (N, 5): x, y, width, height in px, and the score 0..1."""
        found = [
            (*(face.middle - face.size / 2), *face.size, face.score) for face in self._detector.find(rgb)
        ]
        return np.array(found, np.float32).reshape(-1, 5)


class PosePart:
    """The body, 33 points."""

    _SIZE = 256  # px of the network's input

    def __init__(self) -> None:
        with loading_quietly():
            self._detector = Detector("pose_detector", 224, {8: 2, 16: 2, 32: 6}, signed=True)
            self._network = LiteRtModel("pose_landmarks")
        self._ends = _SteadyEnds()
        self._region: Region | None = None

    def find(self, rgb: U8Image) -> PoseFound | None:
        """rgb: (H, W, 3) uint8."""
        region = self._region or self._first(rgb)
        self._region = None
        if region is None:
            self._ends.reset()
            return None
        raw, flag, heat = self._network(region.cut_out(rgb, self._SIZE))
        if flag.reshape(()) <= _SURE:
            self._ends.reset()
            return None
        found = raw.reshape(-1, 5)[: POSE_POINTS + 2]
        square = found[:, :3] / np.float32(self._SIZE)
        square[:, :2] = _at_the_warmest(square[:, :2], heat[0])
        points = region.to_picture(square)
        self._region = _body_square(*self._ends(points[POSE_POINTS:, :2]))
        return PoseFound(points[:POSE_POINTS], sigmoid(found[:POSE_POINTS, 3]))

    def _first(self, rgb: U8Image) -> Region | None:
        for body in self._detector.find(rgb):
            return _body_square(*body.points[:2])
        return None

    def reset(self) -> None:
        """Forget where the body was: the next frame is searched from scratch."""
        self._region = None
        self._ends.reset()


class _SteadyEnds:
    """A One-Euro filter (see engine/tracking/one_euro.py) of the two points that make the body's square.

    Its speed is that of the points as found, not as filtered; it counts looks, not time: so MediaPipe does.
    """

    _LOOKS_HZ = 30.0
    _LEAST_HZ, _PER_SPEED = 0.01, 10.0  # cut-off at rest, and what a body size a second adds
    _SPEED_HZ = 1.0  # cut-off of the speed itself

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._found: FloatArray | None = None
        self._steady = self._speed = np.zeros((2, 2), np.float32)

    def __call__(self, ends: FloatArray) -> FloatArray:
        """ends: (2, 2) px, the middle of the hips and a point as far away as the body reaches -> steadied."""
        if self._found is None:
            self._steady, self._speed = ends, np.zeros_like(ends)
        else:
            size_px = max(2 * float(np.linalg.norm(ends[1] - ends[0])), 1e-6)
            speed = (ends - self._found) * (self._LOOKS_HZ / size_px)
            self._speed = self._speed + self._share(self._SPEED_HZ) * (speed - self._speed)
            cutoff_hz = np.float32(self._LEAST_HZ) + np.float32(self._PER_SPEED) * np.abs(self._speed)
            share = self._share(cutoff_hz)
            self._steady = np.asarray(self._steady + share * (ends - self._steady), np.float32)
        self._found = ends
        return self._steady

    def _share(self, cutoff_hz: FloatArray | float) -> FloatArray:
        """Of the way to a new sample that a first-order low-pass goes."""
        return np.asarray(1 / (1 + self._LOOKS_HZ / (2 * math.pi * np.asarray(cutoff_hz))), np.float32)


def _body_square(middle: FloatArray, end: FloatArray) -> Region:
    size_px = 2 * float(np.linalg.norm(end - middle))
    return Region(float(middle[0]), float(middle[1]), 1.25 * size_px, turn(middle, end, _UP))


def _at_the_warmest(points: FloatArray, heat: FloatArray) -> FloatArray:
    """points: (N, 2), 0..1; heat: (H, W, >= N) logits -> the points drawn to the heat about them.

    The mean of the places within 3 cells, weighted by their heat, where any of it is sure.
    """
    height, width = heat.shape[:2]
    drawn = points.copy()
    for index, (x, y) in enumerate(points):
        column, row = int(x * width), int(y * height)
        if not (0 <= column < width and 0 <= row < height):
            continue
        left, top = max(0, column - 3), max(0, row - 3)
        warm = sigmoid(heat[top : row + 4, left : column + 4, index])
        if warm.max() >= _SURE:
            total = warm.sum()
            drawn[index, 0] = (warm.sum(0) @ (np.arange(warm.shape[1]) + left)) / total / width
            drawn[index, 1] = (warm.sum(1) @ (np.arange(warm.shape[0]) + top)) / total / height
    return drawn


class HandsPart:
    """Up to two hands. `quick` takes the light models, for live use."""

    _SIZE = 224  # px of the network's input
    _DEPTH = 1 / 0.4  # its depth in widths of the square
    _HANDS = 2
    _PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # wrist, and each finger's two joints next to it
    _SAME = 0.5  # intersection over union from which on two squares are about one hand

    def __init__(self, quick: bool = False) -> None:
        name = "_quick" if quick else ""
        with loading_quietly():
            self._detector = Detector(f"palm_detector{name}", 192, {8: 2, 16: 6}, signed=False)
            self._network = LiteRtModel(f"hand_landmarks{name}")
        self._regions: list[Region] = []

    def find(self, rgb: U8Image) -> list[HandFound]:
        """rgb: (H, W, 3) uint8, not mirrored."""
        regions: list[Region] = []
        if len(self._regions) < self._HANDS:
            regions += [_palm_square(palm) for palm in self._detector.find(rgb)[: self._HANDS]]
        # Of two squares about one hand the later stays: one that was followed, rather than one found anew.
        distinct: list[Region] = []
        for region in regions + self._regions:
            distinct = [other for other in distinct if region.shares(other) <= self._SAME] + [region]
        self._regions = []
        return [hand for region in distinct if (hand := self._look(rgb, region)) is not None]

    def _look(self, rgb: U8Image, region: Region) -> HandFound | None:
        raw, flag, side = self._network(region.cut_out(rgb, self._SIZE))
        if flag.reshape(()) <= _SURE:
            return None
        square = raw.reshape(HAND_POINTS, 3) / np.float32(self._SIZE)
        square[:, 2] *= self._DEPTH
        points = region.to_picture(square)
        self._regions.append(self._about(points[:, :2]))
        # The network names hands as in a mirrored picture. Ours is not: its "right" is the person's left.
        left = 1.0 - min(max(float(side.reshape(())), 0.0), 1.0)
        return HandFound(points, max(left, 1.0 - left), left)

    def _about(self, points: FloatArray) -> Region:
        """points: (21, 2) px. The wrist down, the knuckles up."""
        knuckles = (points[5] + points[13]) / 4 + points[9] / 2
        angle = turn(points[0], knuckles, _UP)
        middle, size = around_points(points[self._PALM, :], angle)
        return about(middle, size, angle, 2.0, down=-0.1)

    def reset(self) -> None:
        """Forget where the hands were: the next frame is searched from scratch."""
        self._regions = []


def _palm_square(palm: Detection) -> Region:
    wrist, middle_finger = palm.points[0], palm.points[2]
    return about(palm.middle, palm.size, turn(wrist, middle_finger, _UP), 2.6, down=-0.5)


class PersonMatte:
    """Where the person is, per pixel (MediaPipe selfie segmentation, the general model)."""

    _SIZE = 256  # px of the network's input

    def __init__(self) -> None:
        with loading_quietly():
            self._network = LiteRtModel("person")

    def alpha(self, rgb: U8Image) -> FloatArray:
        """rgb: (H, W, 3) uint8 -> (H, W) float32, 0 background, 1 person."""
        height, width = rgb.shape[:2]
        shrink = np.array([[width / self._SIZE, 0, 0], [0, height / self._SIZE, 0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        small = cv2.warpAffine(rgb, shrink, (self._SIZE, self._SIZE), flags=flags)
        (mask,) = self._network(np.asarray(small[None], np.float32) / np.float32(255))
        return np.asarray(np.clip(cv2.resize(mask[0, :, :, 0], (width, height)), 0.0, 1.0), np.float32)
