"""Whose turn it is: pauses belong to a turn, who begins last has it, a click is none."""

from __future__ import annotations

from engine.conversation.turns import State, Turns

ROW_S = 0.04
OWN, OTHER, BOTH, NOBODY = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)


def told(*parts: tuple[tuple[float, float], float]) -> list[str]:
    """Initials of the states, one a tenth of a second. parts: who is heard, and how long."""
    turns, at_s, found = Turns(), 0.0, []
    for heard, seconds in parts:
        for _ in range(round(seconds / ROW_S)):
            at_s += ROW_S
            found.append(turns.update(*heard, at_s))
    return [found[round(tenth * 0.1 / ROW_S)].value[0] for tenth in range(int(at_s * 10))]


def test_speaking_listening_and_nobody() -> None:
    states = told((NOBODY, 0.4), (OTHER, 1.0), (NOBODY, 0.2), (OWN, 1.0), (NOBODY, 1.4))
    assert "".join(states) == "iiiii" + "l" * 12 + "s" * 17 + "i" * 6


def test_a_pause_belongs_to_the_turn() -> None:
    states = told((OTHER, 0.8), (NOBODY, 0.68), (OTHER, 0.4))
    assert set(states[2:]) == {"l"}


def test_who_interrupts_has_the_turn_and_gives_it_back_who_falls_silent() -> None:
    states = told((OWN, 1.0), (BOTH, 0.6), (OWN, 0.6))
    assert states[8] == "s"
    assert states[14] == "l"
    assert states[20] == "s"


def test_a_click_is_no_turn() -> None:
    assert set(told((NOBODY, 0.4), (OTHER, 0.04), (NOBODY, 0.4))) == {"i"}


def test_states_have_the_names_that_are_told() -> None:
    assert {state.value for state in State} == {"speaks", "listens", "idles"}
