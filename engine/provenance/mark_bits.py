"""What the invisible mark says: 40 bits of which avatar, by which installation, on which day.

    4 bits   version of this layout, 1
    12 bits  avatar: the beginning of its digest
    12 bits  day, counted from 2026-01-01
    12 bits  installation: the beginning of its key's fingerprint; 0 where it has no key

Bits this few do not identify: they tell apart, and lead to who to ask.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from engine.errors import FileError
from engine.provenance.keys import fingerprint, installation_key, public_text

logger = logging.getLogger(__name__)

VERSION = 1
_FIRST_DAY = date(2026, 1, 1)
_FIELD_BITS = 12
_MOST = (1 << _FIELD_BITS) - 1


@dataclass(frozen=True, slots=True)
class MarkBits:
    """The fields of a mark."""

    avatar: int
    day: int
    installation: int

    def packed(self) -> bytes:
        """As engine.media.invisible_mark takes them."""
        number = VERSION
        for value in (self.avatar, self.day, self.installation):
            number = number << _FIELD_BITS | value
        return number.to_bytes(5, "big")

    @classmethod
    def read(cls, data: bytes) -> MarkBits | None:
        """None for another version's."""
        number = int.from_bytes(data, "big")
        if number >> 3 * _FIELD_BITS != VERSION:
            return None
        return cls(*(number >> shift & _MOST for shift in (2 * _FIELD_BITS, _FIELD_BITS, 0)))

    @property
    def date(self) -> date:
        """The day, UTC."""
        return _FIRST_DAY + timedelta(self.day)


def avatar_bits(digest: str) -> int:
    """Of an avatar's digest; 0 for none."""
    return int(digest[:3], 16) if digest else 0


def installation_bits(key: str) -> int:
    """Of a public key; 0 for none."""
    return int(fingerprint(key)[:3], 16) if key else 0


@dataclass(frozen=True, slots=True)
class TodaysBits:
    """The bits for pictures of an avatar that are made here, on whatever day they are made."""

    avatar: int
    installation: int

    def __call__(self) -> bytes:
        """As engine.media.invisible_mark takes them."""
        day = (datetime.now(timezone.utc).date() - _FIRST_DAY).days
        return MarkBits(self.avatar, min(max(day, 0), _MOST), self.installation).packed()


def bits_of(digest: str) -> TodaysBits:
    """The mark for pictures of this avatar that are made here."""
    try:
        key = public_text(installation_key())
    except FileError as error:
        logger.warning("the invisible mark does not say which installation this is: %s", error)
        key = ""
    return TodaysBits(avatar_bits(digest), installation_bits(key))
