"""What does a call look like, second by second?

    avatarcast bench charts RECORD.json OUT.png

Draws a record of glass_to_glass: how its latencies are distributed, and its timeline. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.records.instrument import check_writable, parser_of
from benchmarks.records.record import Record, read_record
from benchmarks.records.table import place
from engine.errors import SettingsError
from engine.stages import RANKS

OURS, CALM, INK, FAINT = "#0072B2", "#999999", "#222222", "#dddddd"


def latency(record: Record) -> Figure:
    """The distribution of motion to photon, and the call second by second.

    Raises SettingsError for a record of something else.
    """
    try:
        found, ranks, timeline = (
            record[name] for name in ("latency_histogram", "motion_to_photon_ms", "timeline")
        )
    except KeyError as error:
        raise SettingsError(f"the record has no {error}: give one of glass_to_glass") from error
    page = Figure(figsize=(11.0, 4.4), dpi=120, layout="constrained")
    page.suptitle(
        "From the presenter's picture to the avatar's",
        x=0.01,
        ha="left",
        fontsize=13,
        color=INK,
        fontweight="bold",
    )
    page.supxlabel(place(record), x=0.01, ha="left", fontsize=8, color="#666666")
    left, right = (_axes(page, column) for column in (1, 2))
    total = max(sum(found["counts"]), 1)
    starts = [found["from_ms"] + index * found["bin_ms"] for index in range(len(found["counts"]))]
    shares = [100 * count / total for count in found["counts"]]
    left.bar(starts, shares, found["bin_ms"], align="edge", color=OURS, alpha=0.55)
    for rank, style in zip(RANKS, ("-", "--", ":"), strict=True):
        if ranks[rank] is not None:
            left.axvline(ranks[rank], color=OURS, linestyle=style, linewidth=1.4)
    if record.get("floor"):
        floor = record["floor"]["motion_to_photon_ms"]["p50"]
        left.axvline(floor, color=CALM, linewidth=1.4)
        left.annotate("transport alone", (floor, 1), xycoords=("data", "axes fraction"), **_NOTE)
    seconds = [row for row in timeline if row["p50"] is not None]
    at, p50, p95 = ([row[name] for row in seconds] for name in ("second", "p50", "p95"))
    right.plot(at, p50, color=OURS)
    right.fill_between(at, p50, p95, color=OURS, alpha=0.2, lw=0)
    _label(left, "ms; lines at p50 (full), p95 (dashed), p99 (dotted)", "% of pictures")
    _label(right, "second of the call", "ms, p50 with the band up to p95")
    left.set_xlim(left=0)
    right.set_ylim(0, 1.08 * right.get_ylim()[1])  # the whole height, so that small changes look small
    return page


def _axes(page: Figure, column: int) -> Axes:
    one = page.add_subplot(1, 2, column)
    one.spines[["top", "right"]].set_visible(False)
    one.spines[["left", "bottom"]].set_color(CALM)
    one.tick_params(colors=INK, labelsize=9, length=3)
    one.grid(axis="both", color=FAINT, linewidth=0.6)
    one.set_axisbelow(True)
    return one


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


# A small text just below and to the right of its point.
_NOTE: dict[str, Any] = {"xytext": (4, -3), "textcoords": "offset points", "va": "top", "fontsize": 8}


def main(words: Sequence[str]) -> int:
    """Writes the picture."""
    parser = parser_of("charts", __doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("out", type=Path, metavar="OUT.png")
    args = parser.parse_args(words)
    check_writable("OUT.png", args.out, ".png")
    latency(read_record(args.record)).savefig(args.out)
    return 0
