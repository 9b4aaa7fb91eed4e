"""Pieces of a key frame: where they are, and what they cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.render.patches import (
    FADE,
    IRIS_GAIN,
    IRIS_GIVES_WAY,
    LID_EDGE,
    Gaze,
    arm_box,
    arm_mask,
    arm_points,
    arm_weights,
    clipped,
    elbow_known,
    face_box,
    hand_presence,
    look,
    shown_arm,
)
from engine.render.warp import Flow, cell_middles
from tests.support.puppet import Pose, Puppet

SIZE = 256
PUPPET = Puppet(SIZE)
WAVING = PUPPET.landmarks(Pose(hands=((1.5, 1.6), None)))
BODY_PX = float(np.linalg.norm(np.subtract(*WAVING.pose[topo.SHOULDERS, :2])))


def without_elbows(landmarks: Landmarks) -> Landmarks:
    seen = landmarks.pose_confidence.copy()
    seen[topo.ELBOWS] = 0.0
    return replace(landmarks, pose_confidence=seen)


@pytest.mark.parametrize("region", ["mouth", "eye_left", "eye_right"])
def test_a_face_box_holds_its_part(region: str) -> None:
    rows = {"mouth": topo.LIPS_OUTER, "eye_left": topo.EYE_LEFT, "eye_right": topo.EYE_RIGHT}[region]
    box = face_box(region, WAVING)
    assert box is not None
    assert (WAVING.face[rows, :2] > box[:2]).all()
    assert (WAVING.face[rows, :2] < box[2:]).all()


@pytest.mark.parametrize("scale", [1e4, np.nan])
def test_points_that_make_no_sense_have_no_box(scale: float) -> None:
    wild = replace(WAVING, face=WAVING.face * np.float32(scale))
    assert face_box("mouth", wild) is None
    assert arm_box(arm_points(WAVING, LEFT, True, BODY_PX) * np.float32(scale), BODY_PX, SIZE) is None


def test_a_box_is_clipped_to_the_canvas() -> None:
    assert clipped((-5, 10, 40, 300), SIZE) == (0, 10, 40, SIZE)
    assert clipped((-50, 10, 7, 60), SIZE) is None
    assert clipped((300, 300, 400, 400), SIZE) is None


def test_a_forearm_runs_to_the_elbow_or_on_from_the_palm() -> None:
    assert elbow_known(WAVING, LEFT)
    assert not elbow_known(without_elbows(WAVING), LEFT)
    wrist, knuckle = WAVING.hands[LEFT, 0, :2], WAVING.hands[LEFT, 9, :2]
    known = arm_points(WAVING, LEFT, True, BODY_PX)
    assert len(known) == len(arm_weights())
    assert np.array_equal(known[:21], WAVING.hands[LEFT, :, :2])
    assert np.allclose(known[-2:].mean(0), WAVING.pose[topo.ELBOWS[LEFT], :2], atol=1e-3)
    guessed = arm_points(WAVING, LEFT, False, BODY_PX)[-2:].mean(0) - wrist
    away = wrist - knuckle
    assert guessed @ away > 0.99 * np.linalg.norm(guessed) * np.linalg.norm(away)


def test_a_mask_covers_hand_and_forearm_alone() -> None:
    points = arm_points(WAVING, LEFT, True, BODY_PX)
    mask = arm_mask(points, (0, 0, SIZE, SIZE), BODY_PX)
    inside = [points[0], points[9], (points[0] + points[-2:].mean(0)) / 2]
    assert all(mask[int(y), int(x)] > 242 for x, y in inside)
    x, y = WAVING.pose[topo.SHOULDERS[RIGHT], :2].astype(int)
    assert mask[y, x] == 0
    assert 0.02 < mask.mean() / 255 < 0.25
    assert arm_mask(points, (0, 0, SIZE, SIZE), BODY_PX, presence=0.4).max() == 102


def test_what_arms_cover_is_known_from_hand_or_wrist_or_not_at_all() -> None:
    elbow, wrist = WAVING.pose[topo.ELBOWS[LEFT], :2], WAVING.hands[LEFT, 0, :2]
    x, y = ((elbow + wrist) / 2).astype(int)
    lost = replace(WAVING, hand_confidence=np.zeros(2, np.float32))
    for landmarks in (WAVING, lost):
        assert shown_arm(landmarks, LEFT, SIZE, BODY_PX)[y, x] == 255
    tips = WAVING.hands[LEFT, topo.FINGERTIPS, :2].astype(int)
    assert all(shown_arm(WAVING, LEFT, SIZE, BODY_PX)[b, a] == 255 for a, b in tips)
    assert not shown_arm(WAVING, RIGHT, SIZE, BODY_PX).any()
    assert not shown_arm(without_elbows(lost), LEFT, SIZE, BODY_PX).any()


def test_a_hand_is_there_by_degrees() -> None:
    presence = [hand_presence(value) for value in (0.0, 0.5, 0.5 + FADE / 2, 0.5 + FADE, 1.0)]
    assert presence == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_an_iris_slides_between_the_lids(side: int) -> None:
    shift = np.array([0.6, -0.4], np.float32)
    moved = WAVING.face.copy()
    moved[topo.IRISES[side], :2] += shift
    box = clipped(face_box(("eye_left", "eye_right")[side], WAVING) or (0, 0, 0, 0), SIZE)
    assert box is not None
    flow = Flow(box, np.zeros((2, 11, 14), np.float32))
    look(flow, Gaze.of(side, WAVING, replace(WAVING, face=moved)))

    iris, eye = WAVING.face[topo.IRISES[side], :2], WAVING.face[topo.EYES[side], :2]
    radius = np.linalg.norm(iris[1:] - iris[0], axis=1).mean()
    x, y = np.meshgrid(*cell_middles(box, 11, 14))
    upper = eye[np.r_[8:16, 0]]
    depth = [np.interp(x, *lid[lid[:, 0].argsort()].T) - y for lid in (eye[:9], upper)]
    ways = (
        (IRIS_GIVES_WAY - np.hypot(x - iris[0, 0], y - iris[0, 1]) / radius) / (IRIS_GIVES_WAY - 1),
        np.minimum(depth[0], -depth[1]) / (LID_EDGE * radius),
    )
    share = np.prod([way**2 * (3 - 2 * way) for way in np.clip(ways, 0, 1)], axis=0)
    assert share.max() > 0.9
    assert np.abs(flow.grid - share * (IRIS_GAIN * shift)[:, None, None]).max() < 1e-4
