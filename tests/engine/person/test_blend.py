"""Blending two motions: each region by its own share, limbs by who saw them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.blend import Shares, blended
from engine.person.geometry import rotation_to_euler_deg
from engine.person.motion import Motion, build_neutral, motion_of
from tests.support.puppet import Pose, Puppet
from tests.support.rest import resting

PERSON = Puppet(200, shape_seed=3)
NEUTRAL = build_neutral([PERSON.landmarks()])
LIPS_ALONE = Shares(1.0, 0.0, 0.0, 0.0)
_BROWS = np.concatenate(topo.BROWS)


def motion(pose: Pose) -> Motion:
    return motion_of(PERSON.landmarks(pose), NEUTRAL)


STILL = motion(Pose())
BUSY = motion(Pose(yaw_deg=20, mouth=0.2, lids=(0.2, 0.2), x=0.2, hands=((1.4, 1.9), None)))


def yaw(rotation: FloatArray) -> float:
    return float(rotation_to_euler_deg(rotation)[0])


def test_lips_go_alone() -> None:
    mixed = blended(STILL, BUSY, LIPS_ALONE)
    assert mixed.lip_gap == pytest.approx(BUSY.lip_gap)
    lips = np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])
    assert np.allclose(mixed.expression[topo.LIPS_LOWER_INNER], BUSY.expression[topo.LIPS_LOWER_INNER])
    assert np.abs(BUSY.expression[lips]).max() > 0.05
    for points in (_BROWS, *topo.EYES, *topo.IRISES):
        assert np.array_equal(mixed.expression[points], STILL.expression[points])
    assert np.array_equal(mixed.lid_gap, STILL.lid_gap)
    assert np.allclose(mixed.rotation, STILL.rotation, atol=1e-6)
    assert np.array_equal(mixed.centre, STILL.centre)
    assert not mixed.hand_confidence.any()


def test_all_but_the_lips() -> None:
    mixed = blended(STILL, BUSY, Shares(0.0, 1.0, 1.0, 1.0))
    assert mixed.lip_gap == STILL.lip_gap
    assert yaw(mixed.rotation) == pytest.approx(yaw(BUSY.rotation), abs=1e-3)
    assert np.allclose(mixed.lid_gap, BUSY.lid_gap)
    assert np.allclose(mixed.hands, BUSY.hands)
    assert np.array_equal(mixed.hand_confidence, BUSY.hand_confidence)


def test_half_a_share_is_half_the_turn() -> None:
    mixed = blended(STILL, BUSY, Shares.of_all(0.5))
    assert yaw(mixed.rotation) == pytest.approx(0.5 * (yaw(STILL.rotation) + yaw(BUSY.rotation)), abs=0.1)
    assert np.allclose(mixed.rotation @ mixed.rotation.T, np.eye(3), atol=1e-5)
    assert mixed.lip_gap == pytest.approx(0.5 * (STILL.lip_gap + BUSY.lip_gap))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_motions_themselves(share: float) -> None:
    mixed, wanted = blended(STILL, BUSY, Shares.of_all(share)), BUSY if share else STILL
    for name in Motion.__slots__:
        assert np.allclose(getattr(mixed, name), getattr(wanted, name), atol=1e-5), name


def test_a_hand_that_one_has_seen_stays_where_it_was_seen() -> None:
    """Between 'there' and 'unseen' lies 'there, less surely'; never a place half way to nowhere."""
    left = 0
    for share in (0.3, 0.7):
        mixed = blended(BUSY, resting(NEUTRAL), Shares.of_all(share))
        assert np.allclose(mixed.hands[left], BUSY.hands[left])
        assert mixed.hand_confidence[left] == pytest.approx((1 - share) * BUSY.hand_confidence[left])


def test_the_lower_face_has_no_crease() -> None:
    """A jaw far down on a face at rest: what lies between is stretched, not torn."""
    triangles = topo.canonical_face()[1]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    opened = replace(STILL, expression=np.tile(np.array([0.0, 0.3, 0.0], np.float32), (478, 1)))
    moved = blended(STILL, opened, LIPS_ALONE).expression[:, 1]
    assert np.allclose(moved[topo.FACE_OVAL_TOP], 0.0, atol=1e-6)
    assert moved[topo.CHIN] == pytest.approx(0.3)
    assert np.abs(moved[edges[:, 0]] - moved[edges[:, 1]]).max() < 0.25
