"""The studio's camera, and where it sees a point. Knows numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.synthetic.presenter.mesh import Array

LENS_MM, SENSOR_MM, APERTURE = 50.0, 36.0, 5.6
PICTURE_DROP_M = 0.12  # the middle of the picture lies this far below the eyes
FACE_DEPTH_M = 0.12  # the focus lies on the eyes, so far before the middle of the head


@dataclass(frozen=True)
class Camera:
    """A camera that looks along -z at the person, in the person's axes (see mesh)."""

    distance_m: float  # from the middle of the head
    height_m: float  # of its axis

    @staticmethod
    def before(eye_height_m: float, distance_m: float) -> Camera:
        return Camera(distance_m, eye_height_m - PICTURE_DROP_M)

    def project(self, points: Array, side_px: int) -> Array:
        """points: (..., 3) metres -> (..., 2) px from the upper left corner of the square picture."""
        depth = self.distance_m - points[..., 2]
        focal_px = LENS_MM / SENSOR_MM * side_px
        across = points[..., 0] / depth * focal_px
        down = (self.height_m - points[..., 1]) / depth * focal_px
        return np.asarray(np.stack([across, down], axis=-1) + side_px / 2)
