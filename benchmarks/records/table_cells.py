"""What the tables of figures are built of: Markdown, numbers, and a dash where nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
NONE = "-"  # nothing was measured there


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub draws it."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)


def number(value: float | None, digits: int = 0) -> str:
    """The figure with so many digits behind the point; NONE of nothing."""
    return NONE if value is None else f"{value:,.{digits}f}"


def ranks(values: Record, names: Sequence[str] = ("p50", "p95", "p99"), digits: int = 0) -> str:
    """Percentiles beside each other."""
    return " / ".join(number(values[name], digits) for name in names)
