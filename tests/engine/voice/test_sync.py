"""The offset between picture and sound is found, with its sign, and one is told when it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from engine.voice.base import LIP_NUMBERS
from engine.voice.features import features_of
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker
from engine.voice.sync import estimate_offset, offsets_tried_ms
from tests.engine.voice.test_speaker import heard

FPS = 30.0


@pytest.mark.parametrize("early_ms", [-160, 0, 200])
def test_a_picture_that_is_early_or_late(early_ms: int) -> None:
    rows = heard(400)
    rng = np.random.default_rng(3)
    lips = Speaker().predict(rows)
    shown_s = np.arange(450) / FPS  # when each picture is shown
    said_s = shown_s + early_ms / 1000.0  # when what it shows is heard
    codes = np.stack([np.interp(said_s, np.arange(400) / 25.0, column) for column in lips.T], 1)
    codes += rng.normal(size=codes.shape) * 0.5 * lips[:, LIP_GAP].std()
    found = estimate_offset(rows, codes.astype(np.float32), shown_s.astype(np.float32))
    assert found is not None
    assert abs(found.offset_ms - early_ms) <= 20
    assert found.certainty > 0.9
    assert offsets_tried_ms()[found.agreement.argmax()] == found.offset_ms


def test_lips_of_something_else_are_not_certain() -> None:
    rows = heard(400)
    other = Speaker().predict(heard(400, seed=5))
    found = estimate_offset(rows, other, np.arange(400, dtype=np.float32) / 25.0)
    assert found is not None
    assert found.certainty < 0.9


def test_nothing_to_say() -> None:
    rows = heard(400)
    times = np.arange(400, dtype=np.float32) / 25.0
    lips = Speaker().predict(rows)
    assert estimate_offset(rows[:60], lips[:60], times[:60]) is None
    assert estimate_offset(rows, np.zeros((400, LIP_NUMBERS), np.float32), times) is None
    assert estimate_offset(features_of(np.zeros(0, np.float32)), lips, times) is None
