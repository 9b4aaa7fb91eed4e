"""Sentences to feelings: classes, degrees, order, other languages; by the rules alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.expression.asked import EACH_S, read_emotion
from engine.expression.feeling import NEUTRAL, Feeling
from engine.expression.words import MOST_CHARACTERS, Understood, understand
from tests.support.places import ROOT

SENTENCES = ROOT / "tests/data/feelings.tsv"  # written before the rules
RIGHT, IN_ORDER = 0.85, 0.9


def rows(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(wanted, said) for wanted, _, said in (line.partition("\t") for line in lines)]


def told(text: str) -> list[str]:
    return [one.emotion for one in understand(text)]


def test_most_sentences_are_taken_as_a_reader_takes_them() -> None:
    sentences = [(wanted.split(">"), said) for wanted, said in rows(SENTENCES) if wanted != "degrees"]
    wrong = [(said, told(said)) for wanted, said in sentences if told(said) != wanted]
    assert len(sentences) == 60
    assert len(wrong) <= (1 - RIGHT) * len(sentences), wrong


def test_degrees_come_in_order() -> None:
    ladders = [said.split(" | ") for wanted, said in rows(SENTENCES) if wanted == "degrees"]
    steps = [step for ladder in ladders for step in pairwise(ladder)]
    strengths = {said: understand(said)[0].strength for step in steps for said in step}
    wrong = [(weak, strong) for weak, strong in steps if strengths[weak] >= strengths[strong]]
    assert len(wrong) <= (1 - IN_ORDER) * len(steps), wrong


@pytest.mark.parametrize(
    ("text", "feelings"),
    [
        ("She is not sad.", ["neutral"]),
        ("not only happy, ecstatic", ["happy"]),
        ("nobody was angry", ["neutral"]),
        ("sad, but then full of hope", ["sad", "happy"]),
        ("surprised -> happy -> surprised", ["surprised", "happy", "surprised"]),
        ("happy, happier, happiest", ["happy"]),
        ("Elle est triste et la maison est vide", ["neutral"]),
        ("el niño tiene miedo de la noche", ["neutral"]),
        ("", ["neutral"]),
        ("12:30, 3 + 4 = 7!", ["neutral"]),
    ],
)
def test_negation_order_and_other_languages(text: str, feelings: list[str]) -> None:
    assert told(text) == feelings


def test_it_says_what_it_understood() -> None:
    assert str(understand("I am very sad")[0]) == "'I am very sad': sad 0.74 (by very sad)"
    assert str(understand("the table is brown")[0]) == "'the table is brown': nothing understood, so neutral"


def test_the_meaning_is_asked_for_where_no_rule_speaks() -> None:
    asked: list[str] = []

    def guess(text: str) -> tuple[str, float] | None:
        asked.append(text)
        return ("afraid", 0.5) if "wolves" in text else None

    assert understand("the wolves are at the door", guess)[0] == Understood(
        "the wolves are at the door", "afraid", 0.5, "meaning"
    )
    assert understand("the table is brown", guess)[0].emotion == "neutral"
    assert understand("I am happy", guess)[0].emotion == "happy"
    assert understand("Der Wolf steht vor der Tür", guess)[0].emotion == "neutral"
    assert asked == ["the wolves are at the door", "the table is brown"]


def test_words_are_shown_one_after_the_other_and_times_as_told() -> None:
    schedule, understood = read_emotion("very sad, then happy")
    assert [one.emotion for one in understood] == ["sad", "happy"]
    assert schedule.at(0.0).sad > 0.5
    assert schedule.at(EACH_S).happy > 0.5
    schedule, understood = read_emotion("0:neutral, 3.5:happy 0.6")
    assert not understood
    assert (schedule.at(0.0), schedule.at(4.0)) == (NEUTRAL, Feeling(happy=0.6))


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(SettingsError, match=f"give {MOST_CHARACTERS} at most"):
        understand("sad " * MOST_CHARACTERS)
