"""Eyes that look at the camera: where the irises and lids go, and when they are let go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.expression.eye_contact import LIMIT_DEG, EyeContact
from engine.person import topology as topo
from engine.person.gaze import EYEBALL, beside_camera_deg, iris_shift
from engine.person.geometry import euler_deg_to_rotation
from engine.person.motion import Motion, Neutral, in_head_axes
from engine.person.retarget import Retargeter
from tests.support.puppet_stage import FRAME_NS
from tests.support.rest import resting


@pytest.fixture
def retargeter(puppet_avatar: Avatar) -> Retargeter:
    """Of an avatar whose footage shows heads turned far."""
    wide = replace(
        puppet_avatar.support,
        low=np.array([-40, -40, -40, -1, -1, 0.5], np.float32),
        high=np.array([40, 40, 40, 1, 1, 2], np.float32),
    )
    return Retargeter(puppet_avatar.neutral, wide, puppet_avatar.torso, puppet_avatar.size)


def looking(
    neutral: Neutral, beside_deg: tuple[float, float] = (0.0, 0.0), turn_deg: tuple[float, float] = (0.0, 0.0)
) -> Motion:
    """A head turned by yaw and pitch whose eyes, in the head, are turned right and down by `beside_deg`."""
    motion = resting(neutral)
    expression = motion.expression.copy()
    for iris in topo.IRISES:
        expression[iris, :2] += EYEBALL * np.sin(np.radians(beside_deg))
    turn = euler_deg_to_rotation(np.array([*turn_deg, 0.0], np.float32))
    return replace(motion, expression=expression, rotation=turn @ neutral.rotation)


def shown_beside_deg(motion: Motion, retargeter: Retargeter) -> float:
    """Measured on the avatar's landmarks as a tracker would find them in its picture."""
    face, rotation, *_ = in_head_axes(retargeter.target(motion).face, retargeter.avatar.face)
    return beside_camera_deg(face, rotation, retargeter.avatar)


@pytest.mark.parametrize("turn", [(0.0, 0.0), (12.0, 0.0), (-9.0, 8.0), (0.0, -14.0)])
@pytest.mark.parametrize("beside", [(0.0, 0.0), (6.0, 5.0), (-4.0, 7.0)])
def test_the_eyes_meet_the_camera(
    retargeter: Retargeter, turn: tuple[float, float], beside: tuple[float, float]
) -> None:
    """The screen is off by `beside`; the driver's eyes hold it while the head turns."""
    held = (beside[0] - turn[0], beside[1] - turn[1])
    driven = looking(retargeter.driver, held, turn)
    shown = EyeContact().adjusted(driven, retargeter, 0)
    assert shown_beside_deg(driven, retargeter) == pytest.approx(np.hypot(*beside), abs=1.6)
    assert shown_beside_deg(shown, retargeter) < 1.0


def test_eyes_that_look_far_away_are_turned_by_the_limit_alone(retargeter: Retargeter) -> None:
    shown = EyeContact().adjusted(looking(retargeter.driver, (20.0, 0.0)), retargeter, 0)
    assert shown_beside_deg(shown, retargeter) == pytest.approx(20.0 - LIMIT_DEG, abs=1.0)


@pytest.mark.parametrize(("yaw", "share"), [(10.0, 1.0), (20.0, 0.5), (30.0, 0.0)])
def test_it_lets_go_as_the_head_turns_away(retargeter: Retargeter, yaw: float, share: float) -> None:
    driven = looking(retargeter.driver, turn_deg=(yaw, 0.0))
    shown = EyeContact().adjusted(driven, retargeter, 0)
    wanted = min(np.sin(np.radians(yaw)), np.sin(np.radians(LIMIT_DEG))) * EYEBALL
    assert abs(iris_shift(shown.expression)[0]) == pytest.approx(share * wanted, abs=0.05 * EYEBALL)


def test_lids_follow_and_a_blink_stays_shut(retargeter: Retargeter) -> None:
    driver = retargeter.driver
    reading = looking(driver, (0.0, 8.0))
    half = replace(reading, lid_gap=np.asarray((driver.lid_open + driver.lid_closed) / 2, np.float32))
    shut = replace(reading, lid_gap=driver.lid_closed)
    assert (EyeContact().adjusted(half, retargeter, 0).lid_gap > half.lid_gap).all()
    assert EyeContact().adjusted(shut, retargeter, 0).lid_gap == pytest.approx(driver.lid_closed)


def test_switched_it_eases_in_and_out_and_then_changes_nothing(retargeter: Retargeter) -> None:
    contact = EyeContact(wanted=False)
    driven = looking(retargeter.driver, (8.0, 0.0))
    seen: list[FloatArray] = []
    for number in range(75):
        contact.wanted = 25 <= number < 50
        motion = contact.adjusted(driven, retargeter, number * FRAME_NS)
        seen.append(iris_shift(motion.expression)[:1] / EYEBALL)
    assert np.abs(np.diff(seen, axis=0)).max() < 0.35 * np.sin(np.radians(8.0))
    assert seen[0] == seen[24] == pytest.approx(np.sin(np.radians(8.0)))
    assert seen[49] == pytest.approx(0.0, abs=1e-3)
    assert seen[74] == pytest.approx(seen[0], abs=1e-3)


def test_a_time_that_goes_back_does_no_harm(retargeter: Retargeter) -> None:
    contact = EyeContact()
    driven = looking(retargeter.driver, (8.0, 0.0))
    for time_ns in (5_000_000_000, 0, FRAME_NS):
        shown = contact.adjusted(driven, retargeter, time_ns)
        assert shown_beside_deg(shown, retargeter) < 1.0
