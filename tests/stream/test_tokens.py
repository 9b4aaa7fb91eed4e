"""Tokens: what they say, that nobody makes one up, when they end; and who may come back to a session."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.refusal import RequestRefused
from stream.sessions.tokens import MAX_MADE, NOBODY, OPERATOR, BadToken, Claim, Grant, Right, Tokens

MASTER = "the-operator's-token-of-a-test"
NOW_S = 1_000_000.0


def minted(tokens: Tokens, *rights: Right, scope: str = "", for_s: float = 60.0) -> str:
    return tokens.make(rights, scope, NOW_S + for_s, NOW_S).text


def test_a_token_says_what_it_was_made_for() -> None:
    tokens = Tokens(MASTER)
    assert tokens.read(MASTER, NOW_S) == OPERATOR
    made = tokens.make([Right.STUDIO, Right.PRESENT], "studio-1", NOW_S + 60.7, NOW_S)
    assert re.fullmatch(r"[\w.+-]+", made.text)  # as it stands in addresses and header fields
    grant = tokens.read(made.text, NOW_S + 59)
    assert (
        grant
        == made.grant
        == Grant(frozenset({Right.PRESENT, Right.STUDIO}), "studio-1", made.grant.id, NOW_S + 60)
    )
    assert made.text not in repr(made)
    assert minted(tokens, Right.WATCH) != minted(tokens, Right.WATCH)


def test_tokens_end() -> None:
    tokens = Tokens(MASTER)
    text = minted(tokens, Right.WATCH)
    with pytest.raises(BadToken, match="has expired"):
        tokens.read(text, NOW_S + 60)
    other = minted(tokens, Right.WATCH)
    tokens.revoke(text.split(".")[3])
    with pytest.raises(BadToken, match="was revoked"):
        tokens.read(text, NOW_S)
    assert tokens.read(other, NOW_S).may(Right.WATCH)
    assert [grant.id for grant in tokens.made(NOW_S)] == [other.split(".")[3]]
    tokens.change_key()
    for old in (text, other):
        with pytest.raises(BadToken, match="missing or wrong"):
            tokens.read(old, NOW_S)
    assert not tokens.made(NOW_S)
    assert tokens.read(MASTER, NOW_S) == OPERATOR
    with pytest.raises(BadToken):
        Tokens(MASTER).read(minted(tokens, Right.WATCH), NOW_S)  # of another server, or before a restart


FIXED = Tokens(MASTER)
GOOD = minted(FIXED, Right.WATCH, scope="studio")


@given(
    st.integers(0, len(GOOD) - 1),
    st.sampled_from(string.printable) | st.characters(),
    st.sampled_from(["change", "insert", "cut"]),
)
def test_a_token_that_was_changed(at: int, letter: str, how: str) -> None:
    tail = {"change": letter + GOOD[at + 1 :], "insert": letter + GOOD[at:], "cut": ""}[how]
    changed = GOOD[:at] + tail
    if changed != GOOD:
        with pytest.raises(BadToken):
            FIXED.read(changed, NOW_S)


@pytest.mark.parametrize(
    "text", ["", ".", "....", "operate....", "watch", "\udcff", "watch.studio.99999999999.id.", "é.é.é.é.é"]
)
def test_tokens_that_are_none(text: str) -> None:
    for tokens in (FIXED, Tokens(None)):
        with pytest.raises(BadToken, match="missing or wrong"):
            tokens.read(text, NOW_S)


def test_more_rights_cannot_be_written_into_a_token() -> None:
    rights, *rest = GOOD.split(".")
    for forged in ("operate", "present", "watch+operate"):
        with pytest.raises(BadToken):
            FIXED.read(".".join([forged, *rest]), NOW_S)
    assert rights == "watch"


def test_tokens_in_use_are_bounded() -> None:
    tokens = Tokens(MASTER)
    for _ in range(MAX_MADE):
        minted(tokens, Right.WATCH)
    with pytest.raises(RequestRefused, match="revoke some first"):
        minted(tokens, Right.WATCH)
    tokens.make({Right.WATCH}, "", NOW_S + 120, NOW_S + 60)  # those before have expired


def test_a_name_with_a_token_is_its_holders() -> None:
    tokens = Tokens(MASTER)
    anybody = tokens.read(minted(tokens, Right.PRESENT), NOW_S)
    assert tokens.name_for(anybody, "studio", NOW_S) == "studio"
    assert tokens.name_for(anybody, None, NOW_S) is None
    ada = tokens.read(minted(tokens, Right.PRESENT, scope="studio"), NOW_S)
    with pytest.raises(RequestRefused, match="kept for whoever has its token"):
        tokens.name_for(anybody, "studio", NOW_S)
    with pytest.raises(RequestRefused, match="presents as 'studio', not as 'other'"):
        tokens.name_for(ada, "other", NOW_S)
    assert tokens.name_for(ada, None, NOW_S) == tokens.name_for(ada, "studio", NOW_S) == "studio"
    assert tokens.name_for(OPERATOR, "studio", NOW_S) == "studio"


def test_who_holds_a_claim() -> None:
    for_name = Grant(frozenset({Right.PRESENT}), "studio", "id-1")
    for_any = Grant(frozenset({Right.PRESENT}), "", "id-2")
    claim = Claim("studio", for_name)
    assert claim.is_held(claim.secret, for_any)
    assert claim.is_held("", for_name)
    for secret, grant in (("", OPERATOR), ("", for_any), (claim.secret[:-1], for_any), ("\ud800", OPERATOR)):
        assert not claim.is_held(secret, grant)
    assert not Claim("studio", for_any).is_held("", for_any)  # others may have the same token
    assert not Claim(None, OPERATOR).is_held("", OPERATOR)
    untold = Claim("studio", for_any, has_secret=False)  # of a WHIP publisher, who has nothing but the token
    assert untold.is_held("", for_any)
    for grant in (for_name, OPERATOR, NOBODY):
        assert not untold.is_held("", grant)
