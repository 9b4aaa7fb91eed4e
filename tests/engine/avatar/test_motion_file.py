"""Recorded motion: kept to the last bit, and whatever is wrong with a file is one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.motion_file import RecordedMotion, load_motion, save_motion
from engine.errors import AvatarcastError, FileError, PackageError
from engine.person.landmarks import Landmarks
from tests.support.puppet import Pose, Puppet, lively

TIMES_S = (0.0, 0.033367, 0.066733, 1000.5)


@pytest.fixture
def motion() -> RecordedMotion:
    frames = [replace(Puppet(128).landmarks(pose), width=128, height=96) for pose in lively(3, seed=2)]
    lost = replace(frames[0], face_confidence=0.0, person=2)
    return RecordedMotion([*frames, lost], TIMES_S, Fraction(30000, 1001))


@pytest.fixture
def path(tmp_path: Path, motion: RecordedMotion) -> Path:
    file = tmp_path / "talk.motion"
    save_motion(file, motion)
    return file


def test_it_is_kept_to_the_last_bit(path: Path, motion: RecordedMotion) -> None:
    again = load_motion(path)
    assert again.rate == motion.rate
    assert again.times_s == list(TIMES_S)
    for one, other in zip(again.landmarks, motion.landmarks, strict=True):
        for field in fields(Landmarks):
            if field.name != "others":
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_numpy_edits_it(path: Path) -> None:
    with np.load(path) as data:
        arrays = dict(data)
    arrays["face"] = arrays["face"] + np.float32(2)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    assert np.array_equal(load_motion(path).landmarks[1].face, arrays["face"][1])


def changed(name: str, change: Callable[[FloatArray], object] | None) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with np.load(path) as data:
            arrays = dict(data)
        array = arrays.pop(name)
        if change is not None:
            arrays[name] = np.asarray(change(array))
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return apply


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"no motion"), "not readable arrays"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not readable arrays"),
        (changed("size", None), "array size is missing"),
        (changed("size", lambda a: a * np.float32(1e6)), "array size is"),
        (changed("size", lambda a: a[:1]), "array size is"),
        (changed("rate", lambda a: a * np.float32(0)), "array rate is"),
        (changed("rate", lambda a: a[::-1]), "array rate is"),
        (changed("times", lambda a: a[::-1]), "does not grow"),
        (changed("times", lambda a: a[:0]), "at least one frame"),
        (changed("times", lambda a: a[:2]), "person is"),
        (changed("times", lambda a: -a - 1), "does not grow"),
        (changed("person", lambda a: a * np.float32(1e30)), "array person"),
        (changed("face", None), "'face' is missing"),
        (changed("face", lambda a: a * np.float32(np.nan)), "not finite"),
        (changed("face", lambda a: a * np.float32(0)), "not a face"),
        (changed("face", lambda a: a.astype(np.float64)), "wanted float32"),
        (changed("face", lambda a: a[:, :100]), "array face is"),
        (changed("hand_confidence", lambda a: a + np.float32(7)), "hand_confidence"),
    ],
)
def test_what_is_damaged_is_one_line(path: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(path)
    with pytest.raises(PackageError, match=words) as caught:
        load_motion(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("save it again with render --save-motion")
    assert "\n" not in str(caught.value)
    assert "enrol" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        load_motion(tmp_path / "none.motion")


def test_any_flipped_byte_loads_or_is_one_line(path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    told: list[str] = []
    for _ in range(60):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            load_motion(path)
        except AvatarcastError as error:
            told.append(str(error))
    assert len(told) > 30
    assert not any("\n" in line for line in told)


def test_a_frame_of_nobody_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "empty.motion"
    frames = [Puppet(64).landmarks(Pose()), Landmarks(64, 64)]
    save_motion(file, RecordedMotion(frames, (0.0, 0.04), Fraction(25)))
    assert load_motion(file).landmarks[1].face_confidence == 0
