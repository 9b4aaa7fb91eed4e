"""Consent clips: the person, another one, a still picture, no sound. The presenters stand in for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
from benchmarks.pictures.clips import FILMS
from benchmarks.pictures.consent_clips import FPS, held_up, written
from engine.arrays import FloatArray, U8Image
from engine.errors import SettingsError, VideoError
from engine.media.video import read_frames
from engine.tracking.face_embedding import embedding
from engine.tracking.face_finder import FaceFinder
from export.consent_clip import (
    NOT_HEARD,
    NOT_LISTENED,
    RATE_HZ,
    ClipJudgement,
    heard_words,
    judge_clip,
    samples_of,
)
from tests.support.places import PRESENTER, SHARED

SECONDS = 2.5
COUNT = round(SECONDS * FPS)


@pytest.fixture(scope="module")
def speech() -> FloatArray:
    return samples_of(PRESENTER)[: round(SECONDS * RATE_HZ)]


@pytest.fixture(scope="module")
def pictures() -> list[U8Image]:
    return [frame.rgb for frame in read_frames(PRESENTER)][:COUNT]


def faces_of(film: Path) -> list[FloatArray]:
    """Embeddings of one picture a second."""
    finder = FaceFinder()
    some = [frame.rgb for frame in read_frames(film) if frame.index % 15 == 0]
    return [embedding(rgb, face) for rgb in some if (face := finder.find(rgb)) is not None]


@pytest.fixture(scope="module")
def own() -> list[FloatArray]:
    """Of the same person, in another film."""
    return faces_of(FILMS["theo"])


@pytest.fixture
def judged(tmp_path: Path, own: list[FloatArray]) -> Callable[..., ClipJudgement]:
    def judge(*film: Any, faces: list[FloatArray] = own) -> ClipJudgement:
        return judge_clip(written(tmp_path / "clip.webm", *film), "tiger", faces)

    return judge


def test_the_person_who_speaks(
    judged: Callable[..., ClipJudgement], pictures: list[U8Image], speech: FloatArray
) -> None:
    found = judged(pictures, speech)
    assert (found.face, found.lips) == ("same", "moving with speech")
    assert found.word in (NOT_HEARD, NOT_LISTENED)  # nobody said it
    assert found.verdict == "in part"
    assert "the face of the footage" in found.words


def test_another_person(
    judged: Callable[..., ClipJudgement], pictures: list[U8Image], speech: FloatArray
) -> None:
    found = judged(pictures, speech, faces=faces_of(FILMS["amara"]))
    assert (found.face, found.verdict) == ("another", "contradicted")


def test_a_photograph_held_up(
    judged: Callable[..., ClipJudgement], pictures: list[U8Image], speech: FloatArray
) -> None:
    found = judged(list(held_up(pictures[0], COUNT, np.random.default_rng(0))), speech)
    assert (found.face, found.lips, found.verdict) == ("same", "still", "contradicted")


@pytest.mark.parametrize("sound", [None, "silence", "hum"])
def test_a_clip_without_speech(
    judged: Callable[..., ClipJudgement], pictures: list[U8Image], speech: FloatArray, sound: str | None
) -> None:
    hum = 0.1 * np.sin(np.arange(len(speech)) * 0.1, dtype=np.float32)
    found = judged(pictures, {None: None, "silence": 0 * speech, "hum": hum}[sound])
    assert (found.lips, found.word, found.verdict) == ("silent", NOT_HEARD, "contradicted")


def test_nobody_in_it(judged: Callable[..., ClipJudgement], speech: FloatArray) -> None:
    found = judged([np.full((128, 128, 3), 90, np.uint8)] * COUNT, speech)
    assert (found.face, found.face_distance, found.verdict) == ("none", None, "contradicted")


def test_what_is_no_clip_is_refused_in_a_line(tmp_path: Path, pictures: list[U8Image]) -> None:
    short = written(tmp_path / "short.webm", pictures[:20], None)
    with pytest.raises(SettingsError, match=r"is 0\.8 s long; wanted 2 to 60 s"):
        judge_clip(short, "tiger", [])
    (tmp_path / "text.webm").write_text("no film")
    with pytest.raises(VideoError):
        judge_clip(tmp_path / "text.webm", "tiger", [])


def test_a_word_that_was_said_is_heard() -> None:
    pytest.importorskip("moonshine_voice", reason="needs the extra hear")
    if not (film := SHARED / "speech" / "jfk_11s_16k.wav").exists():
        pytest.skip(f"{film} is not there")
    words = heard_words(samples_of(film))
    assert words is not None
    assert {"fellow", "americans", "country"} <= words
    assert "tiger" not in words
