"""Pictures into planes and back; training and serving mean the same by both."""

from __future__ import annotations

import numpy as np

from engine.render.planes import to_picture, to_planes


def test_every_grey_level_comes_back() -> None:
    rgb = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    planes = to_planes(rgb)
    assert planes.shape == (3, 16, 16)
    assert planes.dtype == np.float32
    assert (planes.min(), planes.max()) == (-1.0, 1.0)
    assert np.array_equal(to_picture(planes), rgb)


def test_a_picture_is_rounded_not_cut_off_and_kept_in_range() -> None:
    level = 2 / 255
    planes = np.array([-1.5, -1 + 0.4 * level, -1 + 0.6 * level, 1.5], np.float32).reshape(1, 2, 2)
    assert to_picture(planes.repeat(3, axis=0))[..., 0].ravel().tolist() == [0, 0, 1, 255]


def test_what_a_network_cannot_say_is_black() -> None:
    """Weights from elsewhere may make it overflow: the cast of a NaN is undefined, and warns."""
    planes = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32).reshape(1, 2, 2)
    assert to_picture(planes.repeat(3, axis=0))[..., 0].ravel().tolist() == [0, 255, 0, 128]
    large = np.array([3e38, -3e38, 1e30, -1e30], np.float32).reshape(1, 2, 2)  # overflows once scaled
    assert to_picture(large.repeat(3, axis=0))[..., 0].ravel().tolist() == [255, 0, 255, 0]


def test_batches_and_a_buffer_of_the_callers() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    buffer = np.empty((2, 3, 8, 8), np.float32)
    assert to_planes(rgb, buffer) is buffer
    assert np.array_equal(buffer[1], to_planes(rgb[1]))
    assert np.array_equal(to_picture(buffer), rgb)
