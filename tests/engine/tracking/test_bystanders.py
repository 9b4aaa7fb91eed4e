"""With others in the picture the tracker keeps to the one it began with."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.person.landmarks import Landmarks
from engine.person.motion import canonical_reference
from engine.tracking.bystanders import WAIT_NS, Bystanders, Place, place_of
from tests.support.browser import BUNDLED
from tests.support.places import PRESENTER
from tests.support.two_people import FOLLOWED_PX, WIDTH, TwoPeople

STEP_NS = 100_000_000
Spot = tuple[float, float, float]  # middle and size of a face, px


class Faces:
    """A counter that sees what it is told to."""

    def __init__(self) -> None:
        self.seen: list[Spot] = []
        self.looks = 0

    def find(self, rgb: U8Image) -> FloatArray:
        self.looks += 1
        boxes = [(x - size / 2, y - size / 2, size, size, 0.9) for x, y, size in self.seen]
        return np.array(boxes, np.float32).reshape(-1, 5)


def face_at(spot: Spot) -> FloatArray:
    """(478, 3) px, with its oval there."""
    face = np.zeros((478, 3), np.float32)
    face[:468] = canonical_reference()
    place = place_of(face)
    face[:, :2] = (face[:, :2] - (place.x, place.y)) * (spot[2] / place.size) + spot[:2]
    return face


class Room:
    """A film of faces, before `Bystanders` and a finder that finds what is not covered, the largest first."""

    def __init__(self) -> None:
        self.faces = Faces()
        self.bystanders = Bystanders(self.faces)
        self.time_ns = 0

    def step(self, *spots: Spot, steps: int = 1) -> Spot | None:
        """Whom the finder keeps, after so many frames with these faces."""
        kept = None
        for _ in range(steps):
            self.time_ns += STEP_NS
            self.faces.seen = list(spots)
            rgb = np.full((480, 640, 3), 200, np.uint8)
            alone = self.bystanders.cover(rgb, self.time_ns)
            seen = [spot for spot in spots if alone[int(spot[1]), int(spot[0]), 0] == 200]
            kept = max(seen, key=lambda spot: spot[2], default=None)
            if kept is not None and not self.bystanders.follow(face_at(kept), self.time_ns):
                kept = None
        return kept


ME, OTHER, NEARER = (200.0, 200.0, 100.0), (480.0, 220.0, 90.0), (430.0, 240.0, 220.0)


@pytest.fixture
def room() -> Room:
    return Room()


def test_the_nearest_is_followed_first(room: Room) -> None:
    assert room.step(OTHER, ME) == ME
    assert room.bystanders.others == 1


def test_who_comes_nearer_is_not_taken(room: Room) -> None:
    room.step(ME, steps=10)
    for spot in (OTHER, NEARER):
        assert room.step(ME, spot, steps=10) == ME
    assert room.step(NEARER, steps=20) is None  # I am turned away for two seconds
    assert room.step(ME, NEARER, steps=2) == ME
    assert room.bystanders.person == 0


def test_another_is_taken_after_a_while_and_it_is_said(room: Room) -> None:
    room.step(ME, OTHER, steps=10)
    wait = WAIT_NS // STEP_NS
    assert room.step(OTHER, steps=wait - 2) is None
    assert room.step(OTHER, steps=6) == OTHER
    assert room.bystanders.person == 1
    assert room.bystanders.others == 0
    assert room.step(ME, OTHER, steps=10) == OTHER


def test_who_leaves_is_not_reckoned_with_for_long(room: Room) -> None:
    room.step(ME, OTHER, steps=10)
    assert room.step(ME, steps=20) == ME
    assert room.bystanders.others == 1  # the finder may have missed them
    room.step(ME, steps=20)
    assert room.bystanders.others == 0


def test_someone_alone_may_move_and_be_lost(room: Room) -> None:
    """A jump, as when another camera is chosen: taken within two seconds."""
    room.step(ME, steps=10)
    assert room.step((380.0, 200.0, 60.0), steps=3) is None
    assert room.step((380.0, 200.0, 60.0), steps=15) is not None
    assert room.bystanders.person == 0
    assert room.bystanders.others == 0


@pytest.mark.parametrize("begins_ns", [0, 3_600_000_000_000])
def test_a_stream_that_begins_anew_keeps_whom_it_followed(room: Room, begins_ns: int) -> None:
    room.step(ME, steps=10)
    room.step(ME, NEARER, steps=10)
    room.time_ns = begins_ns
    assert room.step(NEARER, steps=3) is None
    assert room.step(ME, NEARER, steps=2) == ME
    assert room.bystanders.person == 0


def test_someone_alone_is_found_wherever_they_are_when_time_begins_anew(room: Room) -> None:
    room.step(ME, steps=10)
    room.time_ns = 0
    assert room.step(NEARER) == NEARER


def test_it_looks_twice_a_second(room: Room) -> None:
    room.step(ME, steps=50)
    assert 9 <= room.faces.looks <= 11


def test_one_behind_is_covered_without_the_followed_face() -> None:
    bystanders = Bystanders(faces := Faces())
    faces.seen = [ME, (210.0, 120.0, 80.0)]
    bystanders.cover(np.zeros((480, 640, 3), np.uint8), 0)
    assert bystanders.follow(face_at(ME), 0)
    alone = bystanders.cover(np.zeros((480, 640, 3), np.uint8), STEP_NS)
    assert alone[80, 210].any()
    assert not alone[150:270, 150:250].any()
    assert not alone[:, 300:].any()


def test_places_compare_by_size() -> None:
    assert Place(0, 0, 10).away(Place(30, 40, 20)) == pytest.approx(5)
    assert not Place(0, 0, 10).like(Place(0, 0, 20))


@pytest.mark.skipif(not (BUNDLED.exists() and PRESENTER.exists()), reason="needs the bundled avatars")
def test_a_second_person_does_not_take_over_the_real_tracker() -> None:
    """They come in, stand nearer and larger; the followed one turns away for a second meanwhile."""
    tracker_module = pytest.importorskip("engine.tracking.live_tracker", reason="needs LiteRT")
    people = TwoPeople()
    found: list[Landmarks] = []
    with tracker_module.LiveTracker() as tracker:
        for index in range(75):
            picture = people.frame(index / 15)
            if 45 <= index < 57:
                picture[:, :FOLLOWED_PX] = picture[0, 0]
            found.append(tracker.track(picture, index * 66_666_667))
    middles = [float(one.face[:, 0].mean()) for one in found if one.face_confidence > 0.5]
    assert max(middles) < WIDTH / 2  # the followed one sits at the left
    assert all(one.face_confidence > 0.5 for one in found[5:45])
    assert found[40].others == 1
    assert found[55].face_confidence == 0
    assert found[-1].face_confidence > 0.5
    shoulders = [one.pose[[11, 12], 0].mean() for one in found[20:45]]
    assert np.median(shoulders) < WIDTH / 2
    assert found[-1].person == found[0].person
