"""The coach: what it sees in exact landmarks of a drawn puppet, what it does not, and its hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.person.landmarks import Landmarks
from stream.render.coach import MAX_HINTS, NEEDED, Coach, Look, look_at
from stream.studio.prompts import SCRIPT
from tests.support.puppet import Pose, Puppet

FPS = 15.0
LINES = 480
PUPPET = Puppet(LINES, unit=0.22)  # a face of 130 px: near enough for its recording
GREY = np.full((LINES, LINES, 3), 120, np.uint8)
REST = [Pose()] * 30


def looks(poses: Sequence[Pose], rgb: NDArray[np.uint8] = GREY) -> list[Look]:
    return [look_at(rgb, PUPPET.landmarks(pose), index / FPS, LINES) for index, pose in enumerate(poses)]


def seen(poses: Sequence[Pose]) -> set[str]:
    """The states that were wholly seen, after two seconds of rest that do not count."""
    coach = Coach()
    for index, look in enumerate(looks([*REST, *poses])):
        if index == len(REST):
            coach.start_over()
        coach.see(look)
    return {name for name, amount in coach.report()["seen"].items() if amount == 1.0}


def held(seconds: float, **pose: float) -> list[Pose]:
    return [Pose(**pose)] * round(seconds * FPS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "poses"),
    [
        ("rest", held(2.0)),
        ("left", held(1.2, yaw_deg=22)),
        ("right", held(1.2, yaw_deg=-22)),
        ("up", held(1.0, pitch_deg=-14)),
        ("down", held(1.0, pitch_deg=14)),
        ("tilt", held(1.2, roll_deg=13)),
        ("tilt", held(1.2, roll_deg=-13)),
        ("blink", 3 * [*[Pose()] * 4, *[Pose(lids=(0.0, 0.0))] * 2, *[Pose()] * 4]),
        ("lips", held(3.0)),
        ("speak", 10 * [Pose(), Pose(mouth=0.15), Pose(mouth=0.25), Pose(mouth=0.1)]),
        ("left_hand", [Pose(hands=((0.6, 1.2), None))] * 24),
        ("right_hand", [Pose(hands=(None, (-0.6, 1.2)))] * 24),
    ],
)
def test_a_state_is_seen_when_it_is_done(state: str, poses: list[Pose]) -> None:
    assert state in seen(poses)


def test_a_smile_is_a_wider_mouth() -> None:
    coach = Coach()
    for index, look in enumerate(looks([*REST, *held(1.5)])):
        assert look.face is not None
        wide = replace(look.face, smile=look.face.smile * (1.15 if index >= len(REST) else 1.0))
        coach.see(replace(look, face=wide))
    assert coach.report()["seen"]["smile"] == 1.0


@pytest.mark.parametrize(
    ("states", "poses"),
    [
        (
            {"left", "right", "up", "down", "tilt", "blink", "smile", "speak", "left_hand", "right_hand"},
            held(10),
        ),
        ({"left", "right"}, held(5, pitch_deg=14)),
        ({"right", "tilt"}, held(5, yaw_deg=22)),
        ({"blink"}, held(5, yaw_deg=5)),
        ({"rest", "lips"}, held(5, mouth=0.3)),
        ({"left"}, 40 * [Pose(yaw_deg=22), Pose()]),  # never held
        ({"blink"}, [Pose(lids=(0.0, 0.0))] * 30),  # eyes shut are no blink
        ({"right_hand"}, [Pose(hands=((0.6, 1.2), None))] * 60),
    ],
)
def test_a_state_is_not_seen_when_it_is_not_done(states: set[str], poses: list[Pose]) -> None:
    assert not states & seen(poses)


def test_what_was_seen_is_forgotten_for_a_new_recording() -> None:
    coach = Coach()
    for look in looks([*REST, *held(2, yaw_deg=22)]):
        coach.see(look)
    assert coach.report()["seen"]["left"] == 1.0
    coach.start_over()
    assert set(coach.report()["seen"].values()) == {0.0}


def test_a_gap_in_the_frames_counts_for_nothing() -> None:
    coach = Coach()
    turned = looks(held(0.5))[0]
    for index in range(40):
        coach.see(replace(turned, time_s=index * 1.0))
    assert coach.report()["seen"]["lips"] == 0.0


def test_where_few_frames_are_seen_one_mistake_is_no_hand() -> None:
    coach = Coach()
    still, raised = looks([Pose(), Pose(hands=((0.6, 1.2), None))])
    for index in range(30):
        coach.see(replace(raised if index % 3 == 0 else still, time_s=index * 0.45))
    assert coach.report()["seen"]["left_hand"] == 0.0


def hints(landmarks: Landmarks, rgb: NDArray[np.uint8] = GREY, lines: int = LINES) -> list[str]:
    coach = Coach()
    for index in range(20):
        coach.see(look_at(rgb, landmarks, index / FPS, lines))
    return coach.hints()


def test_a_good_picture_gives_no_hint() -> None:
    assert hints(PUPPET.landmarks()) == []


def shaded(left: int, right: int, around: int) -> NDArray[np.uint8]:
    """The halves of the puppet's face in these greys, and its surroundings."""
    rgb = np.full((LINES, LINES, 3), around, np.uint8)
    x, y = PUPPET.landmarks().face[:, :2].T
    rows = slice(int(y.min()), int(y.max()) + 1)
    middle = round(float(x.min() + x.max()) / 2)
    rgb[rows, int(x.min()) : middle] = left
    rgb[rows, middle : int(x.max()) + 1] = right
    return rgb


@pytest.mark.parametrize(
    ("word", "rgb"),
    [
        ("Too dark", shaded(35, 35, 40)),
        ("behind you", shaded(60, 60, 200)),
        ("shadow", shaded(200, 70, 120)),
        ("Too bright", shaded(254, 254, 180)),
    ],
)
def test_hints_on_light(word: str, rgb: NDArray[np.uint8]) -> None:
    assert [hint for hint in hints(PUPPET.landmarks(), rgb) if word in hint]


@pytest.mark.parametrize(
    ("word", "pose"),
    [
        ("come closer", Pose(zoom=0.55)),
        ("very close", Pose(zoom=1.8)),
        ("middle", Pose(x=1.2)),
        ("leaves the picture", Pose(y=-1.3)),
        ("sit low", Pose(y=1.8)),
    ],
)
def test_hints_on_framing(word: str, pose: Pose) -> None:
    assert [hint for hint in hints(PUPPET.landmarks(pose)) if word in hint]


def test_a_finer_camera_may_be_further_away() -> None:
    away = PUPPET.landmarks(Pose(zoom=0.55))
    assert hints(away) != []
    assert hints(away, lines=1080) == []


def test_shoulders_must_be_in_the_picture() -> None:
    landmarks = PUPPET.landmarks()
    assert "shoulders" in " ".join(hints(replace(landmarks, pose=landmarks.pose + np.float32(LINES))))
    hidden = replace(landmarks, pose_confidence=np.zeros_like(landmarks.pose_confidence))
    assert "shoulders" in " ".join(hints(hidden))


def test_nobody_there() -> None:
    assert hints(replace(PUPPET.landmarks(), face_confidence=0.0)) == ["No face is seen: look at the camera."]


def test_one_bad_frame_gives_no_hint_and_many_faults_only_the_first() -> None:
    coach = Coach()
    good, bad = frozenset[str](), frozenset({"dark", "far", "shoulders"})
    look = looks([Pose()])[0]
    for index in range(12):
        coach.see(replace(look, time_s=index / FPS, faults=bad if index == 5 else good))
    assert coach.hints() == []
    for index in range(12, 24):
        coach.see(replace(look, time_s=index / FPS, faults=bad))
    assert len(coach.hints()) == MAX_HINTS
    assert coach.hints()[0].startswith("Too dark")


def test_the_script_asks_for_every_state_before_the_part_that_is_held_out() -> None:
    asked = {state for prompt in SCRIPT.asked for state in prompt.states}
    assert asked == set(NEEDED)
    closing_s = sum(prompt.seconds for prompt in SCRIPT.closing)
    assert 45 <= SCRIPT.seconds <= 75
    assert 25 <= sum(prompt.seconds for prompt in (*SCRIPT.asked, *SCRIPT.closing) if prompt.read) <= 30
    assert closing_s >= 0.2 * SCRIPT.seconds  # enrolment measures by the last fifth
