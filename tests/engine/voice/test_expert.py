"""Whether lips go with a sound: the networks as they were trained, and windows compared."""

from __future__ import annotations

import numpy as np
import pytest

from engine.voice.expert import MOUTH_NUMBERS, WINDOW, agreement, expert
from engine.voice.features import ROW
from tests.engine.voice.test_speaker import heard


def test_the_same_moment_agrees_whatever_its_size_and_offset() -> None:
    moves = np.random.default_rng(0).normal(size=(WINDOW + 5, 4)).astype(np.float32)
    assert agreement(moves, 3.0 * moves + 1.0) == pytest.approx(np.ones(2), abs=1e-5)
    assert agreement(moves, -moves) == pytest.approx(-np.ones(2), abs=1e-5)
    assert abs(agreement(moves, np.roll(moves, 9, axis=0))).max() < 0.5


def test_what_comes_with_avatarcast_reads_rows_and_lips() -> None:
    rows = heard(80)
    lips = np.random.default_rng(1).normal(size=(80, 22)).astype(np.float32)
    sound, mouth = expert().sound(rows), expert().mouth(lips)
    assert sound.shape == mouth.shape
    louder = lips * 2.0 + 0.3
    np.testing.assert_allclose(expert().mouth(louder), mouth, atol=0.02)  # a bigger mouth is the same
    changed = rows.copy()
    changed[60:] = 0.0
    np.testing.assert_array_equal(expert().sound(changed)[:50], sound[:50])  # only what is near is heard
    assert rows.shape[1] == ROW
    assert lips[:, MOUTH_NUMBERS].shape == (80, 9)
