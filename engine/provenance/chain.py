"""What was done to an avatar, by whom: a chain of signed records, the last of which is of what it is now.

Each record names the digest of the manifest, and so every member with consent and footage's hash, and the
record before it (a hash chain, Haber and Stornetta, "How to time-stamp a digital document", 1991). No clock
is trusted: a record's date is what its signer says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.provenance.keys import KeyRing, canonical, fingerprint, presenters, public_text, sign, verifies

MAX_CHAIN_BYTES = 64 * 1024
MAX_RECORDS = 64
MADE, CHANGED, EXPORTED = "made", "changed", "exported"
_PURPOSE = b"avatarcast avatar record 1\n"  # so that no signature is taken for one of something else
_FIELDS = ("action", "before", "date", "digest", "key", "previous", "signature")

BY_PRESENTERS, HERE, TRUSTED = "presenters", "here", "trusted"
UNKNOWN, UNSIGNED, BROKEN = "unknown", "unsigned", "broken"


@dataclass(frozen=True, slots=True)
class Standing:
    """What an avatar's signatures are worth at this installation."""

    state: str  # BY_PRESENTERS, HERE, TRUSTED, UNKNOWN, UNSIGNED or BROKEN
    words: str  # for people
    records: tuple[Mapping[str, str], ...] = ()  # the oldest first; none where they are broken
    withdrawn: str = ""  # since when consent is known to be withdrawn, YYYY-MM-DD

    @property
    def is_vouched(self) -> bool:
        """Whether everybody who had a hand in it is known here."""
        return self.state in (BY_PRESENTERS, HERE, TRUSTED)


def extended(
    earlier: bytes | None, key: Ed25519PrivateKey, digest: str, action: str, before: str = ""
) -> bytes:
    """The chain with one more record, for an avatar whose manifest has this digest.

    earlier: its chain till now. before: the digest it had till now; empty for one that is new. A broken chain
    stays broken: nothing is healed by signing it again.
    """
    records = _parsed(earlier) if earlier is not None else []
    if records is None:
        return earlier or b""
    record = {
        "action": action,
        "before": before,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "digest": digest,
        "key": public_text(key),
        "previous": _hash(records[-1]) if records else "",
    }
    return canonical({"records": [*records, {**record, "signature": sign(key, _signed(record))}]})


def chain_of(chain: bytes | None, digest: str) -> bytes | None:
    """The chain in a file; where it has none, the one that is shipped for a bundled presenter."""
    shipped = presenters()["avatars"].get(digest) if chain is None else None
    return chain if shipped is None else canonical({"records": shipped})


def standing(chain: bytes | None, digest: str, ring: KeyRing) -> Standing:
    """What this chain says of an avatar whose manifest has this digest."""
    if (chain := chain_of(chain, digest)) is None:
        return Standing(UNSIGNED, "unsigned")
    records = _parsed(chain)
    if records is None:
        return Standing(BROKEN, "broken: its signatures cannot be read")
    if (flaw := _flaw(records, digest)) is not None:
        return Standing(BROKEN, f"broken: {flaw}")
    return _judged(records, ring)


def _judged(records: Sequence[Mapping[str, str]], ring: KeyRing) -> Standing:
    """Of a chain that is whole."""
    last, kept = records[-1]["key"], tuple(records)
    by = "signed here" if last == ring.own else f"signed by {ring.name_of(last)}"
    if not ring.name_of(last):
        return Standing(UNKNOWN, f"signed by an unknown key, {fingerprint(last)}", kept)
    strangers = [record["key"] for record in records if not ring.name_of(record["key"])]
    if strangers:
        return Standing(UNKNOWN, f"{by}, before that by an unknown key, {fingerprint(strangers[-1])}", kept)
    if records[0]["before"]:
        return Standing(UNKNOWN, f"{by}, made of an unsigned file", kept)
    if last == ring.presenters:
        return Standing(BY_PRESENTERS, by, kept)
    return Standing(HERE if last == ring.own else TRUSTED, by, kept)


def _flaw(records: Sequence[Mapping[str, str]], digest: str) -> str | None:
    """What is wrong with it, in words."""
    if records[-1]["digest"] != digest:
        return "it was changed after it was signed"
    previous: Mapping[str, str] | None = None
    for record in records:
        if record["previous"] != ("" if previous is None else _hash(previous)):
            return "a record is missing from its chain"
        if previous is not None and record["before"] != previous["digest"]:
            return "it was changed between two signatures"
        if not verifies(record["key"], record["signature"], _signed(record)):
            return "a signature does not fit"
        previous = record
    return None


def _parsed(chain: bytes) -> list[dict[str, str]] | None:
    """The records, each with all its fields as texts; None where it is anything else."""
    if len(chain) > MAX_CHAIN_BYTES:
        return None
    try:
        kept: Any = json.loads(chain)
    except (ValueError, RecursionError):
        return None
    records = kept.get("records") if isinstance(kept, dict) and len(kept) == 1 else None
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_RECORDS:
        return None
    for record in records:
        if not isinstance(record, dict) or sorted(record) != sorted(_FIELDS):
            return None
        if not all(isinstance(value, str) for value in record.values()):
            return None
    return records


def _signed(record: Mapping[str, str]) -> bytes:
    """What a signature is of."""
    return _PURPOSE + canonical({key: record[key] for key in _FIELDS if key != "signature"})


def _hash(record: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(record)).hexdigest()
