"""The instrument of dubbed clips, on people made of numbers."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.voice.dubbing import Score, judged, measure, score
from engine.errors import SettingsError
from tests.benchmarks.voice.test_voice import person
from tests.engine.voice.test_speaker import heard


def test_lips_go_with_their_own_sound_even_where_it_is_late() -> None:
    clip = person("one", 1, early_ms=120)
    rows, times_s = clip.rows[:125], clip.times_s[:125]
    own = score(rows, clip.codes[:125], times_s)
    foreign = score(heard(125, 2), clip.codes[:125], times_s)
    assert own > 2.0 > 1.5 > foreign


def test_a_person_is_judged_by_bounds_of_the_others() -> None:
    others = [Score("other", True, 2.0 + n / 100) for n in range(50)]
    others += [Score("other", False, n / 100) for n in range(50)]
    own = [Score("own", True, 0.2), Score("own", True, 3.0), Score("own", False, 0.1)]
    found = judged(own + others, "own")
    assert (found["clips"], found["area"]) == (2, 1.0)
    assert (found["true_fits"], found["true_does_not"]) == (0.5, 0.5)
    assert (found["foreign_fits"], found["foreign_does_not"]) == (0.0, 1.0)


def test_one_person_is_not_enough() -> None:
    with pytest.raises(SettingsError, match="films of two persons or more"):
        measure(argparse.Namespace(film=["one=a.mp4"], speech=[], work=None))
