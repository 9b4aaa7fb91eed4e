"""Records in an avatar's file that only tell: its report, its training, the facts of its networks.

They may say anything, as JSON does, so what is shown of them is read without trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(record: object, *keys: str) -> Mapping[str, Any]:
    """The table under these keys, one within the other; an empty one where there is none."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def number(record: object, *keys: str) -> float | None:
    """The number under these keys; None where there is none."""
    value = table(record, *keys[:-1]).get(keys[-1]) if keys else record
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def printable(value: object) -> str:
    """A text on one line, with control characters spelt out: a file must not steer the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))
