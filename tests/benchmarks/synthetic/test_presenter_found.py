"""Where the studio's camera sees a point, and whether a tracker found the hands that the generator placed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.records.tables import TABLES
from benchmarks.synthetic.presenter.camera import LENS_MM, SENSOR_MM, Camera
from benchmarks.synthetic.presenter.found import JOINT_POINTS, compare
from benchmarks.synthetic.presenter.mesh import Array
from engine.person.landmarks import LEFT, RIGHT, Landmarks

SIDE_PX = 256


def test_the_camera_sees_the_person_the_right_way_round() -> None:
    """On the axis is the middle; the person's left is on the right, up is up; nearer things look larger."""
    camera = Camera(distance_m=1.0, height_m=0.6)
    middle = camera.project(np.array([0.0, 0.6, 0.1]), SIDE_PX)
    np.testing.assert_allclose(middle, [128, 128])
    left, up = camera.project(np.array([[0.1, 0.6, 0.0], [0.0, 0.7, 0.0]]), SIDE_PX) - 128
    scale = 0.1 * LENS_MM / SENSOR_MM * SIDE_PX
    np.testing.assert_allclose(left, [scale, 0], atol=1e-9)
    np.testing.assert_allclose(up, [0, -scale], atol=1e-9)
    near = camera.project(np.array([0.1, 0.6, 0.5]), SIDE_PX) - 128
    np.testing.assert_allclose(near, 2 * left)


def joints(*shifts: float) -> Array:
    """(2, 16, 2) px: two hands of 60 px, each moved to the right."""
    hand = np.stack([np.linspace(0, 10, 16), np.linspace(0, -60, 16)], axis=-1)
    hand[9] = (0, -60)
    return np.stack([hand + np.array([60 + 80 * side + shift, 160]) for side, shift in enumerate(shifts)])


def seen(truth: Array, off_px: float, confidence: tuple[float, float]) -> Landmarks:
    found = Landmarks(SIDE_PX, SIDE_PX)
    hands = found.hands.copy()
    hands[:, list(JOINT_POINTS), :2] = truth + np.array([off_px, 0.0])
    return replace(found, hands=hands, hand_confidence=np.array(confidence, np.float32), face_confidence=1.0)


def test_hands_count_where_they_are_wholly_visible_and_found_in_place() -> None:
    inside, outside = joints(0, 0), joints(-65, 0)  # of the second the left hand leaves the picture
    figures = compare(
        [inside, inside, inside, outside],
        [
            seen(inside, 3, (1, 1)),
            seen(inside, 40, (1, 0)),  # one hand elsewhere, one not seen
            Landmarks(SIDE_PX, SIDE_PX),
            seen(outside, 3, (0, 1)),
        ],
        SIDE_PX,
    )
    assert figures["hands_visible"] == 7
    assert figures["hands"] == pytest.approx(3 / 7)
    assert figures["hand_joints_px"]["p50"] == pytest.approx(3)
    assert figures["face"] == pytest.approx(3 / 4)


def test_left_and_right_may_not_be_changed_over() -> None:
    truth = joints(0, 0)
    swapped = seen(truth[[RIGHT, LEFT]], 0, (1, 1))
    assert compare([truth], [swapped], SIDE_PX)["hands"] == 0


def test_a_clip_without_hands_is_told_too() -> None:
    outside = joints(-300, -300)
    figures = compare([outside], [replace(Landmarks(SIDE_PX, SIDE_PX), face_confidence=1.0)], SIDE_PX)
    row = TABLES["found"].draw({"clips": {"theo, driver": figures}}).splitlines()[2]
    assert row == "| theo, driver | 1 | 100 % | 0 % | - of 0 | - |"
