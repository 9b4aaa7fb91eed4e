"""Feelings: strengths, places of valence and arousal, schedules; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import SettingsError
from engine.expression.feeling import (
    EMOTIONS,
    NEUTRAL,
    Feeling,
    feeling_at,
    feeling_of,
    parse_schedule,
)


def test_together_they_are_no_more_than_one_face_can_show() -> None:
    both = Feeling(happy=1.0, surprised=1.0).strengths
    assert both.sum() == pytest.approx(1.0)
    assert both[EMOTIONS.index("happy")] == pytest.approx(0.5)
    assert Feeling(sad=0.4).strengths.sum() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("valence", "arousal", "strongest"),
    [
        (0.9, 0.4, "happy"),
        (-0.7, -0.5, "sad"),
        (-0.7, 0.7, "afraid"),
        (0.2, 0.9, "surprised"),
    ],
)
def test_a_place_in_the_plane_is_the_emotion_that_lies_there(
    valence: float, arousal: float, strongest: str
) -> None:
    strengths = feeling_at(valence, arousal).strengths
    assert EMOTIONS[int(strengths.argmax())] == strongest
    assert feeling_at(0.0, 0.0) == NEUTRAL


def test_the_plane_is_continuous_and_grows_from_its_middle() -> None:
    round_it = [feeling_at(np.cos(a), np.sin(a)).strengths for a in np.linspace(0, 2 * np.pi, 361)]
    assert np.abs(np.diff(round_it, axis=0)).max() < 0.06
    sums = [feeling_at(0.8 * r, 0.5 * r).strengths.sum() for r in np.linspace(0, 1, 11)]
    assert (np.diff(sums) > 0).all()


def test_a_schedule_is_read_and_holds_from_its_times_on() -> None:
    schedule = parse_schedule("0:neutral, 3.5:happy 0.6, 8:sad 0.3,9: angry")
    assert schedule.at(3.4) == NEUTRAL
    assert schedule.at(3.5) == Feeling(happy=0.6)
    assert schedule.at(8.9) == Feeling(sad=0.3)
    assert schedule.at(1e6) == Feeling(angry=1.0)
    assert parse_schedule("2:sad").at(1.9) == NEUTRAL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:merry", "emotion is 'merry': give one of neutral, happy, sad"),
        ("0:happy 1.5", "happy is 1.5: give a strength from 0 to 1"),
        ("0:happy nan", "give a strength from 0 to 1"),
        ("happy", "SECONDS:EMOTION"),
        ("0:happy 0.5 0.6", "SECONDS:EMOTION"),
        ("-1:happy", "SECONDS:EMOTION"),
        ("inf:happy", "SECONDS:EMOTION"),
        ("0:happy,", "SECONDS:EMOTION"),
        ("3:happy, 2:sad", "give times that grow"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_schedule(text)


def test_names_and_places_beyond_are_refused() -> None:
    with pytest.raises(SettingsError, match="emotion is 'joy'"):
        feeling_of({"joy": 1.0})
    for valence, arousal in ((1.1, 0.0), (0.0, float("nan"))):
        with pytest.raises(SettingsError, match="give -1 to 1"):
            feeling_at(valence, arousal)
