"""A print of a voice: another voice is told from it, the same is known again, no sound can be too short."""

from __future__ import annotations

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.voice.voice_print import (
    NUMBERS,
    SAME,
    SpeechWindows,
    VoiceCheck,
    Whose,
    consent_names_print,
    embedded,
    print_of,
)
from tests.support.sounds import hush, vowel

OWN = vowel(12.0, 110.0, (500.0, 1200.0, 2400.0))
OTHER = vowel(5.0, 220.0, (750.0, 1800.0, 3000.0))


@pytest.fixture(scope="module")
def own() -> FloatArray:
    found = print_of([OWN])
    assert found is not None
    return found


def test_the_own_voice_is_known_and_another_is_not(own: FloatArray) -> None:
    check = VoiceCheck(own)
    said = []
    for sound in (OWN[: 2 * 16_000], OWN[2 * 16_000 : 5 * 16_000], OTHER):
        check.judge(check.push(sound))
        said.append((check.whose, check.likeness >= SAME))
    assert said == [(Whose.UNKNOWN, False), (Whose.OWN, True), (Whose.OTHER, False)]


def test_loudness_and_silences_are_not_the_voice(own: FloatArray) -> None:
    quiet = 0.1 * np.concatenate([hush(1.0), OWN[: 3 * 16_000], hush(2.0), OWN[: 2 * 16_000], hush(1.0)])
    check = VoiceCheck(own)
    check.judge(check.push(quiet))
    assert check.whose is Whose.OWN


def test_in_pieces_as_whole() -> None:
    whole, pieces = SpeechWindows(), SpeechWindows()
    sound = OWN[: 4 * 16_000]
    windows = [found for at in range(0, len(sound), 333) for found in pieces.push(sound[at : at + 333])]
    np.testing.assert_array_equal(np.stack(windows), np.stack(whole.push(sound)))


def test_a_print_is_a_direction_of_speech_alone(own: FloatArray) -> None:
    assert own.shape == (NUMBERS,)
    assert np.linalg.norm(own) == pytest.approx(1.0, abs=1e-5)
    assert own.min() >= 0.0
    assert print_of([hush(30.0)]) is None
    assert print_of([OWN[: 5 * 16_000]]) is None
    assert embedded([]).shape == (0, NUMBERS)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("Ada, to an avatar and a voice print in it", True),
        ("Ada, to a Voice\n Print of mine", True),
        ("Ada, to a voiceprint", True),
        ("Ada, to an avatar with my face and voice", False),
    ],
)
def test_only_who_names_it_agrees_to_it(statement: str, named: bool) -> None:
    assert consent_names_print(statement) is named
