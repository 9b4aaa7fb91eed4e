"""The instrument of what a voice costs: everything it names is at work."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.live.voice_cost import CASES, learnt, measure, share_of_core
from engine.errors import SettingsError
from tests.support.sounds import vowel


def test_all_that_a_voice_sets_to_work_is_learnt_and_costs() -> None:
    sound = vowel(10.5, 110.0, (500.0, 1200.0, 2400.0))
    own = learnt(sound)
    assert own.print is not None
    assert own.manner is not None
    share = share_of_core(sound[:16_000], own, CASES["the voice drives"])
    assert share > 0.0
    with pytest.raises(SettingsError, match="too little speech"):
        learnt(sound[: 3 * 16_000])


def test_speech_is_wanted() -> None:
    with pytest.raises(SettingsError, match="no --speech"):
        measure(argparse.Namespace(speech=None))
