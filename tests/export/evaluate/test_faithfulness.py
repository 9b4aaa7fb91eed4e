"""Faithfulness: an output that does what its driver did scores 1, one in another order does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import FootageError
from engine.person.landmarks import Landmarks
from export.evaluate.faithfulness import SIGNALS, compare_motion
from tests.support.puppet import Pose, Puppet, lively

DRIVER = Puppet(480, shape_seed=4, unit=0.2)
AVATAR = Puppet(128)
FRAMES = 200
RAISED = ((1.4, 1.9), (-1.4, 1.9))


def waving(index: int, pose: Pose) -> Pose:
    lift = 0.3 * float(np.sin(0.3 * index))
    hands = tuple((x + lift / 2, y + lift) for x, y in RAISED)
    return replace(pose, hands=(hands[0], hands[1]), spread=1.0 + lift)


@pytest.fixture(scope="module")
def poses() -> list[Pose]:
    return [waving(index, pose) for index, pose in enumerate(lively(FRAMES))]


def shown(puppet: Puppet, poses: list[Pose]) -> list[Landmarks]:
    return [puppet.landmarks(pose) for pose in poses]


def test_the_same_motion_has_correlation_and_gain_one(poses: list[Pose]) -> None:
    frames = shown(DRIVER, poses)
    report = compare_motion(frames, frames)
    assert set(report) == {"motion", "motion_shuffled"}
    assert tuple(report["motion"]) == tuple(report["motion_shuffled"]) == SIGNALS
    for name, value in report["motion"].items():
        assert value == pytest.approx({"correlation": 1.0, "gain": 1.0}, abs=2e-3), name


def test_another_person_of_another_size_doing_the_same(poses: list[Pose]) -> None:
    report = compare_motion(shown(DRIVER, poses), shown(AVATAR, poses))
    for name, value in report["motion"].items():
        assert value["correlation"] > 0.95, name
        assert 0.7 < value["gain"] < 1.3, name


def test_a_shuffled_driver_fails(poses: list[Pose]) -> None:
    report = compare_motion(shown(DRIVER, poses), shown(AVATAR, poses))
    for name, value in report["motion_shuffled"].items():
        assert abs(value["correlation"]) < 0.35, name


def test_gain_tells_half_the_motion(poses: list[Pose]) -> None:
    half = [replace(p, yaw_deg=p.yaw_deg / 2, mouth=p.mouth / 2) for p in poses]
    motion = compare_motion(shown(AVATAR, poses), shown(AVATAR, half))["motion"]
    assert motion["yaw"]["gain"] == pytest.approx(0.5, abs=0.05)
    assert motion["lip_aperture"]["gain"] == pytest.approx(0.5, abs=0.1)
    assert motion["pitch"]["gain"] == pytest.approx(1.0, abs=0.05)
    assert motion["yaw"]["correlation"] > 0.98


def test_the_wrong_direction_shows(poses: list[Pose]) -> None:
    mirrored = [replace(pose, yaw_deg=-pose.yaw_deg) for pose in poses]
    motion = compare_motion(shown(AVATAR, poses), shown(AVATAR, mirrored))["motion"]
    assert motion["yaw"]["correlation"] < -0.9
    assert motion["yaw"]["gain"] < -0.8


def test_eyes_that_never_close_show(poses: list[Pose]) -> None:
    """No blink at all: the lids' signal has no power, and says nothing rather than something wrong."""
    rng = np.random.default_rng(0)
    staring = [replace(p, lids=(1.0, 1.0), gaze_x=float(rng.normal(0, 0.01))) for p in poses]
    lids = compare_motion(shown(AVATAR, poses), shown(AVATAR, staring))["motion"]["lid_aperture"]
    assert lids is None or abs(lids["gain"]) < 0.1


@pytest.mark.parametrize("who", ["driver", "output"])
def test_hands_absent_in_one_are_none(poses: list[Pose], who: str) -> None:
    handless = shown(AVATAR, [replace(pose, hands=(None, None)) for pose in poses])
    whole = shown(AVATAR, poses)
    report = compare_motion(*((handless, whole) if who == "driver" else (whole, handless)))
    for part in ("motion", "motion_shuffled"):
        assert report[part]["wrists"] is None
        assert report[part]["fingers"] is None
        assert report[part]["yaw"] is not None


def test_a_hand_seen_too_seldom_says_nothing(poses: list[Pose]) -> None:
    seldom = [replace(p, hands=p.hands if i < 15 else (None, None)) for i, p in enumerate(poses)]
    assert compare_motion(shown(AVATAR, seldom), shown(AVATAR, seldom))["motion"]["wrists"] is None


def test_one_hand_is_enough(poses: list[Pose]) -> None:
    left_only = shown(AVATAR, [replace(pose, hands=(pose.hands[0], None)) for pose in poses])
    motion = compare_motion(left_only, left_only)["motion"]
    assert motion["wrists"]["correlation"] == pytest.approx(1.0, abs=2e-3)


def test_frames_that_lost_the_face_are_left_out(poses: list[Pose]) -> None:
    driver = shown(DRIVER, poses)
    output = shown(AVATAR, poses)
    for index in range(0, FRAMES, 3):
        output[index] = Landmarks(128, 128)
    motion = compare_motion(driver, output)["motion"]
    assert motion["yaw"]["correlation"] > 0.95
    assert motion["yaw"]["gain"] == pytest.approx(1.0, abs=0.1)


def test_no_face_at_all_is_an_error(poses: list[Pose]) -> None:
    with pytest.raises(FootageError, match="no face"):
        compare_motion(shown(DRIVER, poses), [Landmarks(128, 128)] * FRAMES)
