"""Both sounds of a conversation give one row each 40 ms, however they come."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray
from engine.conversation.hearing import ROW_S, Hearing, Row
from engine.conversation.pitch import Pitch
from engine.conversation.turns import State
from tests.support.sounds import babble, hush


def rows_of(hearing: Hearing, other: FloatArray, begins_s: float, arrivals: int) -> list[Row]:
    """Of sound in pieces of 20 ms that come so many at a time."""
    found = []
    for at in range(0, len(other), 320 * arrivals):
        until_s = begins_s + (at + 320 * arrivals) / 16_000
        for piece in range(arrivals):
            hearing.hear(other[at + 320 * piece : at + 320 * (piece + 1)], until_s)
        found += hearing.rows(until_s)
    return found


def test_a_conversation_is_heard_the_same_evenly_and_in_bursts() -> None:
    sound = np.concatenate([hush(0.6), babble(1.2), hush(1.2)])
    even, bursts = (rows_of(Hearing(), sound, 5.0, arrivals) for arrivals in (1, 5))
    for rows in (even, bursts):
        times_s = np.array([row.ends_s for row in rows])
        assert len(rows) == len(sound) // 640
        assert np.diff(times_s).min() >= ROW_S / 2 - 1e-9
        assert abs(times_s[-1] - 8.0) < 0.1
        assert [row.state.value for row in rows[::5]].count("listens") in (9, 10, 11)
    assert [row.other for row in even] == [row.other for row in bursts]
    pitches = np.concatenate([row.pitches_hz for row in even])
    assert np.array_equal(pitches, Pitch().push(sound)[: len(pitches)])
    assert len(pitches) >= len(sound) // 320 - 1


def test_sound_that_stops_coming_is_silence() -> None:
    hearing = Hearing()
    rows = rows_of(hearing, babble(1.0), 5.0, 2)
    assert rows[-1].state is State.LISTENS
    assert not hearing.rows(6.2)  # not known yet
    silent = hearing.rows(6.6) + hearing.rows(7.4)
    assert not any(row.other for row in silent)
    assert silent[0].state is State.LISTENS
    assert silent[-1].state is State.IDLES
    assert np.allclose(np.diff([row.ends_s for row in silent]), ROW_S)
    assert rows_of(hearing, babble(0.4), 7.4, 2)[-1].state is State.LISTENS  # and is heard again


def test_what_is_hushed_was_not_said() -> None:
    """A voice that is here before it is due counts when it is due."""
    states = []
    for hushed in (False, True):
        hearing = Hearing()
        hearing.speak(babble(1.0), 6.0)
        before = hearing.rows(5.24) + hearing.rows(5.4)
        assert before[-1].own
        if hushed:
            hearing.hush(5.4)
        states.append([row.own for row in hearing.rows(5.96)])
    assert states[0][-1]
    assert not any(states[1][6:])
