"""Do the README's tables say what the records say?

    python -m benchmarks.records.readme [--check]

Writes each table of benchmarks.records.tables between its two marks in README.md,

    <!-- figures:NAME -->
    <!-- end -->

from benchmarks/results/*.json. A table whose record is missing, or lacks a figure, is left out and named; the
exit status is then 1. --check writes nothing and names every table that would change.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.records.options import instrument_parser
from benchmarks.records.tables import TABLES
from engine.errors import SettingsError

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = Path(__file__).parents[1] / "results"
_BLOCK = re.compile(
    r"(?P<start><!-- figures:(?P<name>\S+) -->\n)(?P<text>.*?)(?P<end><!-- end -->)", re.DOTALL
)
_OPENING = "<!-- figures:"


def table_text(name: str, results: Path) -> str:
    """The Markdown of one table. Raises SettingsError: unknown name, missing or unfit record."""
    if name not in TABLES:
        raise SettingsError(f"figures:{name} is unknown; wanted one of {', '.join(sorted(TABLES))}")
    table = TABLES[name]
    records = [_read(name, results / f"{record}.json") for record in table.records]
    try:
        return table.draw(*records)
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"figures:{name}: {' or '.join(table.records)} lacks what the table shows "
            f"({type(error).__name__}: {error}); wanted a record of the present instrument: record it again"
        ) from error


def rewrite(text: str, results: Path) -> tuple[str, list[str]]:
    """The README with its tables drawn anew, and what was wrong with those left out.

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


def main() -> int:
    """Exit status 0 when every table is there and, with --check, up to date."""
    parser = instrument_parser(__doc__, "readme")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    args = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    try:
        new, complaints = rewrite(old, RESULTS)
    except SettingsError as error:
        complaints, new = [str(error)], old
    changed = out_of_step(old, new)
    for complaint in complaints:
        print(f"README.md: {complaint}", file=sys.stderr)
    if args.check:
        for name in changed:
            print(
                f"README.md: figures:{name} is not what its records say: python -m benchmarks.records.readme",
                file=sys.stderr,
            )
        return 1 if complaints or changed else 0
    README.write_text(new, encoding="utf-8")
    print(f"README.md: {len(changed)} of its tables changed: {', '.join(changed) or 'none'}")
    return 1 if complaints else 0


def _read(table: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SettingsError(
            f"figures:{table}: no {path.name} in benchmarks/results; wanted what an instrument "
            "recorded there: see `avatarcast bench`"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(
            f"figures:{table}: {path.name} is no readable JSON ({error}): record it again"
        ) from error
    if not isinstance(record, dict):
        raise SettingsError(
            f"figures:{table}: {path.name} holds a JSON {type(record).__name__}; wanted an object"
        )
    return record


if __name__ == "__main__":
    sys.exit(main())
