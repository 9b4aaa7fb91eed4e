"""The drift instrument: drifts made by hand are found, and where there is none, none is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.pictures import drift
from benchmarks.pictures.drift import (
    BOUNDS,
    Act,
    Look,
    beside_footage,
    change_between,
    cheek_colour,
    cloth_colour,
    drive,
    failures,
    is_still,
    look_at,
    rows_of,
    trends,
)
from engine.avatar.avatar import Avatar
from engine.errors import SettingsError
from engine.person.landmarks import Landmarks
from export.footage.prepared import Prepared
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import DRIVER, Make

ROUND = 100  # frames, at 25 a second
FRAME_NS = 40_000_000


def driven(minutes: float, change: Callable[[Look], Look] = lambda look: look) -> list[Look]:
    """A driver whose every frame looks different, the same in each round, with a little noise on top."""
    rng = np.random.default_rng(7)
    looks = []
    for index in range(round(minutes * 1500)):
        swing = math.sin(2 * math.pi * index / ROUND)
        noise = rng.normal(0, 0.2, 3)
        look = Look(
            time_ns=index * FRAME_NS,
            frame=index % ROUND,
            cheek=np.array([200.0, 150.0, 140.0]) + 20 * swing + noise,
            cloth=np.array([40.0, 60.0, 90.0]) - 10 * swing + noise,
            fine=1000 * (2 + swing) + float(noise[0]),
            change=3 * (2 + swing) + 0.1 * float(noise[1]),
        )
        looks.append(change(look))
    return looks


def minute(look: Look) -> float:
    return look.time_ns / 60e9


def found(looks: list[Look]) -> list[str]:
    return failures(trends(rows_of(looks, 60.0)))


def test_a_steady_avatar_passes_although_its_driver_moves() -> None:
    rows = rows_of(driven(6.0), 60.0)
    assert [row["minute"] for row in rows] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert all(row["cheek"] < 0.1 and abs(row["sharpness"] - 1) < 0.01 for row in rows)
    assert failures(trends(rows)) == []


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        (
            lambda look: replace(look, cheek=look.cheek * (1 + 0.005 * minute(look))),
            ["cheek apart", "cheek slope_per_min"],
        ),
        (lambda look: replace(look, cloth=look.cloth - 0.8 * minute(look)), ["cloth apart"]),
        (
            lambda look: replace(look, fine=look.fine * 0.985 ** minute(look)),
            ["sharpness apart", "sharpness slope_per_min: -0.01"],
        ),
        (
            lambda look: replace(look, change=look.change * (1 + 0.03 * minute(look))),
            ["flicker apart", "flicker slope_per_min: +0.03"],
        ),
    ],
)
def test_a_drift_made_by_hand_is_found(change: Callable[[Look], Look], complaints: list[str]) -> None:
    said = found(driven(10.0, change))
    for complaint in complaints:
        assert any(text.startswith(complaint) for text in said), said
    part = complaints[0].split()[0]
    assert all(text.startswith(part) for text in said)


def test_a_step_is_found_as_well_as_a_slope() -> None:
    said = found(driven(10.0, lambda look: replace(look, fine=look.fine * (0.8 if minute(look) > 5 else 1))))
    assert any(text.startswith("sharpness apart: -0.2") for text in said)


def test_too_short_a_drive_is_refused_or_not_judged() -> None:
    with pytest.raises(SettingsError, match="show the clips once"):
        rows_of(driven(0.06), 60.0)
    assert "cheek slope_per_min: too few rows; give more --minutes" in found(driven(2.0))


# Pictures


def test_one_picture_is_measured() -> None:
    landmarks = Puppet(128).landmarks(Pose())
    picture, _ = Puppet(128).picture(landmarks)
    brighter = picture + np.uint8(4)
    look = look_at(brighter, landmarks, picture, 0, 0)
    assert look.change == 4.0
    assert look.fine > 0
    assert look_at(picture, landmarks, None, 0, 0).change == 0.0
    left = np.zeros((128, 128), bool)
    left[:, :64] = True
    brighter[:, 64:] = 0
    assert change_between(picture, brighter, left) == 4.0


def test_cheeks_and_cloth_are_where_they_are_painted() -> None:
    landmarks = Puppet(128).landmarks(Pose())
    picture, _ = Puppet(128).picture(landmarks)
    painted = picture.copy()
    painted[90:] = (10, 60, 110)
    assert cloth_colour(painted, landmarks) == pytest.approx([10, 60, 110])
    assert cheek_colour(painted, landmarks) == pytest.approx(cheek_colour(picture, landmarks))


def test_acts_go_there_and_back_and_come_again(make: Make) -> None:
    pipeline = make([]).pipeline
    clips = [[DRIVER.landmarks(pose) for pose in lively(count, seed=count)] for count in (10, 6)]
    acts = [Act.of(clip, 25.0) for clip in clips]
    assert [len(act.frames) for act in acts] == [18, 10]
    looks = list(drive(pipeline, acts, 80 * 0.04 / 60))
    assert [look.frame for look in looks[:30]] == [*range(28), 0, 1]
    assert len(looks) == 80
    assert np.diff([look.time_ns for look in looks]).tolist() == [FRAME_NS] * 79
    # With the null runner and the same driver a round looks like the one before.
    (row,) = rows_of(looks[28:], 60.0)
    assert row["cheek"] < 0.5
    assert row["sharpness"] == pytest.approx(1.0, abs=0.05)


def test_beside_the_footage(puppet_avatar: Avatar) -> None:
    nodding = [Pose(pitch_deg=10 * math.sin(index)) for index in range(25)]
    poses = [*lively(200, seed=2), *[Pose()] * 25, *nodding]
    rgb, matte, landmarks = Puppet(128).film(poses)
    noise = np.random.default_rng(1).integers(0, 4, rgb.shape, np.uint8)
    noisy = Prepared(25.0, rgb // 2 + noise, matte, landmarks, np.zeros(len(rgb), np.int32))
    report = beside_footage(puppet_avatar, noisy, "null")
    still, moving = report["still"], report["moving"]
    pairs, in_footage, in_avatar = (still[name] or 0.0 for name in ("pairs", "footage", "avatar"))
    assert 20 <= pairs <= 35  # nods turn round, and are still for a moment
    assert in_footage == pytest.approx(1.3, abs=0.15)  # 1.25 is the mean difference of two such noises
    assert in_avatar < 0.3  # the pose gate sends the last picture again
    assert (moving["footage"] or 0.0) > in_footage
    short = replace(noisy, rgb=rgb[:20], matte=matte[:20], landmarks=landmarks[:20], shot=noisy.shot[:20])
    assert beside_footage(puppet_avatar, short, "null")["still"]["footage"] is None


def test_still_is_by_the_canvas() -> None:
    one = Puppet(128).landmarks(Pose())
    assert is_still(one, one.transformed(1.0, 0.2, 0.0, 128, 128), 128)
    assert not is_still(one, one.transformed(1.0, 0.4, 0.0, 128, 128), 128)
    raised, higher = (Puppet(128).landmarks(Pose(hands=((1.4, y), None))) for y in (1.9, 2.0))
    assert is_still(raised, raised, 128)
    assert not is_still(raised, higher, 128)
    assert not is_still(one, raised, 128)


def test_the_whole_instrument(puppet_avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    clip: list[Landmarks] = [DRIVER.landmarks(pose) for pose in lively(20, seed=1)]
    monkeypatch.setattr(drift, "load_avatar", lambda _: puppet_avatar)
    monkeypatch.setattr(drift, "track_clip", lambda *_: clip)
    options = "--minutes 0.1 --row-seconds 1.5 --runner null"
    figures = drift.measure(drift.main.options(options.split()))
    assert set(figures["drift"]) == set(figures["bounds"]) == set(BOUNDS)
    assert figures["config"]["drivers"] == ["presenter_driver.mp4"]
    assert figures["beside_footage"] is None
