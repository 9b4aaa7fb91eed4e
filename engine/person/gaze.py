"""Where the eyes look, told by the irises' places in the head."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.motion import Neutral

EYEBALL = 0.136  # head units, its radius: 12 mm where the outer corners are 88 mm apart
LIDS_FOLLOW = 3.0  # share of the lids' gap per head unit that the gaze sinks


def camera_axis(rotation: FloatArray) -> FloatArray:
    """(3,) unit: the way to the camera, in the axes of a head so turned. rotation: (3, 3).

    Weak perspective: the camera is far away, and the same for the whole picture.
    """
    return np.asarray(-rotation[2], np.float32)


def iris_shift(offsets: FloatArray) -> FloatArray:
    """(2,) head units, right and down: how far both irises are from their rest, against the eyes' corners.

    offsets: (478, 3) of the face from its neutral, head axes.
    """
    shifts = [
        offsets[iris[0], :2] - offsets[corners, :2].mean(0)
        for iris, corners in zip(topo.IRISES, topo.EYE_CORNERS, strict=True)
    ]
    return np.asarray(np.mean(shifts, axis=0), np.float32)


def facing_shift(rotation: FloatArray, at_rest: FloatArray) -> FloatArray:
    """(2,) head units: the shift of the irises with which a turned head goes on looking at the camera.

    rotation, at_rest: (3, 3), now and where the eyes at rest face the camera. An eyeball turns about its
    centre, so its iris moves by the radius times the change of the unit vector that it looks along.
    """
    return np.asarray(EYEBALL * (camera_axis(rotation) - camera_axis(at_rest))[:2], np.float32)


def beside_camera_deg(face: FloatArray, rotation: FloatArray, neutral: Neutral) -> float:
    """How far beside the camera a person looks. face: (478, 3) in head axes and units; rotation: (3, 3)."""
    beside = iris_shift(face - neutral.face) - facing_shift(rotation, neutral.rotation)
    return float(np.degrees(np.arcsin(np.clip(np.linalg.norm(beside) / EYEBALL, 0.0, 1.0))))
