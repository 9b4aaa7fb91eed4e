"""Similarity fits and Euler angles: what was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.person.geometry import (
    euler_deg_to_rotation,
    rotation_to_euler_deg,
    similarity_fit,
)
from tests.support.puppet import rotation_distance_deg

angle = st.floats(-80.0, 80.0)


@given(angle, angle, angle, st.floats(0.01, 300.0), st.integers(0, 2**31))
def test_similarity_fit_finds_the_similarity(
    yaw: float, pitch: float, roll: float, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(20, 3)).astype(np.float32)
    shift = rng.uniform(-300, 300, 3).astype(np.float32)
    rotation = euler_deg_to_rotation(np.array([yaw, pitch, roll], np.float32))
    target = (scale * source @ rotation.T + shift).astype(np.float32)
    found, found_scale, found_shift = similarity_fit(source, target)
    unit = scale + float(np.abs(shift).max())  # float32 rounds relative to the largest coordinate
    assert rotation_distance_deg(found, rotation) < 0.01 * unit / scale
    assert found_scale == pytest.approx(scale, abs=1e-5 * unit)
    assert np.abs(found_shift - shift).max() < 1e-5 * unit
    assert np.abs(found_scale * source @ found.T + found_shift - target).max() < 1e-4 * unit


def test_similarity_fit_is_the_least_squares_one() -> None:
    """No nearby similarity fits noisy points better."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 3)).astype(np.float32)
    target = (2.0 * source + [5.0, -3.0, 1.0] + rng.normal(0, 0.2, (30, 3))).astype(np.float32)
    rotation, scale, shift = similarity_fit(source, target)

    def error(turn: tuple[float, float, float], factor: float) -> float:
        turned = euler_deg_to_rotation(np.array(turn, np.float32)) @ rotation
        return float(((factor * scale * source @ turned.T + shift - target) ** 2).sum())

    best = error((0, 0, 0), 1.0)
    for worse in (
        error((2, 0, 0), 1.0),
        error((0, -2, 0), 1.0),
        error((0, 0, 2), 1.0),
        error((0, 0, 0), 1.05),
    ):
        assert worse > best


def test_a_mirrored_cloud_is_not_mirrored_back() -> None:
    """The fit turns; it never reflects."""
    rng = np.random.default_rng(1)
    source = rng.normal(size=(20, 3)).astype(np.float32)
    rotation, _, _ = similarity_fit(source, source * np.array([-1, 1, 1], np.float32))
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((5, 3), np.float32),
        np.ones((1, 3), np.float32),
        np.linspace(0, 1, 6, dtype=np.float32)[:, None] * np.ones(3, np.float32),
    ],
    ids=["all in one place", "one point", "on a line"],
)
def test_degenerate_points_give_finite_numbers(source: np.ndarray) -> None:  # type: ignore[type-arg]
    target = (2.0 * source + 7.0).astype(np.float32)
    rotation, scale, shift = similarity_fit(source, target)
    assert np.isfinite(rotation).all()
    assert np.isfinite(scale)
    assert np.abs(scale * source @ rotation.T + shift - target).max() < 1e-3


@given(st.floats(-179.0, 179.0), st.floats(-85.0, 85.0), st.floats(-179.0, 179.0))
def test_euler_angles_round_trip(yaw: float, pitch: float, roll: float) -> None:
    angles = np.array([yaw, pitch, roll], np.float32)
    assert np.abs(rotation_to_euler_deg(euler_deg_to_rotation(angles)) - angles).max() < 0.05


@given(angle, angle, angle)
def test_rotations_are_rotations(yaw: float, pitch: float, roll: float) -> None:
    rotation = euler_deg_to_rotation(np.array([yaw, pitch, roll], np.float32))
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-5
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("angles", "point", "moves_to"),
    [
        ((30, 0, 0), (0, 0, -1), (0.5, 0, -0.866)),  # the nose turns towards image right
        ((0, 30, 0), (0, 0, -1), (0, 0.5, -0.866)),  # and down
        ((0, 0, 30), (0, -1, 0), (0.5, -0.866, 0)),  # the top of the head tilts clockwise
    ],
    ids=["yaw", "pitch", "roll"],
)
def test_signs_are_as_documented(
    angles: tuple[float, ...], point: tuple[float, ...], moves_to: tuple[float, ...]
) -> None:
    rotation = euler_deg_to_rotation(np.array(angles, np.float32))
    assert rotation @ np.array(point) == pytest.approx(np.array(moves_to), abs=1e-3)


@given(angle)
def test_rotation_distance_is_the_angle(degrees: float) -> None:
    turned = euler_deg_to_rotation(np.array([degrees, 0, 0], np.float32))
    assert rotation_distance_deg(turned, np.eye(3, dtype=np.float32)) == pytest.approx(abs(degrees), abs=0.05)
