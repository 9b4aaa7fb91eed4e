"""How a table is drawn from records: Markdown, its cells formatted as `str.format` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from benchmarks.records.record import Record
from engine.errors import SettingsError

NONE = "-"  # nothing was measured there

Cell = str | Callable[[Record], str]  # a format of the row, or what makes a text of it


class _Cells(Formatter):
    """None is "-", a truth yes or no, a mapping its values beside each other, and `%` follows a space."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return NONE
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Mapping):
            return " / ".join(self.format_field(one, format_spec) for one in value.values())
        if format_spec.endswith("%"):
            return f"{100 * value:{format_spec[:-1]}f} %"
        return str(super().format_field(value, format_spec))


def cell(form: Cell, row: Record) -> str:
    """One cell."""
    return _Cells().vformat(form, (), row) if isinstance(form, str) else form(row)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: whose records it shows, its columns by their heads, and where its rows are.

    A head is a format of the record. rows: the name of a list, or of a mapping whose keys become `name`; or
    what makes them of the records; "" for a row a record.
    """

    instrument: str
    columns: Mapping[str, Cell]
    rows: str | Callable[..., Iterable[Record]] = ""
    files: Sequence[str] = ()  # that the documents show, less .json; default: the instrument's name
    part: str = ""  # of the record: what is shown only where it was asked for
    of_one_place: bool = True  # below the table stands where and when it was measured; else in its rows

    @property
    def records(self) -> Sequence[str]:
        """Names of files, less .json."""
        return self.files or (self.instrument,)

    def draw(self, *records: Record) -> str:
        """As GitHub draws it."""
        rows: Iterable[Record] = records
        if callable(self.rows):
            rows = self.rows(*records)
        elif self.rows:
            found = records[0][self.rows]
            rows = [{"name": name, **of} for name, of in found.items()] if isinstance(found, dict) else found
        heads = [cell(head, records[0]).strip() for head in self.columns]
        lines = [heads, *([cell(form, row) for form in self.columns.values()] for row in rows)]
        drawn = ["| " + " | ".join(cells) + " |" for cells in lines]
        drawn.insert(1, "|" + "---|" * len(heads))
        return "\n".join(drawn)

    def text(self, records: Sequence[Record]) -> str:
        """The Markdown with the place of the records."""
        places = dict.fromkeys(map(place, records))  # each once, in order
        return self.draw(*records) + (f"\n\n*{'; '.join(places)}*" if self.of_one_place else "")


def place(record: Record) -> str:
    """Where and when it was measured. Raises SettingsError where it was only tried."""
    if record["config"].get("quick"):
        raise SettingsError(f"a record of {record['benchmark']} was made with --quick: record it in full")
    return cell("{machine[cpu]}, {machine[cores]} cores, {date}, commit {commit}", record)
