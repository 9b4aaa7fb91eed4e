"""The instrument of listening: what its script says is true, and what chance would do."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.voice.listening import (
    BOUNDS,
    LEAST_PAUSE_S,
    Dialogue,
    Played,
    beyond_chance,
    dialogue,
    failures,
    long_pauses,
    trimmed,
)
from engine.conversation.turns import State
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Habits
from tests.support.sounds import babble, hush

SPEECH = np.concatenate([babble(1.2), hush(0.5), babble(1.0)])


def test_pauses_are_found_and_ends_are_cut_off() -> None:
    assert len(trimmed(np.concatenate([hush(0.7), SPEECH, hush(0.4)]))) == pytest.approx(
        len(SPEECH), abs=2000
    )
    rows = np.flatnonzero(long_pauses(SPEECH)) / 50
    assert rows.min() == pytest.approx(1.2, abs=0.1)
    assert rows.max() == pytest.approx(1.7, abs=0.1)
    assert len(rows) >= 50 * LEAST_PAUSE_S


def test_the_script_says_whose_turn_it_is() -> None:
    talk = dialogue([SPEECH] * 3, [SPEECH] * 3, seed=0)
    begins_s, ends_s = talk.turns[0]
    assert talk.states[round(begins_s * ROWS_HZ) - 3] is State.IDLES
    middle = round((begins_s + ends_s) / 2 * ROWS_HZ)
    assert talk.states[middle] is State.LISTENS
    assert talk.pauses[round((begins_s + 1.45) * ROWS_HZ)]
    assert not talk.pauses[round((begins_s + 0.6) * ROWS_HZ)]
    speaking = np.array([state is State.SPEAKS for state in talk.states])
    assert not (speaking & talk.silent).sum() > 0.3 * speaking.sum()
    assert len(talk.own) == len(talk.other)


def played(nods_s: list[float], rows: int) -> Played:
    nothing = np.zeros(rows, np.float32)
    return Played([State.IDLES] * rows, nothing, nothing, nothing[1:], nods_s, Habits())


def test_nods_in_pauses_are_told_from_nods_anywhere() -> None:
    rows = 2000
    pauses = np.zeros(rows, bool)
    for start in range(100, rows - 20, 120):
        pauses[start : start + 12] = True
    nothing = np.zeros(16, np.float32)
    talk = Dialogue(nothing, nothing, [State.LISTENS] * rows, ~pauses, pauses, [(0.0, rows / ROWS_HZ)])
    inside = [(start + 4) / ROWS_HZ for start in range(100, rows - 20, 120)]
    found = beyond_chance([talk], [played(inside, rows)])
    assert found["share"] == 1.0
    assert found["p"] < 0.01
    anywhere = np.random.default_rng(1).uniform(0.0, rows / ROWS_HZ, 16).tolist()
    assert beyond_chance([talk], [played(anywhere, rows)])["p"] > 0.05


def test_what_is_out_of_bounds_is_said() -> None:
    good = {
        "states_right": 0.97, "lips_share": 0.01, "nods": {"p": 0.001}, "nods_per_min": 8.0,
        "blinks_per_min": 17.0, "own": {"nods_per_min": 9.0, "blinks_per_min": 17.0}, "step_px": 1.0,
        "laughs": {"found": 15, "count": 16}, "laughs_wrong_per_min": 0.0,
    }  # fmt: skip
    assert not failures(good)
    assert failures(good | {"states_right": 0.9, "laughs": None}) == [
        f"states_right: 0.900, wanted {BOUNDS['states_right'][0]:g} to 1"
    ]
