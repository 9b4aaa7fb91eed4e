"""Motion and retargeting on a puppet whose landmarks are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.person.motion import Neutral, build_neutral, in_head_axes, lid_gaps, lip_gap, motion_of
from engine.person.retarget import (
    Retargeter,
    Support,
    chest_bend,
    chest_shift,
    head_pose,
    shoulder_shift,
    support_of,
)
from engine.person.torso import fit_torso
from tests.support.puppet import Pose, Puppet, lively, rotation_distance_deg

SIZE = 256
NO_POSE = np.array([0, 0, 0, 0, 0, 1], np.float32)  # no turn, no shift, scale 1
RAISED = ((1.4, 2.1), (-1.4, 2.0))


def footage(puppet: Puppet, seed: int = 0) -> list[Landmarks]:
    """Ten seconds in which everything shows, both hands included."""
    poses = lively(250, seed, hands=True)
    return [puppet.landmarks(replace(pose, hands=RAISED) if pose.hands[RIGHT] else pose) for pose in poses]


def retargeter_of(frames: Sequence[Landmarks]) -> Retargeter:
    neutral = build_neutral(frames)
    motions = [motion_of(frame, neutral) for frame in frames]
    torso = fit_torso(
        np.stack([head_pose(m, neutral) for m in motions]),
        np.stack([shoulder_shift(m, neutral) for m in motions]),
        np.ones(len(motions), bool),
        np.stack([chest_shift(m, neutral) for m in motions]),
        np.stack([chest_bend(m, neutral) for m in motions]),
    )
    return Retargeter(neutral, support_of(motions, neutral), torso, SIZE)


@pytest.fixture(scope="module")
def avatar() -> Retargeter:
    """Not changed by the tests that share it."""
    return retargeter_of(footage(Puppet(SIZE)))


@pytest.fixture(scope="module")
def stranger() -> Neutral:
    """Of somebody of another shape, size and place."""
    return build_neutral(footage(Puppet(480, shape_seed=4, unit=0.22), seed=1))


@pytest.fixture
def driven(avatar: Retargeter, stranger: Neutral) -> Retargeter:
    """The same avatar, driven by that stranger."""
    retargeter = copy(avatar)
    retargeter.driver = stranger
    return retargeter


@pytest.fixture
def driver() -> Puppet:
    return Puppet(480, shape_seed=4, unit=0.22)


def mouth_and_lids(landmarks: Landmarks, neutral: Neutral) -> tuple[float, FloatArray]:
    face, *_ = in_head_axes(landmarks.face, neutral.face)
    return lip_gap(face), lid_gaps(face)


# Neutral


def test_the_neutral_is_the_resting_face_whatever_the_person_did() -> None:
    puppet = Puppet(SIZE)
    neutral = build_neutral(footage(puppet))
    centred = puppet.face - puppet.face[topo.RIGID].mean(0)
    difference = np.linalg.norm(neutral.face - centred, axis=1)
    assert np.median(difference) < 0.01  # head units
    assert float(neutral.lip_closed) < 0.03
    assert (neutral.lid_open > 0.08).all()
    assert (neutral.lid_closed < 0.4 * neutral.lid_open).all()
    assert float(neutral.scale) == pytest.approx(puppet.unit_px, rel=0.02)
    assert (neutral.hand_size > 0).all()


def test_no_face_no_neutral() -> None:
    with pytest.raises(FootageError, match="no face in any of 3 frames"):
        build_neutral([Landmarks(SIZE, SIZE)] * 3)


def test_a_person_without_shoulders_gets_ordinary_ones() -> None:
    frame = Puppet(SIZE).landmarks()
    neutral = build_neutral([replace(frame, pose_confidence=np.zeros(33, np.float32))])
    assert neutral.shoulders[LEFT, 0] > neutral.shoulders[RIGHT, 0]
    assert (neutral.shoulders[:, 1] > frame.face[:, 1].max()).all()
    assert 1.5 * neutral.scale < neutral.body_scale < 6 * neutral.scale


# Round trip


def test_own_motion_gives_the_landmarks_back(avatar: Retargeter) -> None:
    for frame in footage(Puppet(SIZE))[::7]:
        target = avatar.target(motion_of(frame, avatar.avatar))
        assert np.abs(target.face[:, :2] - frame.face[:, :2]).max() < 0.5  # px
        for side in (LEFT, RIGHT):
            if frame.hand_confidence[side] > 0:
                assert np.abs(target.hands[side, :, :2] - frame.hands[side, :, :2]).max() < 0.5
                limbs = [topo.ELBOWS[side], topo.WRISTS[side]]
                assert np.abs(target.pose[limbs, :2] - frame.pose[limbs, :2]).max() < 0.5


def test_wrong_shoulders_do_not_move_hands(avatar: Retargeter) -> None:
    """Pose trackers guess shoulders; the hands they hang from were once shifted by the guess's error."""
    frame = Puppet(SIZE).landmarks(Pose(hands=RAISED))
    pose = frame.pose.copy()
    pose[topo.SHOULDERS, 1] += 12.0
    target = avatar.target(motion_of(replace(frame, pose=pose), avatar.avatar))
    assert np.abs(target.hands[..., :2] - frame.hands[..., :2]).max() < 0.5


def test_a_hand_stands_where_it_shows_with_its_elbow_out_of_the_picture(avatar: Retargeter) -> None:
    frame = Puppet(SIZE).landmarks(Pose(hands=RAISED))
    seen = frame.pose_confidence.copy()
    seen[topo.ELBOWS] = 0.1
    target = avatar.target(motion_of(replace(frame, pose_confidence=seen), avatar.avatar))
    assert np.abs(target.hands[..., :2] - frame.hands[..., :2]).max() < 0.5
    assert (target.hand_confidence > 0.5).all()


@given(st.floats(0.4, 3.0), st.floats(-200, 200), st.floats(-200, 200))
def test_size_and_place_of_the_drivers_picture_do_not_matter(
    scale: float, shift_x: float, shift_y: float
) -> None:
    frames = [Puppet(SIZE).landmarks(pose) for pose in (Pose(), Pose(), Pose(yaw_deg=12, mouth=0.2))]
    moved = [frame.transformed(scale, shift_x, shift_y, 640, 480) for frame in frames]
    retargeter = retargeter_of(frames)
    expected = retargeter.target(motion_of(frames[2], retargeter.driver))
    retargeter.driver = build_neutral(moved)
    found = retargeter.target(motion_of(moved[2], retargeter.driver))
    assert np.abs(found.face - expected.face).max() < 0.1
    assert np.abs(found.pose - expected.pose).max() < 0.1
    assert (found.width, found.height) == (SIZE, SIZE)


@pytest.mark.parametrize("yaw_deg", [-8.0, 0.0, 8.0])
def test_head_turns_as_far_as_the_driver(driven: Retargeter, driver: Puppet, yaw_deg: float) -> None:
    rest = driven.target(motion_of(driver.landmarks(), driven.driver))
    turned = driven.target(motion_of(driver.landmarks(Pose(yaw_deg=yaw_deg)), driven.driver))
    _, before, *_ = in_head_axes(rest.face, driven.avatar.face)
    _, after, *_ = in_head_axes(turned.face, driven.avatar.face)
    assert rotation_distance_deg(after, before) == pytest.approx(abs(yaw_deg), abs=1.0)


def test_shut_stays_shut_between_people(driven: Retargeter, driver: Puppet) -> None:
    """Offsets alone leave a shut mouth parted and lids ajar when the two neutrals differ."""
    open_lids = mouth_and_lids(driven.target(motion_of(driver.landmarks(), driven.driver)), driven.avatar)[1]
    target = driven.target(motion_of(driver.landmarks(Pose(lids=(0.0, 0.0))), driven.driver))
    lips, lids = mouth_and_lids(target, driven.avatar)
    assert lips <= float(driven.avatar.lip_closed) + 0.01
    assert (lids < 0.1 * open_lids).all()


def test_a_neutral_with_a_parted_mouth_does_not_part_the_avatars(driven: Retargeter, driver: Puppet) -> None:
    """The driver was calibrated talking, and then shuts the mouth."""
    talking = build_neutral([driver.landmarks(Pose(mouth=0.1))] * 3)
    driven.driver = replace(talking, lip_closed=np.array(0.012, np.float32))
    lips, _ = mouth_and_lids(driven.target(motion_of(driver.landmarks(), driven.driver)), driven.avatar)
    assert lips <= float(driven.avatar.lip_closed) + 0.01


@pytest.mark.parametrize("opening", [0.05, 0.15, 0.3])
def test_the_mouth_opens_as_far_as_the_drivers(driven: Retargeter, driver: Puppet, opening: float) -> None:
    lips, _ = mouth_and_lids(
        driven.target(motion_of(driver.landmarks(Pose(mouth=opening)), driven.driver)), driven.avatar
    )
    assert lips - float(driven.avatar.lip_closed) == pytest.approx(opening, rel=0.25, abs=0.01)


def test_one_eye_winks_alone(driven: Retargeter, driver: Puppet) -> None:
    target = driven.target(motion_of(driver.landmarks(Pose(lids=(0.0, 1.0))), driven.driver))
    lids = mouth_and_lids(target, driven.avatar)[1]
    assert lids[LEFT] < 0.2 * lids[RIGHT]


def test_gaze_follows(driven: Retargeter, driver: Puppet) -> None:
    def iris_x(pose: Pose) -> float:
        target = driven.target(motion_of(driver.landmarks(pose), driven.driver))
        face, *_ = in_head_axes(target.face, driven.avatar.face)
        return float(face[[rows[0] for rows in topo.IRISES], 0].mean())

    assert iris_x(Pose(gaze_x=0.06)) - iris_x(Pose()) == pytest.approx(0.06, abs=0.01)


# Support


def test_inside_the_footage_a_pose_is_unchanged(avatar: Retargeter) -> None:
    middle = (avatar.support.low + avatar.support.high) / 2
    for pose in (middle, avatar.support.low, avatar.support.high):
        assert avatar.support.held(pose) == pytest.approx(pose)


@given(st.lists(st.floats(-90, 90), min_size=6, max_size=6))
def test_far_poses_are_held_and_order_is_kept(values: list[float]) -> None:
    support = Support(np.full(6, -10, np.float32), np.full(6, 15, np.float32), np.ones(2, np.float32))
    pose = np.array(values, np.float32)
    held = support.held(pose)
    margin = 0.35 * 25 + 1e-3
    assert (held <= 15 + margin).all()
    assert (held >= -10 - margin).all()
    assert (support.held(pose + np.float32(1.0)) >= held).all()


def test_a_far_turn_of_the_head_is_held_back(driven: Retargeter, driver: Puppet) -> None:
    target = driven.target(motion_of(driver.landmarks(Pose(yaw_deg=70.0)), driven.driver))
    _, rotation, *_ = in_head_axes(target.face, driven.avatar.face)
    assert rotation_distance_deg(rotation, driven.avatar.rotation) < 35.0  # the footage shows 14


# Torso


def test_the_tracked_chest_is_followed(avatar: Retargeter) -> None:
    puppet = Puppet(SIZE)
    rest = avatar.target(motion_of(puppet.landmarks(), avatar.avatar))
    swayed = avatar.target(motion_of(puppet.landmarks(Pose(sway=(0.1, 0.0))), avatar.avatar))
    moved = swayed.pose[topo.SHOULDERS, 0] - rest.pose[topo.SHOULDERS, 0]
    assert moved == pytest.approx(0.1 * puppet.unit_px, abs=1.0)


def test_the_chest_goes_no_further_than_its_slack(avatar: Retargeter) -> None:
    motion = motion_of(Puppet(SIZE).landmarks(), avatar.avatar)
    far = replace(motion, chest=motion.chest + np.array([0.0, 90.0], np.float32))
    moved = avatar.target(far).pose[topo.SHOULDERS, 1] - avatar.target(motion).pose[topo.SHOULDERS, 1]
    assert moved.max() <= 2 * avatar.torso.slack[1] * avatar.avatar.body_scale + 0.1
    assert moved.min() > 0


def test_without_a_chest_the_head_moves_the_torso() -> None:
    """In this footage the chest goes 40 % of the head's way; the model must have learnt it."""
    puppet = Puppet(SIZE)
    poses = [Pose(x=0.5 * np.sin(0.2 * i), sway=(0.2 * np.sin(0.2 * i), 0.0)) for i in range(200)]
    retargeter = retargeter_of([puppet.landmarks(pose) for pose in poses])
    blind = replace(
        motion_of(puppet.landmarks(Pose(x=0.4)), retargeter.driver),
        chest_confidence=0.0,
        shoulder_confidence=0.0,
    )
    rest = replace(
        motion_of(puppet.landmarks(), retargeter.driver), chest_confidence=0.0, shoulder_confidence=0.0
    )
    moved = retargeter.target(blind).pose[topo.SHOULDERS, 0] - retargeter.target(rest).pose[topo.SHOULDERS, 0]
    assert moved == pytest.approx(0.16 * puppet.unit_px, rel=0.15)
    assert retargeter.target(blind).pose_confidence[topo.SHOULDERS] == pytest.approx([1.0, 1.0])


def test_torso_model_recovers_a_linear_law() -> None:
    rng = np.random.default_rng(2)
    poses = (NO_POSE + rng.normal(0, [10, 10, 10, 1, 1, 0.1], (400, 6))).astype(np.float32)
    law = rng.normal(0, 0.1, (6, 2)).astype(np.float32)
    shifts = ((poses - NO_POSE) / np.array([10, 10, 10, 1, 1, 0.1], np.float32)) @ law
    model = fit_torso(
        poses, np.zeros((400, 2), np.float32), np.zeros(400, bool), shifts, np.zeros((400, 2, 2), np.float32)
    )
    assert np.abs(model.shift(poses[3], None) - shifts[3]).max() < 0.01
    assert (
        np.abs(model.shift(poses[3], np.ones(2, np.float32)) - shifts[3]).max() < 0.01
    )  # never seen: no say


def test_a_chest_that_bends_takes_shoulders_and_hips_along() -> None:
    """About its middle, no further than the footage shows, and not at all where it cannot be tracked."""
    middle, turn = np.array([128, 220], np.float32), np.array([[0, -0.04], [0.04, 0]], np.float32)
    frames = [
        replace(frame, chest_middle=middle, chest_shape=np.float32(np.sin(index / 5)) * turn)
        for index, frame in enumerate(footage(Puppet(SIZE)))
    ]
    retargeter = retargeter_of(frames)
    trunk = np.concatenate([topo.SHOULDERS, topo.HIPS])

    def places(turns: float, confidence: float = 1.0) -> FloatArray:
        shape = retargeter.avatar.chest_shape + np.float32(turns) * turn
        frame = replace(frames[0], chest_shape=shape, chest_confidence=confidence)
        return retargeter.target(motion_of(frame, retargeter.driver)).pose[trunk, :2]

    moved, away = places(0.75) - places(0.0), retargeter.avatar.shoulders[:, :2]
    away = away - retargeter.avatar.chest_middle
    assert moved[:2] == pytest.approx(away @ (0.75 * turn).T, abs=0.05)
    assert (moved[2:, 0] * moved[:2, 0] < 0).all()  # hips swing the other way
    assert np.abs(places(12) - places(0)).max() < 4 * np.abs(moved).max()  # not 16 times
    assert places(0.75, 0.0) == pytest.approx(places(0.0, 0.0))


# Hands


def test_lost_hands_sink_to_rest_and_are_not_shown(avatar: Retargeter) -> None:
    frame = Puppet(SIZE).landmarks(Pose(hands=((1.6, 1.0), (-1.6, 0.9))))

    def faded(confidence: float) -> Landmarks:
        seen = frame.pose_confidence.copy()
        seen[topo.WRISTS] = confidence
        hands = np.full(2, confidence, np.float32)
        return avatar.target(
            motion_of(replace(frame, pose_confidence=seen, hand_confidence=hands), avatar.avatar)
        )

    rest = avatar.avatar.rest_wrists[:, :2] + (
        faded(0).pose[topo.SHOULDERS, :2] - avatar.avatar.shoulders[:, :2]
    )
    away = [np.abs(faded(c).pose[topo.WRISTS, :2] - rest).max() for c in (1.0, 0.4, 0.2, 0.0)]
    assert away == sorted(away, reverse=True)
    assert away[0] > 2 * away[2]
    assert away[-1] < 0.5
    assert not (faded(0.0).hand_confidence > 0).any()
    assert not (faded(0.0).pose_confidence[topo.WRISTS] > 0).any()


def test_a_hand_the_footage_never_shows_stays_hidden() -> None:
    handless = [Puppet(SIZE).landmarks(pose) for pose in lively(50)]
    retargeter = retargeter_of(handless)
    retargeter.driver = build_neutral(footage(Puppet(SIZE, 4)))
    target = retargeter.target(motion_of(Puppet(SIZE, 4).landmarks(Pose(hands=RAISED)), retargeter.driver))
    assert not (target.hand_confidence > 0).any()


def test_hands_take_the_avatars_size(driven: Retargeter, driver: Puppet) -> None:
    target = driven.target(motion_of(driver.landmarks(Pose(hands=RAISED)), driven.driver))
    size = np.linalg.norm(target.hands[:, 9] - target.hands[:, 0], axis=1)
    assert size == pytest.approx(driven.avatar.hand_size * driven.avatar.body_scale, rel=0.05)


def test_a_lost_face_gives_the_neutral_motion(avatar: Retargeter) -> None:
    motion = motion_of(Landmarks(SIZE, SIZE), avatar.avatar)
    assert motion.face_confidence == 0.0
    assert not motion.expression.any()
    assert avatar.target(motion).face == pytest.approx(
        avatar.target(replace(motion, face_confidence=1.0)).face
    )
    assert np.isfinite(avatar.target(motion).face).all()


def test_arms_off_the_canvas_are_not_shown(driven: Retargeter, driver: Puppet) -> None:
    """A driver filmed to the hips has their hands in the picture; the avatar's canvas ends at its chest."""
    hanging = ((1.4, 9.0), (-1.4, 9.0))
    frame = driver.landmarks(Pose(hands=hanging))
    assert (frame.hand_confidence > 0).all()
    target = driven.target(motion_of(frame, driven.driver))
    assert (target.hands[:, 0, 1] > SIZE).all()
    assert not target.hand_confidence.any()
    assert not target.pose_confidence[topo.WRISTS].any()
