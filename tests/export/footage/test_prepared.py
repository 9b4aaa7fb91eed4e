"""Prepared footage, its file, and what is learnt from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.avatar.members import person_arrays
from engine.errors import FootageError
from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.person.motion import motion_of
from engine.render.keyframes import KeyFrame
from export.footage.prepared import Identity, Prepared, background_plate, bare_torso, learn_identity
from tests.support.puppet import Pose, Puppet

SIZE = 128
PUPPET = Puppet(SIZE)
TRAINED = 60  # frames of the fixture before its held-out tail


# Prepared footage


def test_prepared_footage_survives_storing(prepared: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "prepared.npz"
    prepared.save(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = Prepared.load(path)
    assert again.fps == prepared.fps
    for name in ("rgb", "matte", "shot"):
        assert np.array_equal(getattr(again, name), getattr(prepared, name)), name
    for one, other in zip(again.landmarks, prepared.landmarks, strict=True):
        assert (one.width, one.height) == (other.width, other.height)
        for name in ("face", "pose", "pose_confidence", "hands", "hand_confidence", "chest"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert float(one.face_confidence) == float(other.face_confidence)
        assert float(one.chest_confidence) == float(other.chest_confidence)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def text(path: Path) -> None:
    path.write_text("no arrays here")


def other_arrays(path: Path) -> None:
    np.savez(path, something=np.zeros(3))


def pickled(path: Path) -> None:
    np.save(path, np.array([{"not": "numbers"}], object))
    path.with_suffix(".npz.npy").replace(path)


def one_array(path: Path) -> None:
    np.save(path, np.zeros(3))
    path.with_suffix(".npz.npy").replace(path)


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, garbled, text, other_arrays, one_array, pickled, missing])
def test_a_damaged_prepared_file_is_named(
    prepared: Prepared, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "prepared.npz"
    few = replace(
        prepared,
        rgb=prepared.rgb[:4],
        matte=prepared.matte[:4],
        landmarks=prepared.landmarks[:4],
        shot=prepared.shot[:4],
    )
    few.save(path)
    damage(path)
    with pytest.raises(FootageError, match=r"prepared\.npz: not prepared footage") as caught:
        Prepared.load(path)
    assert "\n" not in str(caught.value)


def test_the_tail_is_held_out(prepared: Prepared, identity: Identity) -> None:
    assert prepared.tail_start == TRAINED
    assert max(identity.bank) < TRAINED
    changed = replace(prepared, rgb=prepared.rgb.copy(), landmarks=list(prepared.landmarks))
    changed.rgb[TRAINED:] = 0
    changed.landmarks[TRAINED:] = [Landmarks(SIZE, SIZE)] * 15  # type: ignore[index]
    again = learn_identity(changed, bank_size=6)
    assert again.bank == identity.bank
    assert np.array_equal(again.plate, identity.plate)
    found, wanted = (person_arrays(one.neutral, one.support, one.torso) for one in (again, identity))
    for name, array in wanted.items():
        assert np.array_equal(found[name], array), name


# Identity


def test_a_hand_hardly_ever_seen_is_left_out(identity: Identity) -> None:
    """The puppet's footage shows the right hand only."""
    assert identity.neutral.hand_size[LEFT] == 0
    assert identity.neutral.hand_size[RIGHT] > 0


def test_key_frames_are_real_frames_with_the_chest_as_measured(
    prepared: Prepared, identity: Identity
) -> None:
    for index, key in zip(identity.bank, identity.keys, strict=True):
        assert np.array_equal(key.rgba[..., :3], prepared.rgb[index])
        assert np.array_equal(key.rgba[..., 3], prepared.matte[index])
        assert np.array_equal(key.landmarks.face, prepared.landmarks[index].face)
    sways = np.array([prepared.landmarks[index].chest[0] for index in identity.bank])
    shoulders = np.array([key.landmarks.pose[topo.SHOULDERS, 0].mean() for key in identity.keys])
    assert np.ptp(sways) > 0.4
    assert shoulders - shoulders.mean() == pytest.approx(sways - sways.mean(), abs=0.1)


def test_own_motion_reaches_the_learnt_person(prepared: Prepared, identity: Identity) -> None:
    retargeter = identity.retargeter()
    frame = prepared.landmarks[30]
    target = retargeter.target(motion_of(frame, identity.neutral))
    assert np.abs(target.face[:, :2] - frame.face[:, :2]).max() < 0.5


def test_the_plate_is_the_wall_behind() -> None:
    puppet = Puppet(SIZE)
    rgb, matte, _ = puppet.film([Pose(x=x, sway=(x, 0.0)) for x in np.linspace(-1.2, 1.2, 41)])
    plate = background_plate(rgb, matte)
    error = np.abs(plate.astype(int) - puppet.wall).max(axis=2)
    shown = (matte < 25).sum(0) >= 20
    assert error[shown].mean() < 2.0
    assert np.percentile(error[shown], 99) < 12
    assert shown.mean() > 0.6


def test_footage_without_a_face_is_refused(prepared: Prepared) -> None:
    empty = replace(prepared, landmarks=[Landmarks(SIZE, SIZE)] * 75)
    with pytest.raises(FootageError, match="no face"):
        learn_identity(empty)


# The torso without arms


def drawn(pose: Pose) -> KeyFrame:
    landmarks = PUPPET.landmarks(pose)
    rgb, matte = PUPPET.picture(landmarks)
    return KeyFrame(np.dstack([rgb, matte]), landmarks)


def test_arms_that_move_leave_the_torso_behind_them(identity: Identity) -> None:
    """One arm up, then the other: what is behind each shows while the other is up."""
    left, right = ((1.5, 1.6), None), (None, (-1.5, 1.6))
    keys = [drawn(Pose(x=0.02 * index, hands=hands)) for index, hands in enumerate([left, right] * 4)]
    found = bare_torso(keys, identity.neutral)
    assert found is not None
    assert found.shape == (SIZE, SIZE, 4)
    for side in (LEFT, RIGHT):
        arm = keys[side].landmarks
        wrist, elbow = arm.hands[side, 0, :2], arm.pose[topo.ELBOWS[side], :2]
        for place in (arm.hands[side, 9, :2], wrist, 0.6 * wrist + 0.4 * elbow):
            x, y = place.astype(int)
            assert keys[side].rgba[y, x, 3] > 200
            assert found[y, x, 3] < 30


def test_without_arms_there_is_nothing_to_take_away(identity: Identity) -> None:
    assert bare_torso([drawn(Pose(x=x)) for x in (0.0, 0.1)], identity.neutral) is None
