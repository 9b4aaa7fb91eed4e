"""A made-up person whose landmarks are computed and whose pictures are drawn: known exactly, and quick.

For tests and measurements that want a person without a camera, a tracker or footage. Looks like nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.geometry import euler_deg_to_rotation
from engine.person.landmarks import FACE_POINTS, HAND_POINTS, LEFT, POSE_POINTS, RIGHT, Landmarks
from engine.person.motion import canonical_reference

LIP_GAP = 0.012  # head units, mouth shut
EYES_FROM_CENTRE = np.array(
    [0.0, 0.191, -0.083], np.float32
)  # head units, from the point the head turns about
IRIS_RADIUS = 0.055  # head units
SHOULDERS = np.array([[1.6, 2.5, 0.3], [-1.6, 2.5, 0.3]], np.float32)  # head units from the head's centre
UPPER_ARM, FOREARM, PALM = 1.9, 1.5, 0.7  # head units
_FINGER_ROOTS = np.radians([40.0, 15.0, 0.0, -15.0, -30.0])  # thumb to little finger, from the hand's axis
_LIPS_LOWER = np.unique(np.concatenate([topo.LIPS_LOWER_INNER, [181, 84, 17, 314, 405, 91, 321]]))
_JAW = np.array([152, 148, 176, 149, 377, 400, 378, 175, 199, 200, 18], np.intp)


@dataclass(frozen=True, slots=True)
class Pose:
    """What the puppet does; lengths in head units (the distance between the outer eye corners)."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    x: float = 0.0  # of the head from its place
    y: float = 0.0
    zoom: float = 1.0
    mouth: float = 0.0  # how far it is open
    lids: tuple[float, float] = (1.0, 1.0)  # left and right, 1 open, 0 shut
    gaze_x: float = 0.0
    sway: tuple[float, float] = (0.0, 0.0)  # of the chest from its place
    hands: tuple[tuple[float, float] | None, tuple[float, float] | None] = (
        None,
        None,
    )  # wrists from the head
    spread: float = 1.0  # of the fingers


class Puppet:
    """One person on a square canvas. shape_seed: 0 is the average face, others are other people's."""

    def __init__(self, size: int = 256, shape_seed: int = 0, unit: float = 0.17) -> None:
        """unit: head unit as a share of the canvas."""
        self.size = size
        self.unit_px = unit * size
        self.home_px = np.array([0.5 * size, 0.36 * size], np.float32)
        self.face = _rest_face(shape_seed)

    def landmarks(self, pose: Pose | None = None) -> Landmarks:
        """Exact landmarks of a pose, in canvas px."""
        pose = pose or Pose()
        scale = self.unit_px * pose.zoom
        rotation = euler_deg_to_rotation(np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg], np.float32))
        face = scale * self._expression(pose) @ rotation.T
        face[:, :2] += self.home_px + self.unit_px * np.array([pose.x, pose.y], np.float32)
        sway = np.array([*pose.sway, 0.0], np.float32)
        home = np.append(self.home_px, np.float32(0.0))
        body = np.zeros((POSE_POINTS, 3), np.float32)
        seen = np.zeros(POSE_POINTS, np.float32)
        shoulders = SHOULDERS + sway
        body[topo.SHOULDERS] = home + self.unit_px * shoulders
        seen[topo.SHOULDERS] = 1.0
        hands = np.zeros((2, HAND_POINTS, 3), np.float32)
        shown = np.zeros(2, np.float32)
        for side in (LEFT, RIGHT):
            wrist = pose.hands[side]
            if wrist is None:
                continue
            place = np.array([*wrist, -0.5], np.float32) + sway
            elbow = _elbow(shoulders[side], place)
            body[topo.ELBOWS[side]] = home + self.unit_px * elbow
            body[topo.WRISTS[side]] = home + self.unit_px * place
            seen[[topo.ELBOWS[side], topo.WRISTS[side]]] = 1.0
            hands[side] = self.unit_px * _hand(place[:2] - elbow[:2], pose.spread)
            hands[side, :, :2] += body[topo.WRISTS[side], :2]
            shown[side] = 1.0
        return Landmarks(
            width=self.size,
            height=self.size,
            face=face.astype(np.float32),
            face_confidence=1.0,
            pose=body,
            pose_confidence=seen,
            hands=hands,
            hand_confidence=shown,
            chest=self.unit_px * np.array(pose.sway, np.float32),
            chest_confidence=1.0,
        )

    def picture(self, landmarks: Landmarks) -> tuple[U8Image, U8Image]:
        """(S, S, 3) uint8 picture of the person before a wall, and matte (S, S) uint8, 255 is the person."""
        rgb = self.wall.copy()
        matte = np.zeros((self.size, self.size), np.uint8)
        self._draw_torso(rgb, matte, landmarks)
        self._draw_head(rgb, matte, landmarks)
        for side in (LEFT, RIGHT):
            if landmarks.hand_confidence[side] > 0:
                self._draw_hand(rgb, matte, landmarks, side)
        return rgb, matte

    def film(self, poses: Sequence[Pose]) -> tuple[U8Image, U8Image, list[Landmarks]]:
        """Pictures (N, S, S, 3), mattes (N, S, S) and landmarks of a sequence."""
        landmarks = [self.landmarks(pose) for pose in poses]
        pictures, mattes = zip(*(self.picture(frame) for frame in landmarks), strict=True)
        return np.stack(pictures), np.stack(mattes), landmarks

    @cached_property
    def wall(self) -> U8Image:
        """The background, (S, S, 3) uint8: soft blotches with vertical stripes, so that bending shows."""
        rng = np.random.default_rng(5)
        blotches = cv2.resize(
            rng.uniform(90, 170, (8, 8, 3)).astype(np.float32), (self.size, self.size), None, 0, 0, 2
        )
        stripes = 25.0 * (np.arange(self.size) // max(2, self.size // 16) % 2)
        return np.asarray(np.clip(blotches + stripes[:, None], 0, 255), np.uint8)

    @cached_property
    def _cloth(self) -> U8Image:
        rng = np.random.default_rng(6)
        side = self.size // 4
        coarse = rng.integers(30, 120, (side, side, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_CUBIC), np.uint8)

    @cached_property
    def _skin(self) -> list[list[float]]:
        """The colour of each triangle of the face."""
        _, triangles = topo.canonical_face()
        shade = 150 + 60 * np.sin(7.0 * self.face[triangles].mean(1) @ [1.0, 2.0, 0.5])
        return [[level, 0.75 * level, 0.65 * level] for level in shade.tolist()]

    def _expression(self, pose: Pose) -> FloatArray:
        face = self.face.copy()
        face[_LIPS_LOWER, 1] += np.float32(pose.mouth)
        face[_JAW, 1] += np.float32(0.8 * pose.mouth)
        for eye, openness in enumerate(pose.lids):
            upper, lower = topo.LID_UPPER[eye], topo.LID_LOWER[eye]
            gap = face[lower, 1] - face[upper, 1]
            face[upper, 1] += np.float32(1.0 - openness) * gap
        for rows in topo.IRISES:
            face[rows, 0] += np.float32(pose.gaze_x)
        return face

    def _draw_torso(self, rgb: U8Image, matte: U8Image, landmarks: Landmarks) -> None:
        left, right = landmarks.pose[topo.SHOULDERS, :2]
        neck = (left + right) / 2 - [0.0, 0.9 * self.unit_px]
        width = np.array([0.4 * self.unit_px, 0.0])
        bottom = np.array([0.0, 2.0 * self.size])
        corners = [left + bottom, left, neck + width, neck - width, right, right + bottom]
        mask = np.zeros_like(matte)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 255, cv2.LINE_AA)
        middle = (left + right) / 2 - self.home_px - self.unit_px * SHOULDERS[:, :2].mean(0)
        move = np.array([[1, 0, middle[0]], [0, 1, middle[1]]], np.float32)
        cloth = cv2.warpAffine(self._cloth, move, (self.size, self.size), borderMode=cv2.BORDER_REFLECT)
        share = mask[..., None] / np.float32(255)
        rgb[:] = (rgb + (cloth - rgb.astype(np.float32)) * share).astype(np.uint8)
        np.maximum(matte, mask, out=matte)

    def _draw_head(self, rgb: U8Image, matte: U8Image, landmarks: Landmarks) -> None:
        points = landmarks.face
        _, triangles = topo.canonical_face()
        corners = points[triangles]
        a, b = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
        front = np.flatnonzero(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0)
        skull = cv2.convexHull(np.round(points[:468, :2]).astype(np.int32))
        for image, value in ((rgb, (90, 60, 50)), (matte, (255,))):
            cv2.fillConvexPoly(image, skull, value, cv2.LINE_AA)
        polygons = np.round(corners[..., :2] * 16).astype(np.int32)
        for index in front[np.argsort(-corners[front, :, 2].mean(1))].tolist():
            cv2.fillConvexPoly(rgb, polygons[index], self._skin[index], cv2.LINE_8, 4)
        _fill(rgb, points[topo.LIPS_OUTER], (150, 60, 60))
        _fill(rgb, points[topo.LIPS_INNER], (30, 10, 10))
        for lids, iris in zip(topo.EYES, topo.IRISES, strict=True):
            opening = np.zeros_like(matte)
            _fill(opening, points[lids], (255,))
            eye = np.full_like(rgb, 235)
            radius = float(np.linalg.norm(points[iris[1], :2] - points[iris[0], :2]))
            centre = (int(points[iris[0], 0] * 16), int(points[iris[0], 1] * 16))
            cv2.circle(eye, centre, max(int(radius * 16), 1), (40, 70, 110), -1, cv2.LINE_AA, 4)
            np.copyto(rgb, eye, where=opening[..., None] > 127)

    def _draw_hand(self, rgb: U8Image, matte: U8Image, landmarks: Landmarks, side: int) -> None:
        points = landmarks.hands[side, :, :2]
        arm = landmarks.pose[[topo.ELBOWS[side], topo.WRISTS[side]], :2]
        width = max(2, round(0.13 * self.unit_px))
        for image, skin, sleeve in ((rgb, (200, 150, 130), (60, 70, 90)), (matte, (255,), (255,))):
            start, end = (tuple(int(v) for v in point) for point in arm)
            cv2.line(image, start, end, sleeve, 4 * width, cv2.LINE_AA)
            _fill(image, points[topo.PALM], skin)
            for bone_start, bone_end in topo.HAND_BONES:
                ends = np.round(points[[bone_start, bone_end]]).astype(int).tolist()
                cv2.line(image, tuple(ends[0]), tuple(ends[1]), skin, width, cv2.LINE_AA)


def lively(frames: int, seed: int = 0, hands: bool = False) -> list[Pose]:
    """A smooth performance: the head looks about, the mouth talks, the eyes blink, a hand comes up."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 6)
    poses = []
    for index in range(frames):
        t = index / 25.0
        raised = hands and np.sin(0.9 * t + phase[5]) > 0
        wrist = (-1.5 + 0.2 * np.sin(2 * t), 2.2 + 0.3 * np.cos(1.7 * t))
        lids = 0.0 if index % 40 in (18, 19, 20) else 1.0
        poses.append(
            Pose(
                yaw_deg=14.0 * np.sin(1.1 * t + phase[0]),
                pitch_deg=6.0 * np.sin(0.8 * t + phase[1]),
                roll_deg=4.0 * np.sin(0.6 * t + phase[2]),
                x=0.15 * np.sin(0.7 * t + phase[3]),
                mouth=max(0.0, 0.18 * np.sin(5.0 * t + phase[4])),
                lids=(lids, lids),
                sway=(0.1 * np.sin(0.7 * t + phase[3]), 0.0),
                hands=(None, wrist if raised else None),
            )
        )
    return poses


def _rest_face(seed: int) -> FloatArray:
    """(478, 3) head units, mouth shut, eyes open; the canonical face, or that of another made-up person."""
    reference = canonical_reference()
    if seed:
        rng = np.random.default_rng(seed)
        stretch = rng.uniform(0.92, 1.08, 3).astype(np.float32)
        bend = rng.normal(0.0, 0.02, (3, 3)).astype(np.float32)
        reference = reference * stretch + np.sin(3.0 * reference) @ bend
        left, right = topo.EYE_CORNERS[0][1], topo.EYE_CORNERS[1][1]
        reference = reference / np.linalg.norm(reference[left] - reference[right])
    face = np.zeros((FACE_POINTS, 3), np.float32)
    face[:468] = reference
    change = face[topo.LIPS_UPPER_INNER, 1] + LIP_GAP - face[topo.LIPS_LOWER_INNER, 1]
    face[topo.LIPS_LOWER_INNER, 1] += change
    for eye, (lids, iris) in enumerate(zip(topo.EYES, topo.IRISES, strict=True)):
        face[topo.LID_UPPER[eye], 1] -= 0.05  # the canonical eyes are half shut
        centre = face[lids].mean(0)
        rim = IRIS_RADIUS * np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]], np.float32)
        face[iris] = centre + rim
    outer = face[[topo.EYE_CORNERS[0][1], topo.EYE_CORNERS[1][1]]].mean(0)
    return np.asarray(face - outer + EYES_FROM_CENTRE, np.float32)


def _elbow(shoulder: FloatArray, wrist: FloatArray) -> FloatArray:
    """Where two bones of fixed length meet, (3,), bent outwards and down."""
    gap = wrist - shoulder
    reach = float(np.clip(np.linalg.norm(gap), 0.1, 0.99 * (UPPER_ARM + FOREARM)))
    along = (UPPER_ARM**2 - FOREARM**2 + reach**2) / (2 * reach)
    bend = np.sqrt(max(UPPER_ARM**2 - along**2, 0.0))
    direction = gap / max(float(np.linalg.norm(gap)), 1e-6)
    down = np.array([np.sign(shoulder[0]) * 0.3, 1.0, 0.0], np.float32)
    down -= down @ direction * direction
    return np.asarray(shoulder + along * direction + bend * down / np.linalg.norm(down), np.float32)


def _hand(forearm: FloatArray, spread: float) -> FloatArray:
    """(21, 3) head units from the wrist; the fingers go on in the forearm's direction."""
    heading = float(np.arctan2(forearm[1], forearm[0]))
    points = np.zeros((HAND_POINTS, 3), np.float32)
    for finger, angle in enumerate(_FINGER_ROOTS):
        ray = np.array([np.cos(heading + angle * spread), np.sin(heading + angle * spread)], np.float32)
        for joint in range(4):
            points[1 + 4 * finger + joint, :2] = (
                ray * PALM * (1.0 + 0.3 * joint) * (0.7 if finger == 0 else 1)
            )
            points[1 + 4 * finger + joint, 2] = -0.05 * joint
    return points


def _fill(image: U8Image, points: FloatArray, value: tuple[int, ...]) -> None:
    cv2.fillPoly(image, [np.round(points[:, :2] * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


def rotation_distance_deg(a: FloatArray, b: FloatArray) -> float:
    """Angle in degrees of the rotation between two (3, 3) rotations."""
    vector, _ = cv2.Rodrigues((a @ b.T).astype(np.float64))
    return float(np.degrees(np.linalg.norm(vector)))
