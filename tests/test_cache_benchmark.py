"""The cache's instrument: colours, flicker and drift on pictures made by hand; its rows on a puppet."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmarks.cache import (
    REPETITION,
    Flicker,
    Shown,
    as_tracked,
    cheek_colour,
    cloth_colour,
    drift,
    follower,
    measure_variant,
    performance,
    variants,
)
from benchmarks.colour import de2000, lab
from benchmarks.puppet import Pose, Puppet
from benchmarks.puppet_stage import DRIVER
from engine.avatar import Avatar
from engine.temporal_cache import CacheConfig

PUPPET = Puppet(128)


# Colours


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [  # from the table of Sharma, Wu and Dalal
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_difference(one: tuple[float, ...], other: tuple[float, ...], apart: float) -> None:
    assert de2000(np.array(one, float), np.array(other, float)) == pytest.approx(apart, abs=1e-4)
    assert de2000(np.array(other, float), np.array(one, float)) == pytest.approx(apart, abs=1e-4)


def test_lab_of_known_colours() -> None:
    assert lab(np.full(3, 255.0)) == pytest.approx([100, 0, 0], abs=1e-6)
    assert lab(np.array([255.0, 0, 0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert lab(np.zeros(3)) == pytest.approx([0, 0, 0], abs=1e-6)


def test_drift_compares_whole_repetitions_with_the_first() -> None:
    red = np.array([200.0, 150.0, 140.0])
    colours = [
        *[red] * 10,
        *[red + 3.0] * 10,
        *[red + 1.0] * 10,
        *[red + 50.0] * 4,
    ]  # the last one is not whole
    found = drift(colours, 10)
    assert found["last"] == pytest.approx(de2000(lab(red), lab(red + 1.0)), abs=1e-3)
    assert found["most"] == pytest.approx(de2000(lab(red), lab(red + 3.0)), abs=1e-3)
    assert drift(colours, 30) == {"last": None, "most": None}


# Pictures


def shown(pose: Pose, brighter: int = 0) -> Shown:
    landmarks = PUPPET.landmarks(pose)
    return Shown(PUPPET.picture(landmarks)[0] + np.uint8(brighter), landmarks, 1.0, reused=False)


def test_cheeks_and_cloth_are_where_they_are_painted() -> None:
    one = shown(Pose())
    painted = one.rgb.copy()
    painted[90:] = (10, 60, 110)
    below = Shown(painted, one.target, 1.0, reused=False)
    assert cloth_colour(below) == pytest.approx([10, 60, 110])
    assert cheek_colour(below) == pytest.approx(cheek_colour(one))


def test_flicker_is_the_change_on_the_person(puppet_avatar: Avatar) -> None:
    flicker = Flicker(follower(puppet_avatar), follow=False)
    for brighter in (0, 3, 3, 0):
        flicker.add(shown(Pose(), brighter))
    assert flicker.changes == [3.0, 0.0, 3.0]
    assert flicker.mean == 2.0


def test_motion_is_taken_out_before(puppet_avatar: Avatar) -> None:
    """The head moves by a tenth of its unit: most of the change is motion, and goes."""
    follower_ = follower(puppet_avatar)
    plain, compensated = Flicker(follower_, follow=False), Flicker(follower_, follow=True)
    for x in (0.0, 0.1, 0.2):
        for flicker in (plain, compensated):
            flicker.add(shown(Pose(x=x, sway=(x, 0.0))))
    assert compensated.mean < 0.6 * plain.mean


# The driver and the rows


def test_the_performance_ends_where_it_begins() -> None:
    acts = performance()
    assert abs(len(acts) - REPETITION) <= 2
    assert abs(acts[-1].yaw_deg - acts[0].yaw_deg) < 2.0


def test_a_still_driver_jitters_like_a_tracked_one() -> None:
    told = as_tracked([Pose()] * 50, seed=1)
    face = np.stack([one.face[:, :2] for one in told])[10:]
    assert 0.0 < face.std(0).mean() < 0.1
    assert np.abs(face.mean(0) - DRIVER.landmarks().face[:, :2]).mean() < 0.1


def test_each_part_is_off_once() -> None:
    kinds = variants()
    parts = len(kinds) - 2
    assert kinds["nothing"] == CacheConfig()
    assert kinds["everything"] == CacheConfig(*[False] * parts)
    assert not kinds["pose_gate"].pose_gate
    assert kinds["pose_gate"].previous_output


def test_a_row(puppet_avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the null runner the gate is what calms a still picture."""
    monkeypatch.setattr("benchmarks.cache.STILL", 20)
    monkeypatch.setattr("benchmarks.cache.REPETITION", 20)
    monkeypatch.setattr("benchmarks.cache.BODY_PX", 0.05)
    args = argparse.Namespace(runner="null", threads=0, drift_seconds=1.6)
    rows = {
        off: measure_variant(puppet_avatar, CacheConfig(pose_gate=gate), args)
        for off, gate in (("nothing", True), ("pose_gate", False))
    }
    assert rows["nothing"]["reused_still"] > 0.5
    assert rows["pose_gate"]["reused_still"] == 0.0
    assert rows["nothing"]["flicker_still"] < rows["pose_gate"]["flicker_still"]
    assert rows["nothing"]["flicker_moving"] > 0
    assert rows["nothing"]["pictures"] == 2 * 20 + 20
    assert rows["nothing"]["drift_de2000"]["cheek"]["most"] < 1.0
