"""The prior: a real person warped over a background that stays where it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.arrays import U8Image
from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.person.motion import Neutral, build_neutral
from engine.render.keyframes import KeyFrame
from engine.render.patches import filled_outline, head_outline
from engine.render.prior import PriorBuilder
from tests.support.puppet import Pose, Puppet, lively

SIZE = 128
PUPPET = Puppet(SIZE)
BANK = (
    Pose(),
    Pose(mouth=0.25),
    Pose(yaw_deg=18),
    Pose(lids=(0.0, 0.0)),
    Pose(hands=((1.5, 1.7), (-1.5, 1.7))),
)


def key(pose: Pose) -> KeyFrame:
    landmarks = PUPPET.landmarks(pose)
    rgb, matte = PUPPET.picture(landmarks)
    return KeyFrame(np.dstack([rgb, matte]), landmarks)


@pytest.fixture(scope="module")
def neutral() -> Neutral:
    return build_neutral([PUPPET.landmarks(pose) for pose in lively(60, hands=True)])


@pytest.fixture
def builder(neutral: Neutral) -> PriorBuilder:
    return PriorBuilder([key(pose) for pose in BANK], neutral, PUPPET.wall)


def psnr_db(a: U8Image, b: U8Image, where: NDArray[np.bool_] | None = None) -> float:
    error = (a.astype(np.float64) - b) ** 2
    return float(
        10 * np.log10(255**2 / max(error[where].mean() if where is not None else error.mean(), 1e-6))
    )


@pytest.mark.parametrize("pose", BANK, ids=["rest", "mouth", "turned", "blink", "hands"])
def test_a_key_frame_gives_itself(builder: PriorBuilder, pose: Pose) -> None:
    landmarks = PUPPET.landmarks(pose)
    rgb, matte = PUPPET.picture(landmarks)
    prior = builder.build(landmarks)
    assert prior.rgb.dtype == np.uint8
    assert prior.rgb.shape == (SIZE, SIZE, 3)
    assert prior.matte.shape == (SIZE, SIZE)
    assert prior.matte.dtype == prior.near.dtype == np.uint8
    assert (prior.near[prior.matte > 100] > 0).all()
    assert psnr_db(prior.rgb, rgb) > 28
    assert np.abs(prior.matte.astype(int) - matte).mean() < 2.5


@pytest.mark.parametrize(
    "pose", [Pose(x=0.3), Pose(yaw_deg=-15), Pose(roll_deg=10), Pose(y=0.2)], ids=["x", "yaw", "roll", "y"]
)
def test_the_background_does_not_move_with_the_head(builder: PriorBuilder, pose: Pose) -> None:
    """The window frame behind once bent with the head."""
    prior = builder.build(PUPPET.landmarks(pose))
    assert np.array_equal(prior.rgb[prior.matte == 0], PUPPET.wall[prior.matte == 0])
    away = prior.matte == 0
    assert away[:, :10].all()
    assert away[:, -10:].all()
    assert away.mean() > 0.4


@pytest.mark.parametrize(
    "pose",
    [Pose(x=0.15, yaw_deg=6), Pose(mouth=0.2, roll_deg=4), Pose(lids=(0.0, 1.0)), Pose(sway=(0.15, 0.05))],
    ids=["head", "mouth", "wink", "sway"],
)
def test_a_pose_between_key_frames_beats_the_best_key_frame(builder: PriorBuilder, pose: Pose) -> None:
    landmarks = PUPPET.landmarks(pose)
    truth, matte = PUPPET.picture(landmarks)
    person = matte > 127
    found = psnr_db(builder.build(landmarks).rgb, truth, person)
    unwarped = max(psnr_db(PUPPET.picture(PUPPET.landmarks(other))[0], truth, person) for other in BANK)
    assert found > unwarped + 1.0


def test_regions_come_from_different_frames(neutral: Neutral) -> None:
    """An open mouth and shut eyes, which no key frame shows together."""
    keys = [key(pose) for pose in BANK]
    target = PUPPET.landmarks(Pose(mouth=0.25, lids=(0.0, 0.0)))
    truth, _ = PUPPET.picture(target)
    eyes, mouth = (slice(46, 56), slice(50, 80)), (slice(64, 77), slice(56, 72))
    by_region = PriorBuilder(keys, neutral, PUPPET.wall).build(target).rgb
    open_eyes = PriorBuilder([keys[0], keys[1]], neutral, PUPPET.wall).build(target).rgb
    shut_mouth = PriorBuilder([keys[0], keys[3]], neutral, PUPPET.wall).build(target).rgb
    assert psnr_db(by_region[eyes], truth[eyes]) > psnr_db(open_eyes[eyes], truth[eyes]) + 3.0
    assert psnr_db(by_region[mouth], truth[mouth]) > psnr_db(shut_mouth[mouth], truth[mouth]) + 1.0


def test_hands_absent_hands_not_drawn(builder: PriorBuilder) -> None:
    shown = builder.build(PUPPET.landmarks(Pose(hands=((1.5, 1.6), (-1.5, 1.6)))))
    builder.chooser.forget()
    absent = builder.build(PUPPET.landmarks())
    wrist = PUPPET.landmarks(Pose(hands=((1.5, 1.6), None))).hands[0, 9, :2].astype(int)
    assert shown.matte[wrist[1], wrist[0]] > 230
    assert absent.matte[wrist[1], wrist[0]] == 0


@pytest.mark.parametrize("shift", [(-64, 0), (64, 0), (0, -60), (0, 60), (-50, -50), (400, 400), (-1e5, 1e5)])
def test_a_person_at_or_past_the_border_is_fine(builder: PriorBuilder, shift: tuple[float, float]) -> None:
    target = PUPPET.landmarks(BANK[4]).transformed(1.0, *shift, SIZE, SIZE)
    prior = builder.build(target)
    assert np.array_equal(prior.rgb[prior.matte == 0], PUPPET.wall[prior.matte == 0])


def test_a_heads_mask_is_as_soft_at_the_border_as_anywhere(builder: PriorBuilder) -> None:
    target = PUPPET.landmarks(Pose(yaw_deg=18, hands=((1.5, 1.7), (-1.5, 1.7))))

    def head_mask(shift: tuple[int, int]) -> U8Image:
        moved = replace(target, face=target.face + np.array([*shift, 0], np.float32))
        return filled_outline(head_outline(moved), SIZE)

    middle = head_mask((0, 0))
    assert 0.05 < (middle > 0).mean() < 0.6
    oval = target.face[topo.FACE_OVAL, 1]
    chin = int(oval.max() + 0.12 * (oval.max() - oval.mean()))
    assert np.flatnonzero(middle.any(axis=1))[-1] == chin + 3  # half of what it is blurred over
    for right in (-SIZE // 2, SIZE // 2 - 8, 3 * SIZE):
        moved = head_mask((right, 0))
        wanted = cv2.copyMakeBorder(middle, 0, 0, 4 * SIZE, 4 * SIZE, cv2.BORDER_CONSTANT, value=0)
        wanted = wanted[:, 4 * SIZE - right :][:, :SIZE]
        assert np.array_equal(moved[:, 8:-8], wanted[:, 8:-8])


def test_the_prior_belongs_to_the_caller(builder: PriorBuilder) -> None:
    first = builder.build(PUPPET.landmarks())
    kept = first.rgb.copy(), first.matte.copy()
    builder.build(PUPPET.landmarks(Pose(x=0.3)))
    assert np.array_equal(first.rgb, kept[0])
    assert np.array_equal(first.matte, kept[1])


def test_forbidden_key_frames_leave_no_trace(neutral: Neutral) -> None:
    """Training forbids the frames around the one asked for: they would hand over the answer."""
    keys = [key(pose) for pose in BANK]
    green = keys[2].rgba.copy()
    green[..., :3] = (0, 255, 0)
    keys[2] = KeyFrame(green, keys[2].landmarks)
    builder = PriorBuilder(keys, neutral, PUPPET.wall)
    target = PUPPET.landmarks(Pose(yaw_deg=18))
    forbidden = np.arange(len(keys)) == 2
    greens = [
        int((prior.rgb[..., 1].astype(int) - prior.rgb[..., 0] > 150).sum())
        for prior in (builder.build(target), builder.build(target, forbidden))
    ]
    assert greens[0] > 100
    assert greens[1] == 0


def test_flow_between_two_poses_brings_the_picture_along(builder: PriorBuilder) -> None:
    before, after = PUPPET.landmarks(), PUPPET.landmarks(Pose(x=0.15))
    flow = builder.flow_between(before, after).places()
    x, y = np.round(after.face[1, :2]).astype(int)
    assert np.linalg.norm(flow[y, x] - before.face[1, :2]) < 1.5


def test_without_hands_in_the_bank_a_raised_hand_does_no_harm(neutral: Neutral) -> None:
    builder = PriorBuilder([key(Pose())], neutral, PUPPET.wall)
    target: Landmarks = PUPPET.landmarks(Pose(hands=((1.5, 1.7), None)))
    assert psnr_db(builder.build(target).rgb, PUPPET.picture(PUPPET.landmarks())[0]) > 25


# Arms: laid anew over a torso that has none

UP = Pose(hands=((1.5, 1.6), (-1.5, 1.6)))


def bared(neutral: Neutral) -> PriorBuilder:
    """Knows the torso without arms from the first key frame, and arms from the second."""
    keys = [key(Pose()), key(UP)]
    return PriorBuilder(keys, neutral, PUPPET.wall, bare_torso=keys[0].rgba)


def palm(landmarks: Landmarks, side: int) -> tuple[int, int]:
    x, y = landmarks.hands[side, 9, :2].astype(int)
    return int(y), int(x)


def test_the_arms_of_a_torsos_key_frame_are_no_ghosts(neutral: Neutral) -> None:
    keys = [key(Pose()), key(UP)]
    places = [palm(keys[1].landmarks, side) for side in (LEFT, RIGHT)]
    only_arms = np.array([True, False])  # no other torso to choose
    without = bared(neutral).build(PUPPET.landmarks(), only_arms)
    old = PriorBuilder(keys, neutral, PUPPET.wall).build(PUPPET.landmarks(), only_arms)
    assert [without.matte[place] for place in places] == [0, 0]
    assert [old.matte[place] for place in places] == [255, 255]  # a file without the torso still works


def test_a_hand_that_the_tracker_missed_comes_with_no_torso(neutral: Neutral) -> None:
    """Its landmarks are those of a person at rest, and nearer to the target than those that show none."""
    missed = key(Pose(hands=(None, (-0.5, 3.6))))
    at_rest = PUPPET.landmarks(Pose())
    keys = [key(Pose(sway=(0.05, 0.0))), KeyFrame(missed.rgba, at_rest)]
    hand = palm(missed.landmarks, RIGHT)
    assert missed.matte[hand] > 230
    seen, old = (
        PriorBuilder(keys, neutral, PUPPET.wall, bare_torso=bare).build(at_rest)
        for bare in (keys[0].rgba, None)
    )
    without = PUPPET.picture(PUPPET.landmarks())[0]
    assert np.abs(old.rgb[hand].astype(int) - missed.rgb[hand]).max() < 20  # nothing tells it apart
    assert np.abs(seen.rgb[hand].astype(int) - without[hand]).max() < 20


def test_an_arm_comes_with_its_hand(neutral: Neutral) -> None:
    """Torso and head are the first key frame's, which shows no arm at all."""
    target = PUPPET.landmarks(UP)
    prior = bared(neutral).build(target)
    forearm = target.hands[LEFT, 0, :2] * 0.5 + target.pose[topo.ELBOWS[LEFT], :2] * 0.5
    x, y = forearm.astype(int)
    assert prior.matte[y, x] > 230
    assert prior.matte[palm(target, LEFT)] > 230


def test_a_lost_hand_fades_and_leaves_nothing(neutral: Neutral) -> None:
    """Its confidence falls to nothing within the tracker's 0.3 s; one that just blinked out would pop."""
    builder, shown = bared(neutral), PUPPET.landmarks(UP)
    seen = []
    for confidence in (1.0, 0.65, 0.6, 0.55, 0.45, 0.0):
        hands = np.array([confidence, 1.0], np.float32)
        lost = shown.pose_confidence.copy()
        lost[[topo.ELBOWS[LEFT], topo.WRISTS[LEFT]]] = min(confidence, 0.5)
        prior = builder.build(replace(shown, hand_confidence=hands, pose_confidence=lost))
        seen.append(float(prior.matte[palm(shown, LEFT)]))
        assert prior.matte[palm(shown, RIGHT)] > 230
    assert seen[0] > 230
    assert all(now < before for before, now in pairwise(seen[:4]))
    assert seen[4:] == [0, 0]


@pytest.mark.parametrize("near", [LEFT, RIGHT])
def test_the_nearer_hand_covers_the_farther_one(neutral: Neutral, near: int) -> None:
    """As guidance draws them: the network must not be told two things."""
    keys = [key(Pose()), key(UP)]
    painted = keys[1].rgba.copy()
    half = SIZE // 2  # the person's left is on the right
    painted[:, half:, :3], painted[:, :half, :3] = (0, 0, 255), (255, 0, 0)
    builder = PriorBuilder(
        [keys[0], KeyFrame(painted, keys[1].landmarks)], neutral, PUPPET.wall, bare_torso=keys[0].rgba
    )
    target = PUPPET.landmarks(Pose(hands=((0.1, 1.8), (-0.1, 1.8))))
    hands = target.hands.copy()
    hands[RIGHT, :, :2] = hands[LEFT, :, :2]
    hands[near, :, 2] -= 30.0
    prior = builder.build(replace(target, hands=hands))
    red, _, blue = prior.rgb[palm(target, LEFT)].astype(int)
    assert (blue > red) == (near == LEFT)


def test_hair_that_touched_the_top_does_not_run_up_in_streaks(neutral: Neutral) -> None:
    rest = key(BANK[0])
    rgba = rest.rgba.copy()
    rgba[:40, 50:80] = (0, 0, 0, 255)
    down = np.array([0, 24, 0], np.float32)
    lower = replace(rest.landmarks, face=rest.landmarks.face + down, pose=rest.landmarks.pose + down)
    prior = PriorBuilder([KeyFrame(rgba, rest.landmarks)], neutral, PUPPET.wall).build(lower)
    assert prior.matte[:14, 55:75].max() < 13
    assert prior.matte[30:50, 55:75].min() > 230


@pytest.mark.parametrize("shift", [(0.02, 0.0), (-0.02, 0.0)])
def test_an_iris_goes_where_it_is_wanted(neutral: Neutral, shift: tuple[float, float]) -> None:
    """Painted on a key frame: a dark iris in a white eye between lids of skin, large enough to see."""
    landmarks = PUPPET.landmarks(Pose())
    unit = float(np.linalg.norm(landmarks.face[33, :2] - landmarks.face[263, :2]))
    scale = 60.0 / unit
    rest = replace(landmarks.transformed(scale, -scale * 64 + 64, -scale * 50 + 64, SIZE, SIZE), width=SIZE)
    rgb = np.full((SIZE, SIZE, 3), 180, np.uint8)
    for eye, iris in zip(topo.EYES, topo.IRISES, strict=True):
        cv2.fillPoly(rgb, [np.round(rest.face[eye, :2]).astype(np.int32)], (250, 250, 250))
        cv2.circle(rgb, np.round(rest.face[iris[0], :2]).astype(int).tolist(), 2, (10, 10, 10), -1)
    builder = PriorBuilder(
        [KeyFrame.of(rgb, np.full((SIZE, SIZE), 255, np.uint8), rest)], neutral, PUPPET.wall
    )
    face = rest.face.copy()
    moved_px = 60.0 * np.array([*shift, 0.0], np.float32)
    for iris in topo.IRISES:
        face[iris] += moved_px
    still, looked = builder.build(rest).rgb, builder.build(replace(rest, face=face)).rgb
    for eye in topo.EYES:
        x0, y0 = np.floor(rest.face[eye, :2].min(0)).astype(int)
        x1, y1 = np.ceil(rest.face[eye, :2].max(0)).astype(int)
        before, after = (_dark_middle(picture[y0:y1, x0:x1]) for picture in (still, looked))
        assert (after - before) * np.sign(shift[0]) > 0.4


def _dark_middle(picture: U8Image) -> float:
    """Column, px."""
    dark = np.maximum(120.0 - picture.mean(2), 0.0).sum(0)
    return float(dark @ np.arange(len(dark)) / dark.sum())
