"""What the invisible mark says, in 40 bits."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from pathlib import Path

import pytest

from engine.avatar.avatar_file import load_avatar, load_cover
from engine.media.disclosure import MarkStyle
from engine.media.invisible_mark import BYTES
from engine.provenance.keys import key_ring
from engine.provenance.mark_bits import MarkBits, avatar_bits, bits_of, installation_bits


def test_they_are_packed_and_read() -> None:
    bits = MarkBits(avatar=0xABC, day=333, installation=0x123)
    packed = bits.packed()
    assert len(packed) == BYTES
    assert MarkBits.read(packed) == bits
    assert bits.date.isoformat() == "2026-11-30"
    assert MarkBits.read(b"\x20" + packed[1:]) is None  # another version's


def test_an_avatars_pictures_say_which_it_is_and_where_they_were_made(avatar_file: Path) -> None:
    avatar, cover = load_avatar(avatar_file), load_cover(avatar_file)
    style = avatar.marks(MarkStyle())
    assert style is not None
    assert cover.marks(MarkStyle()) == style
    assert avatar.stored is not None
    found = MarkBits.read(style.bits())
    today = datetime.now(timezone.utc).date()
    assert found is not None
    assert (found.avatar, found.installation) == (
        avatar_bits(avatar.stored.digest),
        installation_bits(key_ring().own),
    )
    assert 0 <= (today - found.date).days <= 1
    assert load_cover("theo").marks(MarkStyle()) is None


def test_the_day_is_that_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not of the server's start."""
    bits = bits_of("ab" * 32)

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls(2027, 2, 3, tzinfo=tz)

    monkeypatch.setattr("engine.provenance.mark_bits.datetime", Later)
    found = MarkBits.read(bits())
    assert found is not None
    assert found.date.isoformat() == "2027-02-03"


def test_without_a_key_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_bytes(b"no folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = MarkBits.read(bits_of("abc" * 20)())
    assert found is not None
    assert (found.avatar, found.installation) == (0xABC, 0)
    assert "does not say which installation this is" in caplog.text
