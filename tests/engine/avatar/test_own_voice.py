"""How a person speaks, in the avatar's file: it comes back, older files have none, flaws are one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import VOICE, load_avatar, save_avatar
from engine.avatar.members import encode_arrays, read_voice
from engine.commands.info import as_lines, facts
from engine.errors import PackageError
from engine.voice.idle import Habits
from engine.voice.own import OwnVoice, voice_arrays
from engine.voice.speaker import Speaker, fit_speaker
from tests.engine.voice.test_speaker import heard, way
from tests.support.forged_package import forge

ROWS = heard(200)
OWN = OwnVoice(
    Habits(9.0, 14.0, 3.0, (1.0, 0.5, 0.25), (0.01, 0.02), 11.0, 3.5), fit_speaker(ROWS, way(ROWS, 1))
)
PRINT = np.full(256, 1 / 16, np.float32)  # of length 1
PRINTED = replace(OWN, print=PRINT)


@pytest.fixture
def file(tmp_path: Path, noise: Avatar) -> Path:
    path = tmp_path / "own.avatar"
    save_avatar(path, replace(noise, voice=OWN))
    return path


def test_it_comes_back_and_speaks_the_same(file: Path) -> None:
    voice = load_avatar(file).voice
    assert voice is not None
    assert voice.habits.blinks_per_min == 9.0
    assert voice.habits.turn_deg == (1.0, 0.5, 0.25)
    assert (voice.habits.nods_per_min, voice.habits.nod_deg) == (11.0, 3.5)
    assert voice.fit is not None
    assert np.array_equal(Speaker(voice.fit).predict(ROWS), Speaker(OWN.fit).predict(ROWS))


def test_habits_alone(tmp_path: Path, noise: Avatar) -> None:
    path = tmp_path / "quiet.avatar"
    save_avatar(path, replace(noise, voice=OwnVoice(Habits())))
    voice = load_avatar(path).voice
    assert voice is not None
    assert voice.fit is None


def test_an_older_file_has_none(avatar_file: Path) -> None:
    avatar = load_avatar(avatar_file)
    assert avatar.voice is None
    said = "nobody's own way: too little speech was learnt from, or by an earlier version; enrol again"
    assert f"voice      {said}" in as_lines(facts(avatar))


def test_info_says_whose_way_and_how_far_the_picture_was_off(tmp_path: Path, noise: Avatar) -> None:
    path = tmp_path / "own.avatar"
    sound = {"speech_s": 23.4, "lips": 0.56, "offset_ms": [200, None], "certainty": [0.95, None]}
    save_avatar(path, replace(noise, voice=OWN, report={"held_out": None, "sound": sound}))
    said = "\n".join(as_lines(facts(load_avatar(path))))
    assert "its person's own way, of 23 s of speech, lips correlate by 0.56" in said
    assert "picture 200 ms before its sound (95% sure)" in said


def test_a_file_from_before_nods_has_the_usual_ones() -> None:
    arrays = {name: array for name, array in voice_arrays(OWN).items() if name != "nods"}
    habits = read_voice(Path("old.avatar"), VOICE, encode_arrays(arrays)).habits
    assert habits.blinks_per_min == 9.0
    assert habits.nods_per_min == Habits().nods_per_min


def named(consent: dict[str, object]) -> dict[str, object]:
    return consent | {"statement": "Ada, to an avatar with a voice print of hers"}


def test_a_print_of_the_voice_comes_back_where_its_consent_names_one(tmp_path: Path, noise: Avatar) -> None:
    path = tmp_path / "own.avatar"
    save_avatar(path, replace(noise, voice=PRINTED, consent=named(noise.consent)))
    avatar = load_avatar(path)
    assert avatar.voice is not None
    assert avatar.voice.print is not None
    assert np.array_equal(avatar.voice.print, PRINT)
    assert "; a print of their voice is kept" in "\n".join(as_lines(facts(avatar)))


def test_a_print_that_no_consent_names_is_refused(file: Path) -> None:
    forge(file, {VOICE: encode_arrays(voice_arrays(PRINTED))})
    with pytest.raises(PackageError, match=r"member voice.npz: a voice print that its consent does not name"):
        load_avatar(file)


FLAWS: dict[str, Callable[[dict[str, FloatArray]], dict[str, FloatArray]]] = {
    "array habits is missing": lambda a: {k: v for k, v in a.items() if k != "habits"},
    r"array habits is \(3,\); wanted \(8,\)": lambda a: a | {"habits": np.ones(3, np.float32)},
    "array habits leaves 0..120": lambda a: a | {"habits": np.full(8, -1, np.float32)},
    r"array nods is \(3,\); wanted \(2,\)": lambda a: a | {"nods": np.ones(3, np.float32)},
    "array 'sound' is unknown": lambda a: a | {"sound": np.ones(16_000, np.float32)},
    "array 'fit_sound' is unknown": lambda a: a | {"fit_sound": np.ones(16_000, np.float32)},
    r"array print is \(3,\); wanted \(256,\)": lambda a: a | {"print": np.ones(3, np.float32)},
    "array print leaves 0..1": lambda a: a | {"print": -PRINT},
    "array print is not of length 1": lambda a: a | {"print": 2 * PRINT},
    "no rows": lambda a: {k: v for k, v in a.items() if k != "fit_rows"},
    "array fit_middle leaves": lambda a: a | {"fit_middle": np.full_like(a["fit_middle"], 1e9)},
    "values that are not finite": lambda a: a | {"fit_middle": np.full_like(a["fit_middle"], np.nan)},
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_said_in_a_line(file: Path, flaw: str) -> None:
    forge(file, {VOICE: encode_arrays(FLAWS[flaw](voice_arrays(OWN)))})
    with pytest.raises(PackageError, match=f"own.avatar: member voice.npz: .*{flaw}"):
        load_avatar(file)
