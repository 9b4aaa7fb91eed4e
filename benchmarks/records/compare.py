"""Did it become faster or slower between two records, or is that noise?

    avatarcast bench compare BEFORE.json AFTER.json [--more-before FILE...] [--more-after FILE...]

For every figure that both records have: before, after, their ratio, and a verdict. The noise comes from:
- repeated runs (three or more on each side, by --more-before and --more-after): the spread between the runs,
  which is the honest one, as it also has what differs from one run to the next;
- one run each: a timeline's seconds, or rounds, put together anew (see records.series), which knows only of
  what changed within the runs, so a "changed" close to 1 deserves a repeat;
- neither: the ratio alone, "noise unknown".
Records of different instruments are refused; what differs in machine or config is told first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.records.instrument import parser_of
from benchmarks.records.record import Record, read_record
from benchmarks.records.series import FEWEST, Ratio, ratio_of_medians
from engine.errors import SettingsError

# What a record says about itself, and what is told in another way.
NO_FIGURES = {"benchmark", "commit", "config", "date", "last", "machine", "network", "seconds", "server"}
VERDICTS = {True: "within noise", False: "changed", None: "noise unknown"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure in both records."""

    name: str
    before: float
    after: float
    ratio: Ratio | None  # after over before; None where one of them is not above 0

    @property
    def verdict(self) -> str:
        """What the interval says."""
        if self.ratio is not None:
            return VERDICTS[self.ratio.within_noise]
        return "the same" if self.before == self.after else VERDICTS[None]

    def line(self, width: int) -> str:
        """For people; width: of the longest name."""
        ratio = interval = ""
        if self.ratio is not None:
            ratio = f"x{self.ratio.value:.3f}"
            if self.ratio.low is not None:
                interval = f"{self.ratio.low:.3f}..{self.ratio.high:.3f}"
        values = f"{self.before:>10.2f} {self.after:>10.2f}"
        return f"{self.name:<{width}} {values}  {ratio:<10}{interval:<18}{self.verdict}"


def numbers(record: Record, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every figure of a record with the path to it, a.b.c; lists are series, not figures."""
    for key, value in record.items():
        if not prefix and key in NO_FIGURES:
            continue
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + key, float(value)


def series(record: Record) -> dict[str, list[float]]:
    """What was measured one after the other: the columns of a timeline, or an arm's rounds."""
    columns: dict[str, list[float]] = {}
    for row in record.get("timeline", ()):
        for key, value in row.items():
            if key != "second" and value is not None:
                columns.setdefault(f"timeline.{key}", []).append(float(value))
    for arm, values in record.get("round_ms", {}).items():
        columns[f"round_ms.{arm}"] = [float(value) for value in values]
    return columns


def compare(before: Sequence[Record], after: Sequence[Record]) -> list[Comparison]:
    """One or more runs of each side; see the module. Raises SettingsError for different instruments."""
    kinds = {str(record.get("benchmark")) for record in (*before, *after)}
    if len(kinds) > 1:
        raise SettingsError(f"records of {' and '.join(sorted(kinds))}; wanted records of one instrument")
    repeated = min(len(before), len(after)) >= FEWEST
    found = []
    if not repeated:
        ours, theirs = series(before[0]), series(after[0])
        found = [_compared(name, ours[name], theirs[name]) for name in ours if name in theirs]
    columns = [[dict(numbers(record)) for record in side] for side in (before, after)]
    for name in columns[0][0]:
        if all(name in run for side in columns for run in side):
            values = [[run[name] for run in side] for side in columns]
            found.append(_compared(name, *values, block=1))
    return found


def differences(before: Record, after: Record) -> list[str]:
    """What was not the same on both sides: hardware, load, settings."""
    found = []
    for part in ("machine", "config"):
        ours, theirs = before.get(part, {}), after.get(part, {})
        found += [
            f"{part}.{key}: {ours.get(key)} and {theirs.get(key)}"
            for key in sorted({*ours, *theirs})
            if ours.get(key) != theirs.get(key)
        ]
    return found


def _compared(name: str, before: Sequence[float], after: Sequence[float], **noise: int) -> Comparison:
    ratio = ratio_of_medians(after, before, **noise) if min(*before, *after) > 0 else None
    return Comparison(name, median(before), median(after), ratio)


def main(words: Sequence[str]) -> int:
    """Prints the comparison. Raises SettingsError for what cannot be compared."""
    parser = parser_of("compare", __doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--more-before", type=Path, nargs="+", default=[], help="further runs of BEFORE")
    parser.add_argument("--more-after", type=Path, nargs="+", default=[], help="further runs of AFTER")
    args = parser.parse_args(words)
    sides = [[args.before, *args.more_before], [args.after, *args.more_after]]
    before, after = ([read_record(path) for path in side] for side in sides)
    for line in differences(before[0], after[0]):
        print(f"not the same: {line}")
    found = compare(before, after)
    width = max((len(one.name) for one in found), default=0)
    print("\n".join(one.line(width) for one in found))
    return 0
