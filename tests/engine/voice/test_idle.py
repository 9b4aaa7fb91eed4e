"""Idle life: never still, never a jump, at the person's own rates, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.person.landmarks import Landmarks
from engine.person.retarget import Retargeter
from engine.voice.idle import Habits, Idle
from engine.voice.motion_code import CHEST, HEAD, LIDS, LIPS, decode

FPS = 25


def targets(avatar: Avatar, idle: Idle, seconds: float) -> list[Landmarks]:
    retargeter = Retargeter(avatar.neutral, avatar.support, avatar.torso, avatar.size)
    count = round(seconds * FPS)
    return [retargeter.target(decode(idle.code_at(index / FPS), avatar.neutral)) for index in range(count)]


def lids(idle: Idle, seconds: float) -> FloatArray:
    """(N,) how far open."""
    return np.stack([idle.code_at(index / FPS)[LIDS][0] for index in range(round(seconds * FPS))])


@pytest.mark.parametrize("seed", [0, 5])
def test_nothing_jumps_and_nothing_freezes(puppet_avatar: Avatar, seed: int) -> None:
    """At 256 px: no landmark goes further than 2 px in a frame, and none keeps still for a second."""
    faces = np.stack([frame.face[:, :2] for frame in targets(puppet_avatar, Idle(seed), 40.0)])
    faces *= 256 / puppet_avatar.size
    assert np.linalg.norm(np.diff(faces, axis=0), axis=2).max() < 2.0
    moved = np.abs(faces[FPS:] - faces[:-FPS]).max(axis=(1, 2))
    assert moved.min() > 0.1


def test_the_chest_breathes() -> None:
    rises = [idle_chest(at) for at in np.arange(0.0, 60.0, 0.1)]
    crossings = np.count_nonzero(np.diff(np.sign(rises)) > 0)
    assert crossings == pytest.approx(15, abs=1)


def idle_chest(time_s: float) -> float:
    return float(Idle(1).code_at(time_s)[CHEST][1])


@pytest.mark.parametrize("per_min", [6.0, 17.0, 40.0])
def test_blinks_come_at_the_persons_rate_and_shut_the_eyes(per_min: float) -> None:
    openness = lids(Idle(3, Habits(blinks_per_min=per_min, glance_deg=0.0)), 120.0)
    begun = np.count_nonzero((openness[1:] < 0.5) & (openness[:-1] >= 0.5))
    assert begun / 2 == pytest.approx(per_min, rel=0.15)
    assert openness.min() < 0.02
    assert (openness > 0.95).mean() > 0.6


def test_who_never_blinks_does_not() -> None:
    assert lids(Idle(0, Habits(blinks_per_min=0.0, glance_deg=0.0)), 20.0).min() == pytest.approx(1.0)


def test_a_seed_is_a_life() -> None:
    same, other = Idle(4), Idle(5)
    for time_s in (0.0, 3.3, 100_000.7):
        assert np.array_equal(Idle(4).code_at(time_s), same.code_at(time_s))
        assert not np.allclose(same.code_at(time_s)[HEAD], other.code_at(time_s)[HEAD])


def test_lips_stay_shut() -> None:
    for time_s in np.arange(0.0, 20.0, 0.7):
        assert not Idle(2).code_at(time_s)[LIPS].any()
