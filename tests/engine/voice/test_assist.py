"""A voice helps lips that are badly seen: how much, when, and without a jump."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.person.motion import Motion
from engine.voice.assist import LipAssist
from engine.voice.driver import SpokenLips, VoiceDriver
from engine.voice.idle import Idle
from tests.engine.voice.test_driver import NEUTRAL, OPEN, SOUND, camera, gaping

FPS = 25
HOLD_S = 0.26


def shares(sights: list[float], heeded: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """(n,) share of the voice, and how late lips are, for each picture."""
    assist, found = LipAssist(), []
    for at, sight in enumerate(sights):
        assist.update(at / FPS, sight, heeded)
        found.append((assist.share, assist.late))
    share, late = np.array(found, np.float32).T
    return share, late


def test_it_comes_and_goes_slowly() -> None:
    share, late = shares([1.0] * 50 + [0.0] * 100 + [1.0] * 150)
    assert not share[:55].any()
    assert share[110:150] == pytest.approx(1.0, abs=0.05)
    assert late[110:150] == pytest.approx(1.0)
    assert share[-1] == late[-1] == 0.0
    assert np.abs(np.diff(share)).max() <= 1 / (0.6 * FPS) + 1e-6
    assert np.abs(np.diff(late)).max() <= 1 / FPS + 1e-6
    assert (share <= late).all()


def test_a_moment_in_the_dark_changes_nothing() -> None:
    share, late = shares(([1.0] * 20 + [0.0] * 6) * 6)
    assert not share.any()
    assert not late.any()


def test_half_seen_lips_are_half_the_voices_and_a_refused_voice_helps_nothing() -> None:
    assert shares([0.5] * 100)[0][-1] == pytest.approx(0.5, abs=0.02)
    assert not shares([0.0] * 100, heeded=0.0)[0].any()


def spoken(sights: list[float], refuses: bool = False) -> list[Motion]:
    """Somebody whose lips the camera takes for shut says something for long."""
    lips = SpokenLips(gaping(), kept_rows=None)
    lips.push(np.tile(SOUND[16_000 : 3 * 16_000], 5))
    driver, found = VoiceDriver(lips, Idle(1), hold_s=HOLD_S), []
    driver.refuses, seen = refuses, camera(yaw_deg=5.0)
    for at, sight in enumerate(sights):
        driver.at(at / FPS, at / FPS)
        driver._seen_lips = sight
        motion = driver.motion(seen, NEUTRAL)
        assert motion is not None
        found.append(motion)
    return found


def test_lips_follow_the_voice_where_the_camera_sees_none_and_nothing_jumps() -> None:
    motions = spoken([1.0] * 35 + [0.0] * 60 + [1.0] * 135)[10:]  # at first the voice gives way to the camera
    gaps = np.array([motion.lip_gap for motion in motions]) - float(NEUTRAL.lip_closed)
    assert gaps[:25] == pytest.approx(gaps[0])
    assert gaps[70:85].mean() == pytest.approx(OPEN, rel=0.2)
    assert gaps[-1] == pytest.approx(gaps[0], abs=1e-3)
    apart = [np.abs(after.expression - before.expression).max() for before, after in pairwise(motions)]
    assert max(apart) * 50.0 < 2.0  # px, of a head of which a unit is 50 px: a face of 110 px


def test_a_refused_voice_leaves_the_cameras_lips() -> None:
    motions = spoken([0.0] * 60, refuses=True)[10:]
    assert motions[-1].lip_gap == pytest.approx(motions[0].lip_gap, abs=1e-3)
