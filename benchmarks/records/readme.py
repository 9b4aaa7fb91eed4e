"""Do the tables in the documents say what the records say?

    avatarcast bench readme [--check]

Writes each table of benchmarks.records.tables between its two marks in README.md, TRUST.md,
benchmarks/README.md and benchmarks/capacity.md,

    <!-- figures:NAME -->
    <!-- end -->

from benchmarks/results/*.json. Where a record is missing stands how to take it. A table whose record lacks a
figure is left out and named; the exit status is then 1. --check writes nothing and names what would change.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.instrument import parser_of
from benchmarks.records.machine import ROOT
from benchmarks.records.record import read_record
from benchmarks.records.tables import TABLES
from engine.errors import SettingsError

DOCUMENTS = (
    *(ROOT / "README.md", ROOT / "TRUST.md"),
    *(ROOT / "benchmarks" / "README.md", ROOT / "benchmarks" / "capacity.md"),
)
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(
    r"(?P<start><!-- figures:(?P<name>\S+) -->\n)(?P<text>.*?)(?P<end><!-- end -->)", re.DOTALL
)
_OPENING = "<!-- figures:"


def table_text(name: str, results: Path) -> str:
    """The Markdown of one table. Raises SettingsError: unknown name, unfit record."""
    if name not in TABLES:
        raise SettingsError(f"figures:{name} is unknown; wanted one of {', '.join(sorted(TABLES))}")
    table = TABLES[name]
    for record in table.records:
        if not (results / f"{record}.json").exists():
            return f"*Not measured yet: `avatarcast bench {table.instrument} --out {record}.json`.*"
    try:
        records = [read_record(results / f"{record}.json") for record in table.records]
        return table.text(records)
    except SettingsError as error:
        raise SettingsError(f"figures:{name}: {error}") from error
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"figures:{name}: {' or '.join(table.records)} lacks what the table shows "
            f"({type(error).__name__}: {error}); wanted a record of the present instrument: record it again"
        ) from error


def rewrite(text: str, results: Path) -> tuple[str, list[str]]:
    """The document with its tables drawn anew, and what was wrong with those left out.

    Raises SettingsError when a mark has no end.
    """
    complaints: list[str] = []

    def draw(block: re.Match[str]) -> str:
        try:
            table = table_text(block["name"], results) + "\n"
        except SettingsError as error:
            complaints.append(str(error))
            table = ""
        return block["start"] + table + block["end"]

    blocks = list(_BLOCK.finditer(text))
    for block in blocks:
        if _OPENING in block["text"]:
            raise SettingsError(f"figures:{block['name']} has no <!-- end --> before the next table: add it")
    if text.count(_OPENING) != len(blocks):
        raise SettingsError(
            f"{text.count(_OPENING)} marks {_OPENING}NAME --> and {len(blocks)} of them closed; wanted every "
            "one on a line of its own and followed by <!-- end -->"
        )
    return _BLOCK.sub(draw, text), complaints


def out_of_step(old: str, new: str) -> list[str]:
    """The names of the tables that differ."""
    before, after = ({block["name"]: block["text"] for block in _BLOCK.finditer(text)} for text in (old, new))
    return [name for name, text in after.items() if before[name] != text]


def main(words: Sequence[str]) -> int:
    """Exit status 0 when every table is there and, with --check, up to date."""
    parser = parser_of("readme", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    check = parser.parse_args(words).check
    return max(_keep(document, check) for document in DOCUMENTS)


def _keep(document: Path, check: bool) -> int:
    """Status of one document."""
    old = document.read_text(encoding="utf-8")
    try:
        new, complaints = rewrite(old, RESULTS)
    except SettingsError as error:
        complaints, new = [str(error)], old
    changed = out_of_step(old, new)
    if check:
        complaints += [f"figures:{name} is not what its records say: make figures" for name in changed]
    else:
        document.write_text(new, encoding="utf-8")
        print(f"{document}: {len(changed)} of its tables changed: {', '.join(changed) or 'none'}")
    for complaint in complaints:
        print(f"{document}: {complaint}", file=sys.stderr)
    return 1 if complaints else 0
