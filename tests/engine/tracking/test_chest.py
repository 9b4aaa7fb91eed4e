"""The chest tracker on a puppet whose shirt moves by a known shift."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.tracking.chest import ChestTracker
from tests.support.puppet import Pose, Puppet

SIZE = 256
PUPPET = Puppet(SIZE)


def shown(pose: Pose, puppet: Puppet = PUPPET) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Picture and face points of a pose."""
    landmarks = puppet.landmarks(pose)
    return puppet.picture(landmarks)[0], landmarks.face


@pytest.fixture
def tracker() -> ChestTracker:
    tracker = ChestTracker()
    moved = tracker.update(*shown(Pose()))
    assert not moved.shift.any()
    assert moved.confidence == 1.0
    return tracker


@pytest.mark.parametrize("sway_px", [(0.0, 0.0), (1.5, 0.0), (-3.2, 1.1), (6.0, -2.0), (-8.0, 3.0)])
def test_a_known_shift_is_recovered(tracker: ChestTracker, sway_px: tuple[float, float]) -> None:
    sway = (sway_px[0] / PUPPET.unit_px, sway_px[1] / PUPPET.unit_px)
    moved = tracker.update(*shown(Pose(sway=sway)))
    assert moved.shift == pytest.approx(np.array(sway_px), abs=0.3)
    assert moved.confidence > 0.8


def test_the_head_does_not_count(tracker: ChestTracker) -> None:
    moved = tracker.update(*shown(Pose(x=0.25, yaw_deg=15, roll_deg=8, mouth=0.2)))
    assert np.abs(moved.shift).max() < 0.3
    assert moved.confidence > 0.8


def test_shifts_are_since_the_first_picture(tracker: ChestTracker) -> None:
    """Steps do not add up to a drift: back at the start the shift is zero again."""
    for sway in np.sin(np.linspace(0, 6 * np.pi, 40)):
        shift = tracker.update(*shown(Pose(sway=(0.15 * float(sway), 0.0)))).shift
    assert np.abs(shift).max() < 0.3


def test_a_lost_face_does_not_stop_the_chest(tracker: ChestTracker) -> None:
    picture, _ = shown(Pose(sway=(3.0 / PUPPET.unit_px, 0.0)))
    moved = tracker.update(picture, None)
    assert moved.shift == pytest.approx([3.0, 0.0], abs=0.3)
    assert moved.confidence > 0.8


def test_before_any_face_nothing_is_known() -> None:
    tracker = ChestTracker()
    picture, face = shown(Pose())
    moved = tracker.update(picture, None)
    assert not moved.shift.any()
    assert moved.confidence == 0.0
    assert tracker.update(picture, face).confidence == 1.0


def test_a_close_up_without_a_chest_has_no_say() -> None:
    close = Puppet(SIZE, unit=0.6)
    tracker = ChestTracker()
    for pose in (Pose(), Pose(x=0.1)):
        moved = tracker.update(*shown(pose, close))
        assert not moved.shift.any()
        assert moved.confidence == 0.0


def test_a_scrambled_picture_is_trusted_less(tracker: ChestTracker) -> None:
    clean = tracker.update(*shown(Pose(sway=(0.05, 0.0)))).confidence
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    confidence = tracker.update(noise, None).confidence
    assert confidence < clean - 0.1


def test_reset_takes_a_new_reference(tracker: ChestTracker) -> None:
    moved = shown(Pose(sway=(0.15, 0.0)))
    tracker.reset()
    assert not tracker.update(*moved).shift.any()
    shift = tracker.update(*shown(Pose())).shift
    assert shift == pytest.approx([-0.15 * PUPPET.unit_px, 0.0], abs=0.3)


def test_another_picture_size_takes_a_new_reference(tracker: ChestTracker) -> None:
    wide = Puppet(SIZE)
    picture, face = shown(Pose(sway=(0.1, 0.0)), wide)
    taller = np.vstack([picture, picture])
    moved = tracker.update(taller, face)
    assert not moved.shift.any()
    assert moved.confidence == 1.0


def test_shifts_are_in_px_of_the_picture_given() -> None:
    """The flow is computed on a small picture; what comes out is scaled back."""
    large = Puppet(2 * SIZE)
    tracker = ChestTracker()
    tracker.update(*shown(Pose(), large))
    shift = tracker.update(*shown(Pose(sway=(8.0 / large.unit_px, 0.0)), large)).shift
    assert shift == pytest.approx([8.0, 0.0], abs=0.6)


def bent(picture: np.ndarray, middle: np.ndarray, shape: np.ndarray, shift: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The picture with every point p px from the middle moved by shift + shape @ p."""
    matrix = np.eye(2) + shape
    offset = middle + shift - matrix @ middle
    moved = cv2.warpAffine(picture, np.column_stack([matrix, offset]), (SIZE, SIZE), borderMode=1)
    return np.asarray(moved, np.uint8)


@pytest.mark.parametrize(
    "shape", [((0.04, 0.0), (0.0, 0.04)), ((0.0, 0.0), (0.0, -0.08)), ((0.0, 0.04), (-0.04, 0.0))]
)
def test_a_known_bend_is_recovered(tracker: ChestTracker, shape: tuple[tuple[float, float], ...]) -> None:
    """Nearer, leaning, turned; held back a little; also with pixels of a hand that go elsewhere."""
    picture, face = shown(Pose())
    middle = tracker.update(picture, face).middle
    there = bent(picture, middle, np.array(shape), np.array([3.0, -1.0]))
    corner = (middle + np.array([10, -25])).astype(int)
    covered = there.copy()
    noise = np.random.default_rng(1).integers(0, 256, (18, 25, 3)).astype(np.uint8)
    covered[corner[1] : corner[1] + 18, corner[0] : corner[0] + 25] = noise
    for view in (there, covered):
        moved = tracker.update(view, face)
        assert moved.middle == pytest.approx(middle)
        assert moved.shift == pytest.approx([3.0, -1.0], abs=0.4)
        share = (moved.shape * shape).sum() / (np.array(shape) ** 2).sum()
        assert 0.4 < share < 1.0
        assert moved.shape == pytest.approx(share * np.array(shape), abs=0.012)
