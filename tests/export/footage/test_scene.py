"""The room around the canvas, learnt from frames in which somebody moves before it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import U8Image
from export.footage.framing import Framing
from export.footage.scene import SceneLearner, room_of

PERSON = (250, 20, 20)
FRAMING = Framing(100, 60, 240)
SIZE = 64


def filmed(number: int) -> tuple[U8Image, U8Image]:
    """A frame of 480x360 with its matte: somebody who moves from side to side within the canvas."""
    rng = np.random.default_rng(5)
    room = np.kron(rng.integers(60, 160, (18, 24, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    left = 110 + 20 * number
    room[120:300, left : left + 60] = PERSON
    matte = np.zeros((SIZE, SIZE), np.uint8)
    columns = slice(int((left - 100) / 240 * SIZE), int(np.ceil((left + 60 - 100) / 240 * SIZE)))
    matte[16:, columns] = 255
    return room, matte


def test_the_room_is_learnt_without_the_person() -> None:
    learner = SceneLearner(FRAMING)
    for number in range(9):
        learner.add(*filmed(number))
    scene = learner.scene()
    assert scene is not None
    assert scene.rgb.shape == (300, 480, 3)  # what is below the canvas is left out
    assert (scene.left, scene.top, scene.side) == (100, 60, 240)
    bare = filmed(100)[0][:300]  # nobody is in it
    assert np.array_equal(scene.rgb[:, 345:], bare[:, 345:])
    assert np.abs(scene.rgb.astype(int) - bare).mean() < 3
    assert not (np.abs(scene.rgb.astype(int) - PERSON).max(axis=2) < 60).any()


def test_what_the_person_always_covers_is_filled_in() -> None:
    learner = SceneLearner(FRAMING)
    for _ in range(4):
        learner.add(*filmed(2))
    scene = learner.scene()
    assert scene is not None
    assert not (np.abs(scene.rgb.astype(int) - PERSON).max(axis=2) < 60).any()


@pytest.mark.parametrize(
    ("framing", "kept"),
    [
        (Framing(0, 0, 360), (360, 480)),
        (Framing(100, 60, 240), (300, 480)),
        (Framing(-10, 0, 360), None),  # reaches beyond the picture
        (Framing(200, 100, 290), None),
    ],
)
def test_which_part_of_the_footage(framing: Framing, kept: tuple[int, int] | None) -> None:
    room = room_of(np.zeros((360, 480, 3), np.uint8), framing)
    assert (None if room is None else room.rgb.shape[:2]) == kept


def test_a_square_that_is_all_of_the_footage_has_no_room() -> None:
    assert room_of(np.zeros((360, 360, 3), np.uint8), Framing(0, 0, 360)) is None
    learner = SceneLearner(Framing(0, 0, 360))
    learner.add(np.zeros((360, 360, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8))
    assert learner.scene() is None


def test_large_footage_is_scaled_down() -> None:
    room = room_of(np.zeros((2160, 3840, 3), np.uint8), Framing(1000, 160, 2000))
    assert room is not None
    assert room.rgb.shape == (720, 1280, 3)
    assert (room.left, room.top, room.side) == (333, 53, 667)
