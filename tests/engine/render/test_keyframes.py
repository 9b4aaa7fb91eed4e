"""Choosing key frames: each region from the frame that knows it best, and not another one each frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.person.motion import Neutral, build_neutral
from engine.render.keyframes import REGIONS, KeyFrameChooser, region_features, select_bank
from tests.support.puppet import Pose, Puppet, lively

PUPPET = Puppet(256)
SHUT, OPEN, TURNED, WAVING, BLINKING = range(5)
BANK = [
    PUPPET.landmarks(pose)
    for pose in (
        Pose(),
        Pose(mouth=0.25),
        Pose(yaw_deg=20),
        Pose(hands=(None, (-1.4, 1.8))),
        Pose(lids=(0.0, 0.0)),
    )
]


@pytest.fixture(scope="module")
def neutral() -> Neutral:
    return build_neutral([PUPPET.landmarks(pose) for pose in lively(60, hands=True)])


@pytest.fixture
def chooser(neutral: Neutral) -> KeyFrameChooser:
    return KeyFrameChooser(BANK, neutral)


def test_mouth_from_one_frame_eyes_from_another(chooser: KeyFrameChooser) -> None:
    choice = chooser.choose(PUPPET.landmarks(Pose(mouth=0.22, lids=(0.0, 0.0))))
    assert choice["mouth"] == OPEN
    assert choice["eye_left"] == choice["eye_right"] == BLINKING


def test_each_eye_chooses_for_itself(chooser: KeyFrameChooser) -> None:
    choice = chooser.choose(PUPPET.landmarks(Pose(lids=(1.0, 0.0))))
    assert choice["eye_left"] != BLINKING
    assert choice["eye_right"] == BLINKING


def with_raised_brows(pose: Pose, sides: tuple[int, ...], by: float = 0.08) -> Landmarks:
    """With the brows of those sides raised by so many head units."""
    landmarks = PUPPET.landmarks(pose)
    face = landmarks.face.copy()
    for side in sides:
        face[np.concatenate(topo.BROWS[2 * side : 2 * side + 2]), 1] -= by * PUPPET.unit_px
    return replace(landmarks, face=face)


def test_a_forehead_with_creases_comes_of_a_frame_that_shows_them(neutral: Neutral) -> None:
    """Though another frame's head is turned more alike, and its lids are."""
    calm, raised = Pose(yaw_deg=4, lids=(0.9, 0.9)), Pose(lids=(0.75, 0.75))
    chooser = KeyFrameChooser([PUPPET.landmarks(calm), with_raised_brows(raised, (LEFT, RIGHT))], neutral)
    choice = chooser.choose(with_raised_brows(calm, (LEFT, RIGHT)))
    assert choice["head"] == choice["eye_left"] == choice["eye_right"] == 1
    chooser.forget()
    choice = chooser.choose(PUPPET.landmarks(raised))
    assert choice["head"] == choice["eye_left"] == choice["eye_right"] == 0


def test_each_brow_chooses_for_its_own_eye(neutral: Neutral) -> None:
    bank = [PUPPET.landmarks(Pose()), with_raised_brows(Pose(lids=(0.9, 0.9)), (LEFT, RIGHT))]
    choice = KeyFrameChooser(bank, neutral).choose(with_raised_brows(Pose(), (LEFT,)))
    assert (choice["eye_left"], choice["eye_right"]) == (1, 0)


def test_cheeks_come_of_a_frame_with_such_lips(neutral: Neutral) -> None:
    """The head's own picture shows what an open mouth does to cheeks and chin."""
    bank = [PUPPET.landmarks(Pose()), PUPPET.landmarks(Pose(yaw_deg=2, mouth=0.3))]
    assert KeyFrameChooser(bank, neutral).choose(PUPPET.landmarks(Pose(mouth=0.3)))["head"] == 1


def test_lips_are_as_far_open_before_they_are_as_wide(neutral: Neutral) -> None:
    """A smile is drawn of shut lips that do not smile rather than of a smile that is ajar."""
    shut, ajar = PUPPET.landmarks(Pose()), PUPPET.landmarks(Pose(mouth=0.06))
    smiling = []
    for landmarks in (shut, ajar):
        face = landmarks.face.copy()
        for corner, side in zip(topo.MOUTH_OUTER_CORNERS, (-1.0, 1.0), strict=True):
            near = np.linalg.norm(face[:, :2] - landmarks.face[corner, :2], axis=1) < 0.12 * PUPPET.unit_px
            face[near, :2] += np.array([0.05 * side, -0.05], np.float32) * PUPPET.unit_px
        smiling.append(replace(landmarks, face=face))
    choice = KeyFrameChooser([shut, smiling[1]], neutral).choose(smiling[0])
    assert choice["mouth"] == 0


def test_the_head_goes_by_its_pose(chooser: KeyFrameChooser) -> None:
    assert chooser.choose(PUPPET.landmarks(Pose(yaw_deg=18)))["head"] == TURNED
    chooser.forget()
    assert chooser.choose(PUPPET.landmarks(Pose(yaw_deg=2)))["head"] != TURNED


def test_hands_only_where_shown_and_known(chooser: KeyFrameChooser) -> None:
    assert "hand_right" not in chooser.choose(PUPPET.landmarks())
    raised = chooser.choose(PUPPET.landmarks(Pose(hands=((1.4, 1.8), (-1.4, 1.8)))))
    assert raised["hand_right"] == WAVING
    assert "hand_left" not in raised  # no key frame shows it


def test_a_hand_over_the_eye_does_not_come_along(neutral: Neutral) -> None:
    """The frame that knows the eye best has a hand over it; the next best shows the eye."""
    target = PUPPET.landmarks(Pose(lids=(0.5, 0.5)))
    covered = PUPPET.landmarks(Pose(lids=(0.5, 0.5), hands=(None, (-1.4, 1.8))))
    hands = covered.hands.copy()
    hands[RIGHT, :, :2] += covered.face[topo.EYE_RIGHT, :2].mean(0) - hands[RIGHT, 8, :2]
    bank = [replace(covered, hands=hands), PUPPET.landmarks(Pose(lids=(0.7, 0.7)))]
    choice = KeyFrameChooser(bank, neutral).choose(target)
    assert choice["eye_right"] == choice["head"] == 1
    away = [covered, bank[1]]
    assert KeyFrameChooser(away, neutral).choose(target)["eye_right"] == 0


def test_a_nearly_equal_frame_does_not_take_over(neutral: Neutral) -> None:
    """Between two equal key frames the choice must not flicker; a clearly nearer one wins at once."""
    left, right = PUPPET.landmarks(Pose(yaw_deg=-10)), PUPPET.landmarks(Pose(yaw_deg=10))
    chooser = KeyFrameChooser([left, right], neutral)
    head = [
        chooser.choose(PUPPET.landmarks(Pose(yaw_deg=yaw)))["head"]
        for yaw in (-6, -0.4, 0.4, -0.4, 0.4, 7, 0.4, -0.4, -7)
    ]
    assert head == [0, 0, 0, 0, 0, 1, 1, 1, 0]


def test_forgetting_forgets_the_last_choice(neutral: Neutral) -> None:
    bank = [PUPPET.landmarks(Pose(yaw_deg=yaw)) for yaw in (-10, 10)]
    chooser = KeyFrameChooser(bank, neutral)
    chooser.choose(PUPPET.landmarks(Pose(yaw_deg=-8)))
    middle = PUPPET.landmarks(Pose(yaw_deg=0.4))
    assert chooser.choose(middle)["head"] == 0
    chooser.forget()
    assert chooser.choose(middle)["head"] == 1


def test_forbidden_frames_are_not_chosen(chooser: KeyFrameChooser) -> None:
    target = PUPPET.landmarks(Pose(mouth=0.25))
    assert chooser.choose(target)["mouth"] == OPEN
    forbidden = np.zeros(len(BANK), bool)
    forbidden[OPEN] = True
    assert OPEN not in chooser.choose(target, forbidden).values()


def test_a_hand_is_dropped_when_its_only_frame_is_forbidden(chooser: KeyFrameChooser) -> None:
    forbidden = np.zeros(len(BANK), bool)
    forbidden[WAVING] = True
    choice = chooser.choose(PUPPET.landmarks(Pose(hands=(None, (-1.4, 1.8)))), forbidden)
    assert "hand_right" not in choice
    assert WAVING not in choice.values()


def test_a_face_that_is_lost_counts_as_resting(neutral: Neutral) -> None:
    """Whatever its coordinates are: a file from elsewhere may have them all zero."""
    lost = replace(PUPPET.landmarks(Pose(x=0.3)), face=np.zeros((478, 3), np.float32), face_confidence=0.0)
    features = region_features(lost, neutral)
    assert np.allclose(features["head"], 0, atol=1e-3)
    assert np.allclose(features["mouth"], 0, atol=1e-3)
    assert all(np.isfinite(values).all() for values in features.values())


def test_features_grow_with_what_they_name(
    neutral: Neutral,
) -> None:
    rest = region_features(PUPPET.landmarks(Pose(x=0.0)), neutral)
    assert set(rest) == set(REGIONS)
    for region, pose in {
        "head": Pose(yaw_deg=15),
        "mouth": Pose(mouth=0.15),
        "eye_left": Pose(lids=(0.0, 1.0)),
        "eye_right": Pose(lids=(1.0, 0.0)),
        "torso": Pose(sway=(0.4, 0.0)),
    }.items():
        moved = region_features(PUPPET.landmarks(pose), neutral)
        distance = {name: float(np.linalg.norm(moved[name] - rest[name])) for name in REGIONS}
        assert distance[region] > 0.3, region
        if region.startswith("eye"):
            assert distance["mouth"] < 0.05
            assert distance[region] == max(distance.values())


# Selecting the bank


def cluster(pose: Pose, count: int, seed: int) -> list[Landmarks]:
    rng = np.random.default_rng(seed)
    return [
        PUPPET.landmarks(replace(pose, yaw_deg=pose.yaw_deg + rng.normal(0, 0.3), x=rng.normal(0, 0.01)))
        for _ in range(count)
    ]


def test_a_bank_covers_every_cluster_however_rare() -> None:
    """Two hundred frames of rest, and five each of what the avatar must also be able to do."""
    rare = [Pose(yaw_deg=20), Pose(yaw_deg=-20), Pose(mouth=0.3), Pose(lids=(0.0, 0.0)), Pose(pitch_deg=15)]
    frames = cluster(Pose(), 200, 0)
    groups = [range(200)]
    for index, pose in enumerate(rare):
        groups.append(range(len(frames), len(frames) + 5))
        frames += cluster(pose, 5, index + 1)
    chosen = select_bank(frames, build_neutral(frames), size=8)
    assert len(chosen) == len(set(chosen)) <= 8
    assert chosen[0] in groups[0]  # the first is at rest
    for group in groups:
        assert set(chosen) & set(group), f"none of frames {group.start} to {group.stop}"


def test_a_bank_shows_hands_when_the_footage_does() -> None:
    frames = cluster(Pose(), 100, 0) + cluster(Pose(hands=(None, (-1.4, 1.8))), 30, 1)
    chosen = select_bank(frames, build_neutral(frames), size=4)
    assert any(index >= 100 for index in chosen)


def test_faceless_frames_are_never_chosen() -> None:
    frames = [*cluster(Pose(), 10, 0), *[Landmarks(256, 256)] * 10, *cluster(Pose(yaw_deg=15), 10, 1)]
    chosen = select_bank(frames, build_neutral(frames), size=24)
    assert chosen
    assert not set(chosen) & set(range(10, 20))


def test_a_bank_is_no_larger_than_the_footage() -> None:
    frames = cluster(Pose(), 3, 0)
    assert set(select_bank(frames, build_neutral(frames))) <= {0, 1, 2}
