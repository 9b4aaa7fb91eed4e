"""The instrument of voice prints, on numbers and a sound that is made up."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.voice.voice_prints import counted, in_another_room, measure
from engine.errors import SettingsError
from engine.voice.voice_print import SAME
from tests.support.sounds import vowel


def test_both_kinds_of_error_are_counted_and_belong_to_persons() -> None:
    own = {"ann": np.full(10, SAME + 0.1), "bob": np.full(10, SAME - 0.1)}
    others = {"ann": np.full(30, SAME - 0.2), "bob": np.full(30, SAME - 0.2)}
    found = counted(own, others)
    assert (found["refused"], found["taken"], found["equal_error"]) == (0.5, 0.0, 0.0)
    assert found["refused_interval"] == [0.0, 1.0]  # of two persons nothing is known
    assert found["taken_interval"] == [0.0, 0.0]
    assert found["verdicts"] == [20, 60]


def test_another_room_is_the_same_speech_with_an_echo() -> None:
    said = vowel(2.0, 110.0, (500.0, 1200.0, 2400.0))
    heard = in_another_room(said, np.random.default_rng(0))
    assert len(heard) == pytest.approx(len(said), abs=1_600)
    assert 0.01 < np.abs(heard).max() <= 1.1
    alike = np.correlate(heard[:16_000], said[:16_000], "full").max()
    assert 0.2 < alike / (np.linalg.norm(heard[:16_000]) * np.linalg.norm(said[:16_000])) < 0.98


def test_one_person_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no --people"):
        measure(argparse.Namespace(people=None, one=None))
    (tmp_path / "ann").mkdir()
    with pytest.raises(SettingsError, match="wanted two folders or more"):
        measure(argparse.Namespace(people=tmp_path, one=None))
