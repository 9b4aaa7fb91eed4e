"""What does a record look like, or two of them beside each other?

    python -m benchmarks.records.plot RECORD.json [AFTER.json] [--out FOLDER]

Draws every picture that fits the kind of record: a call's distribution of latencies and its timeline, the
stages of a picture as a waterfall, capacity, a soak's timeline, the baselines. With two records of one kind
both are in the picture: before and after. Writes RECORD-PICTURE.png.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.charts import CHARTS, Record
from benchmarks.records.options import instrument_parser
from engine.errors import SettingsError


def draw(records: Sequence[Record], stem: str, folder: Path) -> list[Path]:
    """The files written. Raises SettingsError for records that no chart, or no common one, fits."""
    kinds = {str(record.get("benchmark")) for record in records}
    if len(kinds) > 1:
        raise SettingsError(f"records of {' and '.join(sorted(kinds))}; wanted records of one instrument")
    kind = kinds.pop()
    if kind not in CHARTS:
        raise SettingsError(f"no chart fits a record of {kind}; wanted one of {', '.join(sorted(CHARTS))}")
    written = []
    for name, chart in CHARTS[kind].items():
        try:
            page = chart(records)
        except KeyError as error:
            raise SettingsError(f"the record has no {error}, which {name} shows: record it again") from error
        written.append(folder / f"{stem}-{name}.png")
        page.savefig(written[-1])
    return written


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "plot")
    parser.add_argument("record", type=Path)
    parser.add_argument("after", type=Path, nargs="?", help="of the same kind, drawn beside it")
    parser.add_argument("--out", type=Path, default=Path(), help="folder (default: this one)")
    args = parser.parse_args()
    paths = [path for path in (args.record, args.after) if path is not None]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for written in draw(records, "-".join(path.stem for path in paths), args.out):
        print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
