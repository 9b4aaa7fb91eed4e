"""Guidance: landmarks drawn as the maps that the denoiser reads its structure from.

2D structure says where contours, lips, lids, irises, arms and fingers are and how open lips and lids are; 3D
structure is the face mesh coloured by its canonical coordinates. Maps have half the canvas size: what they
lack in pixels the anti-aliased, sub-pixel strokes keep. Knows nothing of networks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from engine.render import kernels

GUIDANCE_CHANNELS = 8  # contours, mouth, eyes, body | mesh x, mesh y, mesh z, hands
SHUT, SQUINT = 0.05, 0.12  # gap of the lids over the width of the eye; at rest it is about 0.2
_SHIFT = 4  # fractional bits of OpenCV's coordinates: strokes are placed to 1/16 px
_ONE = 1 << _SHIFT


def mesh_colours() -> NDArray[np.uint8]:
    """(898, 3) uint8: of each triangle of the face mesh, its middle's canonical place."""
    vertices, triangles = topo.canonical_face()
    low, high = vertices.min(0), vertices.max(0)
    return np.asarray(np.round(55 + 200 * (vertices[triangles].mean(1) - low) / (high - low)), np.uint8)


class GuidancePainter:
    """Draws guidance maps into one buffer that it owns and reuses."""

    def __init__(self, canvas_px: int) -> None:
        self.size = canvas_px // 2
        self._structure = np.zeros((self.size, self.size, 4), np.uint8)
        self._surface = np.zeros((self.size, self.size, 4), np.uint8)
        self._maps = np.zeros((self.size, self.size, GUIDANCE_CHANNELS), np.uint8)
        _, self._triangles = topo.canonical_face()
        colours = np.pad(mesh_colours(), ((0, 0), (0, 1)))
        self._colours = kernels.as_pixels(colours[None])[0]

    def draw(self, landmarks: Landmarks) -> NDArray[np.uint8]:
        """(size, size, 8) uint8, size = canvas / 2. The buffer is reused: copy what must outlive the next."""
        self._maps[..., :4], self._maps[..., 4:] = self.halves(landmarks)
        return self._maps

    def halves(self, landmarks: Landmarks, mesh: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The first four channels and the last four, (size, size, 4) uint8 each. Buffers are reused.

        mesh: whether it is drawn; else its first channel says where, 255, and where a hand is before it, 0.
        """
        self._structure[:] = 0
        kernels.as_pixels(self._surface)[:] = 0 if mesh else 255
        half = landmarks.face.copy()
        half *= 0.5
        if landmarks.face_confidence > 0:
            points = _fixed(half)
            if mesh:
                self._draw_mesh(half, points)
            self._draw_face(points)
        self._draw_arms(landmarks)
        self._draw_hands(landmarks)
        return self._structure, self._surface

    def _draw_mesh(self, half: NDArray[np.float32], points: NDArray[np.int32]) -> None:
        """The face mesh, far triangles first, those facing away left out. points: as `_fixed` has them."""
        x, y, z = half.T[:, self._triangles.T]  # (3, 898) each, a row for each corner
        facing = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]) < 0
        depth = (z[0] + z[1] + z[2]) / np.float32(3)
        order = np.flatnonzero(facing)
        order = order[np.argsort(-depth[order])]
        corners = points[self._triangles[order]]
        kernels.fill_triangles(kernels.as_pixels(self._surface), corners, self._colours[order])

    def _draw_face(self, points: NDArray[np.int32]) -> None:
        maps = self._structure
        contours = [points[topo.FACE_OVAL]]
        cv2.polylines(maps, contours, True, (255, 0, 0, 0), 1, cv2.LINE_AA, _SHIFT)
        lines = [points[rows] for rows in (*topo.BROWS, topo.NOSE_BRIDGE, topo.NOSE_BASE)]
        cv2.polylines(maps, lines, False, (255, 0, 0, 0), 1, cv2.LINE_AA, _SHIFT)
        # Lips: flesh at half strength, the opening dark inside a bright rim, so that "how open" is an area.
        cv2.fillPoly(maps, [points[topo.LIPS_OUTER]], (0, 110, 0, 0), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(maps, [points[topo.LIPS_INNER]], (0, 255, 0, 0), cv2.LINE_AA, _SHIFT)
        for eye, iris in zip(topo.EYES, topo.IRISES, strict=True):
            self._draw_eye(points[eye], points[iris])

    def _draw_eye(self, lids: NDArray[np.int32], iris: NDArray[np.int32]) -> None:
        """The opening between the lids, with the part of the iris that the lids leave visible."""
        low, high = (lids.min(0) // _ONE - 2).tolist(), (lids.max(0) // _ONE + 3).tolist()
        x0, y0 = (min(max(end, 0), self.size - 1) for end in low)
        x1, y1 = (min(max(end, 1), self.size) for end in high)
        opening = np.zeros((y1 - y0, x1 - x0), np.uint8)
        disc = np.zeros_like(opening)
        offset = np.array([x0, y0], np.int32) * _ONE
        cv2.fillPoly(opening, [lids - offset], 120, cv2.LINE_AA, _SHIFT)
        radius = _lengths(iris[1:] - iris[0]).sum() / (len(iris) - 1)
        cv2.circle(disc, (iris[0] - offset).tolist(), max(int(radius), 1), 135, -1, cv2.LINE_AA, _SHIFT)
        shown = opening * np.float32(135 / 120 * _openness(lids))
        visible = np.minimum(disc, shown.astype(np.uint8))
        patch = self._structure[y0:y1, x0:x1, 2]
        np.maximum(patch, opening + visible, out=patch)
        rim = np.ascontiguousarray(patch)
        cv2.polylines(rim, [lids - offset], True, 120, 1, cv2.LINE_AA, _SHIFT)
        np.maximum(patch, rim, out=patch)

    def _draw_arms(self, landmarks: Landmarks) -> None:
        pose, seen = _fixed(landmarks.pose * np.float32(0.5)), landmarks.pose_confidence
        bones = [(topo.SHOULDERS[0], topo.SHOULDERS[1])]
        for side in (0, 1):
            bones += [(topo.SHOULDERS[side], topo.ELBOWS[side]), (topo.ELBOWS[side], topo.WRISTS[side])]
        for start, end in bones:
            strength = min(seen[start], seen[end])
            if strength > VISIBLE:
                self._stroke(self._structure, pose[start], pose[end], (0, 0, 0, int(255 * strength)), 2)

    def _draw_hands(self, landmarks: Landmarks) -> None:
        """Bones of both hands, the farther hand first; every finger has its own brightness."""
        nearness = landmarks.hands[:, :, 2].mean(1) + landmarks.pose[topo.WRISTS, 2]
        for side in np.argsort(-nearness):
            confidence = float(landmarks.hand_confidence[side])
            if confidence < VISIBLE:
                continue
            points = _fixed(landmarks.hands[side] * np.float32(0.5))
            palm = (0, 0, 0, int(70 * confidence))
            cv2.fillPoly(self._surface, [points[topo.PALM]], palm, cv2.LINE_AA, _SHIFT)
            for start, end in topo.HAND_BONES:
                level = 130 + 25 * ((int(end) - 1) // 4)  # thumb to little finger
                self._stroke(self._surface, points[start], points[end], (0, 0, 0, int(level * confidence)), 1)

    def _stroke(
        self,
        maps: NDArray[np.uint8],
        start: NDArray[np.int32],
        end: NDArray[np.int32],
        value: tuple[int, int, int, int],
        width: int,
    ) -> None:
        a, b = (int(start[0]), int(start[1])), (int(end[0]), int(end[1]))
        cv2.line(maps, a, b, value, width, cv2.LINE_AA, _SHIFT)


def _openness(lids: NDArray[np.int32]) -> float:
    """0 for a shut eye, 1 from a squint on. A stroke is a pixel wide, so the area alone never says "shut".

    lids: (16, 2), from the outer corner along the lower lid to the inner corner and back along the upper one.
    """
    *gaps, width = _lengths(np.concatenate([lids[1:8] - lids[:8:-1], lids[8:9] - lids[:1]])).tolist()
    return float(min(max((sum(gaps) / len(gaps) / max(width, 1.0) - SHUT) / (SQUINT - SHUT), 0.0), 1.0))


def _lengths(vectors: NDArray[np.int32]) -> NDArray[np.float32]:
    """(N,) of (N, 2)."""
    wide = vectors.astype(np.float32)
    return np.asarray(np.sqrt((wide * wide).sum(1)), np.float32)


def _fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    """xy of points (..., 2 or 3) px in OpenCV's fixed point, (..., 2) int32; pixel centres are integers."""
    limited = np.clip(points[..., :2] - 0.5, -2000.0, 4000.0)
    return np.ascontiguousarray(np.round(limited * _ONE)).astype(np.int32)
