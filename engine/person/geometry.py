"""Rigid alignment and rotations. Pure functions on arrays."""

from __future__ import annotations

import math

import numpy as np

from engine.arrays import FloatArray


def similarity_fit(source: FloatArray, target: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Least-squares similarity with target = scale * source @ rotation.T + shift (Umeyama, PAMI 1991).

    source, target: (N, 3) float32. Returns rotation (3, 3) float32, scale, shift (3,) float32.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    covariance = (target - target_mean).T @ centred
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))], np.float32)
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / max(float((centred**2).sum()), 1e-12))
    shift = target_mean - scale * rotation @ source_mean
    return rotation.astype(np.float32), scale, shift.astype(np.float32)


def rotation_to_euler_deg(rotation: FloatArray) -> FloatArray:
    """Yaw, pitch, roll in degrees, (3,) float32; axes are x right, y down, z away from the camera.

    Applied in the order roll, pitch, yaw. Positive yaw turns the nose towards image right, positive pitch
    down, positive roll tilts clockwise as seen in the image.
    """
    (r00, _, r02), (r10, _, r12), (r20, _, r22) = rotation.tolist()
    yaw = math.atan2(-r02, r22)  # of the way the nose points, which is minus the z axis
    pitch = math.asin(min(max(-r12, -1.0), 1.0))
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    # The x axis with yaw and pitch undone.
    roll = math.atan2(cp * r10 + sp * (cy * r20 - sy * r00), cy * r00 + sy * r20)
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


def euler_deg_to_rotation(angles: FloatArray) -> FloatArray:
    """Inverse of `rotation_to_euler_deg`. angles: (3,) yaw, pitch, roll in degrees. Gives (3, 3) float32."""
    yaw, pitch, roll = np.radians(np.asarray(angles, np.float64))
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(turn @ nod @ tilt, np.float32)
