"""Three scripted dialogues, whose emotions were reasoned by hand; and what is refused.

Weights: a turn's own confidence, halved for every turn back; what the other one feels shows by half.
"""

from __future__ import annotations

import pytest

from engine.conversation.tree import AGENT, OTHER, SURE_BY_WORDS, DialogueTree, Turn
from engine.errors import SettingsError
from engine.expression.feeling import NEUTRAL, feeling_of


def shown(turn: Turn) -> dict[str, float]:
    """Emotions that show."""
    names = ("happy", "sad", "angry", "afraid", "disgusted", "surprised")
    return {name: value for name in names if (value := round(getattr(turn.shown, name), 4))}


def test_a_sad_caller_is_comforted() -> None:
    """The mood stays through a turn without words of feeling, and gives way to a happier one."""
    tree = DialogueTree()
    sad = feeling_of({"sad": 0.8})
    assert shown(tree.add(OTHER, sad, 1.0)) == {"sad": 0.4}  # half of theirs
    # nothing is known of the answer: 0.5 * 1.0 of the turn before is left
    assert shown(tree.add(AGENT, NEUTRAL, 0.0)) == {"sad": 0.2}
    # the agent's own: 0.5 happy at 0.6; two back: 0.25 * 0.4 sad; weights 0.5 + 0.25 < 1
    assert shown(tree.add(AGENT, feeling_of({"happy": 0.6}), 0.5)) == {"happy": 0.3, "sad": 0.1}


def test_good_news_then_anger_of_two_who_are_sure() -> None:
    tree = DialogueTree()
    assert shown(tree.add(AGENT, feeling_of({"happy": 1.0}), 1.0)) == {"happy": 1.0}
    # (1.0 * 0.6 / 2 angry + 0.5 * 1.0 happy) / 1.5
    assert shown(tree.add(OTHER, feeling_of({"angry": 0.6}), 1.0)) == {"angry": 0.2, "happy": 0.3333}
    # (1.0 * 0.9 angry + 0.5 * 0.3 angry + 0.25 * 1.0 happy) / 1.75
    assert shown(tree.add(AGENT, feeling_of({"angry": 0.9}), 1.0)) == {"angry": 0.6, "happy": 0.1429}


def test_a_turn_that_goes_back_to_an_earlier_one_takes_up_its_mood() -> None:
    tree = DialogueTree()
    holiday = tree.say(OTHER, "We had a wonderful holiday!")
    accident = tree.say(OTHER, "Then came a terrible accident, we were devastated.")
    back = tree.say(AGENT, "Tell me about the beach.", parent=holiday.number)
    assert accident.parent == holiday.number
    assert back.parent == holiday.number
    assert set(shown(back)) == {"happy"}  # nothing of the accident
    told = holiday.feeling.happy
    assert shown(back)["happy"] == pytest.approx(0.5 * SURE_BY_WORDS * 0.5 * told, abs=1e-4)
    assert tree.read(back.number) is back  # read back from the node


def test_moods_fade_where_nothing_is_felt() -> None:
    tree = DialogueTree()
    tree.add(AGENT, feeling_of({"surprised": 1.0}), 1.0)
    values = [tree.add(AGENT, NEUTRAL, 0.0).shown.surprised for _ in range(9)]
    assert values[:3] == pytest.approx([0.5, 0.25, 0.125])
    assert values[-1] == 0.0  # further back than is read


def test_words_without_feeling_are_unsure() -> None:
    turn = DialogueTree().say(AGENT, "The table is made of wood.")
    assert (turn.feeling, turn.confidence) == (NEUTRAL, 0.0)


def test_what_is_no_turn_is_refused() -> None:
    tree = DialogueTree()
    for who, confidence, parent, said in (
        ("cat", 1.0, None, "give agent or other"),
        (AGENT, 1.5, None, "give 0 to 1"),
        (AGENT, 1.0, 3, "turn 3: there are 0"),
    ):
        with pytest.raises(SettingsError, match=said):
            tree.add(who, NEUTRAL, confidence, parent)
    assert len(tree) == 0
