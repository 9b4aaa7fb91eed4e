"""A consent that somebody spoke: the sentence that is shown to them, and what is kept of the clip.

The sentence ends in a word that only this installation's key can choose, so no older film of the person has
it. What the clip shows is judged by `export.consent_clip`, and written into the avatar's consent, which is
signed with all else; the clip itself stays with whoever made the avatar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.provenance.chain import Standing
from engine.provenance.keys import installation_key, sign

CLIP = "clip"  # its key in consent.json
VERIFIED, IN_PART, CONTRADICTED = "verified", "in part", "contradicted"
UNVERIFIED = "not verified: nobody was heard or seen to say it"
_PURPOSE = b"avatarcast consent word 1\n"
# Of two syllables and more, which sound like none of the others.
# fmt: off
WORDS = (
    "tiger", "river", "candle", "window", "orange", "mountain", "pencil", "garden", "yellow", "hammer",
    "island", "kitchen", "lemon", "monkey", "napkin", "ocean", "pepper", "rabbit", "silver", "table",
    "umbrella", "valley", "winter", "zebra", "basket", "carpet", "dragon", "engine", "feather", "guitar",
    "helmet", "jacket", "ladder", "magnet", "needle", "onion", "pillow", "quarter", "rocket", "saddle",
    "tunnel", "velvet", "walnut", "anchor", "balloon", "cotton", "dolphin", "elbow", "forest", "giraffe",
    "honey", "insect", "jungle", "lantern", "melon", "nickel", "oyster", "parrot", "ribbon", "scissors",
    "tomato", "violin", "whistle", "button",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is to be said."""

    text: str
    word: str


def sentence(statement: str) -> Sentence:
    """The one for this consent, as `enroll --consent` has it. Raises FileError where there can be no key."""
    statement = " ".join(statement.split())
    drawn = hashlib.sha256(sign(installation_key(), _PURPOSE + statement.encode()).encode()).digest()
    word = WORDS[int.from_bytes(drawn[:4], "big") % len(WORDS)]
    who = statement.split(",")[0].strip()
    return Sentence(f"I, {who}, agree to an avatar of me. My word is {word}.", word)


def clip_verdict(consent: Mapping[str, Any], standing: Standing) -> str:
    """VERIFIED, IN_PART or CONTRADICTED; empty where there was no clip, or nobody known here says so."""
    clip = consent.get(CLIP)
    found = clip.get("verdict") if isinstance(clip, Mapping) else None
    known = found in (VERIFIED, IN_PART, CONTRADICTED)
    return str(found) if known and (standing.is_vouched or found == CONTRADICTED) else ""


def clip_words(consent: Mapping[str, Any], standing: Standing) -> str:
    """What an avatar's consent clip is worth here, for people."""
    clip = consent.get(CLIP)
    if not isinstance(clip, Mapping):
        return UNVERIFIED
    if not (verdict := clip_verdict(consent, standing)):
        return "not verified: a clip is named, but by nobody who is known here"
    told = f"{verdict}, by a clip"
    words = clip.get("words")
    return f"{told}: {words}" if isinstance(words, str) else told
