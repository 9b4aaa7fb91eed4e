"""What the footage's sound says: how much of it is speech, how far the picture is off, how they speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.media.video import VideoWriter, probe
from engine.person.landmarks import Landmarks
from engine.voice.features import features_of
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker
from export.footage.checks import FrameStats
from export.footage.footage import Clip, Footage, Shot
from export.footage.prepared import Prepared
from export.footage.prepared_file import load_prepared, origin_of, save_prepared
from export.footage.voice import GOOD_SPEECH_S, FootageVoice, listen
from tests.support.puppet import Pose, Puppet
from tests.support.sounds import babble, hush, write_sound

FPS = 25
PERSON = Puppet(128, shape_seed=2)


def talk() -> FloatArray:
    """12 s: phrases of other lengths, with other pauses."""
    lengths = np.random.default_rng(3).uniform(0.3, 1.1, 12)
    pieces = [(hush(0.35 + 0.3 * (index % 3)), babble(length)) for index, length in enumerate(lengths)]
    return np.concatenate([piece for pair in pieces for piece in pair])


SOUND = talk()


def film(path: Path, sound: FloatArray | None) -> Path:
    """Grey, as long as SOUND."""
    given = None if sound is None else write_sound(path.with_suffix(".wav"), sound, 16_000, "pcm_s16le")
    with VideoWriter(path, 64, 64, Fraction(FPS), audio_from=given) as writer:
        for _ in range(len(SOUND) * FPS // 16_000):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    return path


def speaking(early_s: float) -> list[Landmarks]:
    """A puppet whose lips do what the base expects, so much before it is heard; it blinks every 3 s."""
    gaps = Speaker().predict(features_of(SOUND))[:, LIP_GAP]
    times_s = np.arange(len(SOUND) * FPS // 16_000) / FPS
    opened = np.interp(times_s + early_s, np.arange(len(gaps)) / 25, gaps)
    return [
        PERSON.landmarks(
            Pose(
                mouth=float(gap),
                lids=(0.0, 0.0) if 1.0 < time_s % 3.0 < 1.2 else (1.0, 1.0),
                yaw_deg=float(2 * np.sin(5 * time_s)),
            )
        )
        for gap, time_s in zip(opened, times_s, strict=True)
    ]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, bool], FootageVoice]:
    folder = tmp_path_factory.mktemp("films")
    films = {has: film(folder / f"{has}.mp4", SOUND if has else None) for has in (True, False)}

    def go(early_s: float, has_sound: bool, with_print: bool = False) -> FootageVoice:
        landmarks = speaking(early_s)
        stats = [FrameStats(index / FPS, 0.0, 90.0, 0.2, 1.0, None) for index in range(len(landmarks))]
        path = films[has_sound]
        clip = Clip(path, None, 0, probe(path), tuple(landmarks), tuple(stats), (Shot(0, len(landmarks)),))
        return listen(Footage((clip,), ()), with_print)

    return go


@pytest.mark.parametrize(("early_ms", "side"), [(0, ""), (200, "before"), (-160, "behind")])
def test_an_offset_is_found_said_and_mended(
    heard: Callable[..., FootageVoice], early_ms: int, side: str
) -> None:
    found = heard(early_ms / 1e3, True, True)
    assert found.facts["offset_ms"] == [pytest.approx(early_ms, abs=40)]
    assert found.facts["certainty"][0] >= 0.8
    offset_words = [warning for warning in found.warnings if "its sound" in warning]
    assert len(offset_words) == bool(side)
    assert all(f" ms {side} its sound" in warning for warning in offset_words)
    assert found.facts["lips"] > 0.7  # fitted to the first part, they foretell the rest: the offset is mended
    assert found.own.fit is not None
    assert found.own.print is not None


def test_without_sound_no_print_is_made_and_that_is_said(heard: Callable[..., FootageVoice]) -> None:
    found = heard(0.0, False, True)
    assert found.own.print is None
    assert any("no voice print is kept: it wants 8 s" in warning for warning in found.warnings)


def test_speech_is_counted_and_more_is_asked_for(heard: Callable[..., FootageVoice]) -> None:
    found = heard(0.0, True)
    assert found.own.print is None  # nobody agreed to one
    assert 4.0 < found.facts["speech_s"] < GOOD_SPEECH_S
    assert any(f"only {found.facts['speech_s']:.0f} s of speech" in warning for warning in found.warnings)


def test_habits_are_the_persons_own(heard: Callable[..., FootageVoice]) -> None:
    habits = heard(0.0, True).own.habits
    assert habits.blinks_per_min == pytest.approx(20, abs=3)
    assert habits.turn_deg[0] > habits.turn_deg[1]


def test_footage_without_sound_teaches_habits_alone(heard: Callable[..., FootageVoice]) -> None:
    found = heard(0.0, False)
    assert found.own.fit is None
    assert found.own.habits.blinks_per_min == pytest.approx(20, abs=3)
    assert found.facts == {"speech_s": None, "offset_ms": [], "certainty": [], "lips": None}
    assert found.warnings == ("no sound in the footage: driven by voice, the lips move in nobody's own way",)


def test_a_prepared_file_carries_it(
    heard: Callable[..., FootageVoice], prepared: Prepared, tmp_path: Path
) -> None:
    found, path = heard(0.0, True), tmp_path / "me.prepared.npz"
    origin = origin_of((), (), found.warnings, found.facts)
    save_prepared(path, replace(prepared, voice=found.own), origin)
    again, said = load_prepared(path)
    assert said == origin
    assert again.voice is not None
    assert found.own.fit is not None
    assert again.voice.fit is not None
    assert np.array_equal(again.voice.fit.rows, found.own.fit.rows)
    save_prepared(path, prepared, replace(origin, sound=None))
    again, said = load_prepared(path)
    assert (again.voice, said.sound) == (None, None)
