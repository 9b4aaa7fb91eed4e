"""A sentence to feelings over time: word list, phrases, negation and degree by rule; the rest by its meaning.

Rules first, for a sentence's embedding knows neither degree nor negation well; it is asked only where no rule
speaks, and where it is unsure the answer is neutral. English; another language is neutral.
The rules for degree and negation follow VADER's idea (Hutto and Gilbert, ICWSM 2014), with words of our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from engine.errors import SettingsError
from engine.expression import lexicon
from engine.expression.feeling import NEUTRAL, NEUTRAL_NAME, Feeling, feeling_of

MOST_CHARACTERS = 1000
REACH = 3  # words before an emotional one in which degree and negation are looked for
NOT_HAPPY = 0.6  # of the strength, as sadness
ECHO = 0.1  # what each further word of the same emotion adds
Guess = Callable[[str], "tuple[str, float] | None"]  # emotion and strength of a sentence, None: unsure


@dataclass(frozen=True, slots=True)
class Understood:
    """One stretch of a sentence."""

    words: str
    emotion: str  # of EMOTIONS, or neutral
    strength: float  # 0 to 1
    by: str  # what decided: the words it was told by, "meaning", or "" for nothing understood

    @property
    def feeling(self) -> Feeling:
        """To be shown."""
        return NEUTRAL if self.emotion == NEUTRAL_NAME else feeling_of({self.emotion: self.strength})

    def __str__(self) -> str:
        if not self.by:
            return f"'{self.words}': nothing understood, so neutral"
        strength = "" if self.emotion == NEUTRAL_NAME else f" {self.strength:.2f}"
        return f"'{self.words}': {self.emotion}{strength} (by {self.by})"


@dataclass(frozen=True, slots=True)
class _Hit:
    """One emotional word."""

    emotion: str
    strength: float
    words: str


def understand(text: str, guess: Guess | None = None) -> list[Understood]:
    """What a sentence says, stretch by stretch, in order; at least one. guess: for what no rule knows.

    Raises SettingsError where it is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise SettingsError(f"the sentence has {len(text)} characters: give {MOST_CHARACTERS} at most")
    stretches = [_understood(part, guess) for part in _parts(text)] or [Understood("", NEUTRAL_NAME, 0.0, "")]
    known = [one for one in stretches if one.by] or stretches[:1]
    return [
        one for number, one in enumerate(known) if number == 0 or one.emotion != known[number - 1].emotion
    ]


def is_english(words: Sequence[str]) -> bool:
    """Whether function words speak for English rather than against it."""
    foreign = sum(word in lexicon.FOREIGN for word in words)
    return foreign == 0 or sum(word in lexicon.ENGLISH for word in words) > foreign


def words_of(text: str) -> list[str]:
    """In lower case, with apostrophes and hyphens kept; a comma is a word."""
    return re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*|[,;:.!?]", text.lower().replace("’", "'"))


def _parts(text: str) -> list[str]:
    """Cut where one feeling gives way to the next."""
    then = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in lexicon.THEN)
    return [part for part in re.split(rf"\s*(?:{then})\s*", text, flags=re.IGNORECASE) if words_of(part)]


def _understood(text: str, guess: Guess | None) -> Understood:
    words = words_of(text)
    shown = text.strip(" ,;.!?")
    if not is_english(words):
        return Understood(shown, NEUTRAL_NAME, 0.0, "")
    hits = list(_hits(words))
    if hits:
        sums: dict[str, float] = {}
        for hit in hits:
            before = sums.get(hit.emotion, 0.0)
            sums[hit.emotion] = max(before, hit.strength) + (ECHO if before else 0.0)
        emotion = max(sums, key=lambda name: (name != NEUTRAL_NAME, sums[name]))
        told_by = ", ".join(hit.words for hit in hits if hit.emotion == emotion)
        return Understood(
            shown, emotion, 0.0 if emotion == NEUTRAL_NAME else min(sums[emotion], 1.0), told_by
        )
    if guess is not None and lexicon.ENGLISH.intersection(words) and (guessed := guess(shown)):
        return Understood(shown, *guessed, "meaning")
    return Understood(shown, NEUTRAL_NAME, 0.0, "")


def _hits(words: Sequence[str]) -> Iterator[_Hit]:
    phrases, single = _phrases(), _words()
    at = 0
    while at < len(words):
        for length in range(min(7, len(words) - at), 0, -1):
            said = " ".join(words[at : at + length])
            found = phrases.get(said) or (_stemmed(said, single) if length == 1 else None)
            if found:
                yield _modified(*found, words, at, length)
                at += length
                break
        else:
            at += 1


def _modified(emotion: str, strength: float, words: Sequence[str], at: int, length: int) -> _Hit:
    """With the degree and the negation before it."""
    said, degree, negated = words[at : at + length], 1.0, False
    for back in range(1, REACH + 1):
        if at < back:
            break
        word, pair = words[at - back], " ".join(words[at - back : at - back + 2])
        if word in lexicon.ENDS_NEGATION or word in ",;:.!?":
            break
        negated |= word in lexicon.NEGATIONS and pair not in ("not only", "no wonder")
        factor = lexicon.DEGREE_PHRASES.get(pair) or _degrees().get(word)
        if factor and degree == 1.0:
            degree, said = factor, [*words[at - back : at], *said] if back <= 2 else said
    strength = min(strength * degree, 1.0)
    if not negated or emotion == NEUTRAL_NAME:
        return _Hit(emotion, strength, " ".join(said))
    told = f"not {' '.join(said)}"
    if emotion == "happy":
        return _Hit("sad", NOT_HAPPY * strength, told)
    return _Hit(NEUTRAL_NAME, 0.0, told)


def _stemmed(word: str, table: dict[str, tuple[str, float]]) -> tuple[str, float] | None:
    """The entry of a word, or of what is left without a plain ending."""
    if word in table:
        return table[word]
    for ending, instead in (
        ("ily", "y"), ("iness", "y"), ("ly", ""), ("ness", ""), ("ies", "y"), ("es", ""), ("s", ""),
        ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("er", ""), ("est", ""),
        ("ier", "y"), ("iest", "y"),
    ):  # fmt: skip
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: len(word) - len(ending)] + instead
            if stem in table:
                return table[stem]
    return None


@cache
def _words() -> dict[str, tuple[str, float]]:
    return {
        word: (emotion, strength)
        for emotion, by_strength in lexicon.WORDS.items()
        for strength, words in by_strength.items()
        for word in words.split()
    }


@cache
def _phrases() -> dict[str, tuple[str, float]]:
    return {
        phrase: (emotion, strength)
        for emotion, by_strength in lexicon.PHRASES.items()
        for strength, phrases in by_strength.items()
        for phrase in phrases
    }


@cache
def _degrees() -> dict[str, float]:
    return {word: factor for factor, words in lexicon.DEGREES.items() for word in words.split()}
