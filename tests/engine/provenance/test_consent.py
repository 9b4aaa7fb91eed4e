"""The sentence of a consent clip, and what a clip is worth by who vouches for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.provenance.chain import BROKEN, HERE, TRUSTED, UNKNOWN, UNSIGNED, Standing
from engine.provenance.consent import UNVERIFIED, WORDS, clip_verdict, clip_words, sentence

ADA = "Ada Lovelace, to an avatar for her talks"


def test_the_sentence_is_bound_to_name_statement_and_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = sentence(ADA)
    assert said.text == f"I, Ada Lovelace, agree to an avatar of me. My word is {said.word}."
    assert said == sentence(f" {ADA} ".replace(" to", "  to"))  # spaces say nothing
    assert len({sentence(f"Ada, for {number}").word for number in range(40)}) > 20
    here = [sentence(f"Ada, for {number}").word for number in range(8)]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # another key
    assert [sentence(f"Ada, for {number}").word for number in range(8)] != here
    assert len(set(WORDS)) == 64


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["enroll", "--consent-sentence", ADA])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{sentence(ADA).text}\n"


@pytest.mark.parametrize(
    ("state", "verdict", "shown"),
    [
        (HERE, "verified", "verified, by a clip: it was she"),
        (TRUSTED, "in part", "in part, by a clip: it was she"),
        (UNKNOWN, "verified", "not verified: a clip is named, but by nobody who is known here"),
        (UNSIGNED, "in part", "not verified: a clip is named, but by nobody who is known here"),
        (BROKEN, "verified", "not verified: a clip is named, but by nobody who is known here"),
        (UNSIGNED, "contradicted", "contradicted, by a clip: it was she"),
        (HERE, "certainly", "not verified: a clip is named, but by nobody who is known here"),
    ],
)
def test_a_clip_counts_where_somebody_known_saw_it(state: str, verdict: str, shown: str) -> None:
    consent: dict[str, Any] = {"clip": {"verdict": verdict, "words": "it was she"}}
    standing = Standing(state, "")
    assert clip_words(consent, standing) == shown
    assert bool(clip_verdict(consent, standing)) == (not shown.startswith("not verified"))


@pytest.mark.parametrize("clip", [None, "verified", ["verified"], 3])
def test_what_is_no_record_of_a_clip_is_none(clip: Any) -> None:
    assert clip_words({"clip": clip}, Standing(HERE, "")) == UNVERIFIED
    assert clip_words({}, Standing(HERE, "")) == UNVERIFIED
