"""A face that listens: nods in pauses, within a person's rate, without a jump, and not while it speaks."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.conversation.listening import NOD_S, Listening, Overheard
from engine.conversation.turns import State
from engine.person import topology as topo
from engine.person.geometry import rotation_to_euler_deg
from engine.person.motion import Motion
from engine.person.retarget import Retargeter
from engine.voice.idle import Habits
from engine.voice.motion_code import CODE, LIDS, decode
from tests.support.sounds import babble, hush

FPS = 25
HABITS = Habits(nods_per_min=12.0, nod_deg=4.0)


@pytest.fixture
def retargeter(puppet_avatar: Avatar) -> Retargeter:
    return Retargeter(puppet_avatar.neutral, puppet_avatar.support, puppet_avatar.torso, puppet_avatar.size)


def still(retargeter: Retargeter) -> Motion:
    """At rest, the eyes turned a little."""
    code = np.zeros(CODE, np.float32)
    code[LIDS] = 1.0
    return decode(code, retargeter.avatar)


def played(
    own: FloatArray, other: FloatArray, retargeter: Retargeter, share: float = 1.0
) -> tuple[Listening, list[State], list[Motion]]:
    overheard = Overheard(Listening(HABITS, 1), own, other)
    states, motions = [], []
    for picture in range(len(other) * FPS // 16_000):
        states.append(overheard.at(picture / FPS, share))
        motions.append(overheard.listening.adjusted(still(retargeter), retargeter, 0))
    return overheard.listening, states, motions


def pitches(motions: list[Motion], retargeter: Retargeter) -> FloatArray:
    """Degrees, down."""
    rest = retargeter.avatar.rotation
    return np.array([rotation_to_euler_deg(one.rotation @ rest.T)[1] for one in motions])


STORY = np.concatenate([hush(0.5), *[np.concatenate([babble(2.2), hush(0.45)])] * 7, hush(1.0)])
PAUSES_S = [0.5 + 2.2 + 2.65 * number for number in range(7)]


def test_it_nods_in_pauses_and_no_more_than_its_person(retargeter: Retargeter) -> None:
    listening, states, motions = played(hush(20), STORY, retargeter)
    assert states.count(State.LISTENS) > 0.85 * len(states)
    assert 2 <= len(listening.nods_s) <= 1 + 12.0 * len(STORY) / 16_000 / 60 + 0.5
    in_pause = [any(0.0 < nod - begins < 0.5 for begins in PAUSES_S) for nod in listening.nods_s]
    assert np.mean(in_pause) >= 0.75
    first = round((listening.nods_s[0] + NOD_S / 2) * FPS)
    assert 2.5 < pitches(motions, retargeter)[first] < 5.5


def test_nothing_jumps_when_turns_change_and_one_interrupts(
    puppet_avatar: Avatar, retargeter: Retargeter
) -> None:
    own = np.concatenate([hush(2.9), babble(1.5), hush(1.0), hush(0.6)])
    other = np.concatenate([babble(2.2), hush(0.5), babble(1.2), hush(0.3), babble(1.0), hush(0.8)])
    _, states, motions = played(own, other, retargeter)
    assert {State.SPEAKS, State.LISTENS} <= set(states)
    faces = np.stack([retargeter.target(one).face[:, :2] for one in motions])
    faces *= 256 / puppet_avatar.size
    assert np.linalg.norm(np.diff(faces, axis=0), axis=2).max() < 2.0


def test_who_speaks_does_not_nod(retargeter: Retargeter) -> None:
    listening, _, motions = played(babble(8.0), hush(8.0), retargeter)
    assert not listening.nods_s
    assert np.abs(pitches(motions, retargeter)).max() < 0.01


def test_laughter_is_answered_by_the_persons_own_smile(retargeter: Retargeter) -> None:
    times = np.arange(800 * 4) / 16_000
    call = np.asarray(
        0.2 * np.sign(np.sin(2 * np.pi * 200 * times)) * np.sin(np.pi * times / 0.2), np.float32
    )
    other = np.concatenate([babble(1.0), *[np.concatenate([call[:1600], hush(0.1)])] * 7, hush(0.5)])
    _, _, motions = played(hush(3), other, retargeter)
    corners = [-float(one.expression[list(topo.MOUTH_OUTER_CORNERS), 1].mean()) for one in motions]
    assert max(corners[-10:]) > 0.01 + corners[20]
    lips = [one.lip_gap for one in motions]
    assert np.ptp(lips) == 0.0  # shut as before


def test_where_a_camera_drives_nothing_is_added(retargeter: Retargeter) -> None:
    _, states, motions = played(hush(20), STORY[: 16_000 * 6], retargeter, share=0.0)
    assert State.LISTENS in states
    assert np.abs(pitches(motions, retargeter)).max() < 0.01
