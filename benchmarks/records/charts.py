"""What does a record look like, or two of them beside each other?

    avatarcast bench charts RECORD.json [AFTER.json] [--folder FOLDER]

Draws every picture that fits the kind of record: a call's distribution of latencies and its timeline, the
stages of a picture as a waterfall, capacity, a soak's timeline, the baselines. With two records of one kind
both are in the picture: before and after. Writes RECORD-PICTURE.png. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.records.instrument import Record, parser_of, read_record
from engine.errors import SettingsError
from engine.stages import RANKS, STAGES

# Okabe and Ito's palette, which people with any colour vision can tell apart.
OURS, OTHER, WARN, CALM = "#0072B2", "#E69F00", "#D55E00", "#999999"
INK, FAINT = "#222222", "#dddddd"
SIDES = (OURS, OTHER)  # before, after
DPI = 120
ORDER = ("decode", "to_rgb", *STAGES, "to_yuv", "encode")  # of a picture's way


def figure(title: str, records: Sequence[Record], rows: int, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A page with its title and, below it, what was measured on."""
    page = Figure(figsize=(5.2 * columns + 0.6, 3.4 * rows + 1.0), dpi=DPI, layout="constrained")
    page.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold")
    page.supxlabel(circumstances(records), x=0.01, ha="left", fontsize=8, color="#666666")
    axes = [page.add_subplot(rows, columns, index + 1) for index in range(rows * columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(CALM)
        one.tick_params(colors=INK, labelsize=9, length=3)
        one.grid(axis="both", color=FAINT, linewidth=0.6)
        one.set_axisbelow(True)
    return page, axes


def circumstances(records: Sequence[Record]) -> str:
    """The machine and commit of each record, one line each."""
    return "\n".join(
        f"{record['machine']['cpu']}, {record['machine']['cores']} cores, commit {record['commit']}, "
        f"load before {record['machine']['load_before']}"
        for record in records
    )


def latency(records: Sequence[Record]) -> Figure:
    """One or two calls: the distribution of motion to photon, and the call second by second."""
    page, (left, right) = figure("From the presenter's picture to the avatar's", records, 1, 2)
    for record, colour, name in zip(records, SIDES, _names(records), strict=False):
        found, ranks = record["latency_histogram"], record["motion_to_photon_ms"]
        total = max(sum(found["counts"]), 1)
        starts = [found["from_ms"] + index * found["bin_ms"] for index in range(len(found["counts"]))]
        shares = [100 * count / total for count in found["counts"]]
        left.bar(starts, shares, found["bin_ms"], align="edge", color=colour, alpha=0.55, label=name)
        for rank, style in zip(RANKS, ("-", "--", ":"), strict=True):
            if ranks[rank] is not None:
                left.axvline(ranks[rank], color=colour, linestyle=style, linewidth=1.4)
        seconds = [row for row in record["timeline"] if row["p50"] is not None]
        at = [row["second"] for row in seconds]
        right.plot(at, [row["p50"] for row in seconds], color=colour, label=name)
        right.fill_between(
            at,
            [row["p50"] for row in seconds],
            [row["p95"] for row in seconds],
            color=colour,
            alpha=0.2,
            lw=0,
        )
    if records[0].get("floor"):
        floor = records[0]["floor"]["motion_to_photon_ms"]["p50"]
        left.axvline(floor, color=CALM, linewidth=1.4)
        left.annotate("transport alone", (floor, 1), xycoords=("data", "axes fraction"), **_note())
    _label(left, "ms; lines at p50 (full), p95 (dashed), p99 (dotted)", "% of pictures")
    _label(right, "second of the call", "ms, p50 with the band up to p95")
    left.set_xlim(left=0)
    _from_zero(right)
    if len(records) > 1:
        left.legend(frameon=False, fontsize=9, loc="upper right")
    return page


def waterfall(records: Sequence[Record]) -> Figure:
    """Stages of one picture, each beginning where the one before it ends; two records above each other."""
    page, axes = figure("Where the time of one picture goes", records, len(records))
    for one, record, name in zip(axes, records, _names(records), strict=True):
        end = 0.0
        stages = sorted(record["stage_ms"].items(), key=lambda stage: ORDER.index(stage[0]))
        for row, (_, ms) in enumerate(stages):
            one.barh(row, ms["p50"], left=end, color=OURS, height=0.62)
            one.barh(row, ms["p95"] - ms["p50"], left=end + ms["p50"], color=OURS, alpha=0.25, height=0.62)
            one.text(end + ms["p95"] + 0.4, row, f"{ms['p50']:.1f}", va="center", fontsize=8, color=INK)
            end += ms["p50"]
        one.set_yticks(range(len(stages)), [stage.replace("_", " ") for stage, _ in stages])
        one.invert_yaxis()
        one.grid(axis="y", visible=False)
        one.axvline(end, color=CALM, linewidth=1, zorder=0)
        if budget := record.get("budget_ms"):
            one.axvline(budget, color=WARN, linestyle="--", linewidth=1.2)
            one.annotate("budget", (budget, 1), xycoords=("data", "axes fraction"), **_note(WARN))
        one.annotate(f"medians' sum {end:.1f}", (end, 0.07), xycoords=("data", "axes fraction"), **_note())
        _label(one, "ms: median (full), up to p95 (pale)", name)
    for one in axes:
        one.set_xlim(0, max(other.get_xlim()[1] for other in axes))
    return page


def capacity(records: Sequence[Record]) -> Figure:
    """What every session gets as there are more of them, against the promise."""
    page, (left, right) = figure("How many presenters at once", records, 1, 2)
    for record, colour, name in zip(records, SIDES, _names(records), strict=False):
        steps, promise = record["steps"], record["config"]["promise"]
        at = [step["sessions"] for step in steps]
        left.plot(at, [step["fps_least"] for step in steps], "o-", color=colour, label=name)
        right.plot(
            at, [step["p50_worst_ms"] for step in steps], "o-", color=colour, label=f"{name} p50".lstrip()
        )
        right.plot(
            at, [step["p95_worst_ms"] for step in steps], "o--", color=colour, label=f"{name} p95".lstrip()
        )
        for axes, bound in ((left, promise["fps"]), (right, promise["p95_ms"])):
            axes.axhline(bound, color=WARN, linestyle="--", linewidth=1.2)
            axes.annotate("promise", (0, bound), xycoords=("axes fraction", "data"), **_note(WARN))
            axes.set_xticks(range(1, max(at) + 1))
            axes.set_xlim(0.8, max(at) + 0.2)
    _label(left, "sessions", "pictures per second of the slowest")
    _label(right, "sessions", "motion to photon of the worst, ms")
    _from_zero(left)
    _from_zero(right)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return page


def soak(records: Sequence[Record]) -> Figure:
    """One long call minute by minute, and memory from call to call."""
    page, axes = figure("Does anything grow", records, 3)
    for record, colour in zip(records, SIDES, strict=False):
        call, calls = record["call"], record["calls"]
        if call is not None:
            at = [row["s"] / 60 for row in call["samples"]]
            for one, name in ((axes[0], "queue_age_p95_ms"), (axes[1], "resident_mb")):
                one.plot(at, [row[name] for row in call["samples"]], color=colour, linewidth=1.2)
                one.axvspan(0, call["warm_up_s"] / 60, color=FAINT, alpha=0.5, lw=0)
        if calls is not None:
            axes[2].plot(range(1, calls["sessions"] + 1), calls["resident_mb"], color=colour, linewidth=1.2)
    _label(axes[0], "minute of one call (grey: warm-up)", "age of waiting\npictures, p95 ms")
    _label(axes[1], "minute of one call (grey: warm-up)", "server's memory, MB")
    _label(axes[2], "calls, one after the other", "server's memory, MB")
    for one in axes:
        _from_zero(one)
    return page


def baselines(records: Sequence[Record]) -> Figure:
    """Time of a picture beside the diffusion graph, on a logarithmic scale."""
    page, axes = figure("Time of one picture beside SD-Turbo's graph", records, len(records))
    for one, record in zip(axes, records, strict=True):
        arms = record["picture_ms"]
        for row, (name, ms) in enumerate(arms.items()):
            one.barh(row, ms["p50"], color=OTHER if name == "sd_turbo" else OURS, height=0.62)
            faster = record["times_faster"].get(name)
            text = f"{ms['p50']:,.1f} ms" + (
                "" if faster is None else f", {faster['value']:.0f} times faster"
            )
            one.text(ms["p50"] * 1.08, row, text, va="center", fontsize=9, color=INK)
        one.set_yticks(range(len(arms)), [name.replace("_", " ") for name in arms])
        one.set_xscale("log")
        one.set_xlim(1, 20 * max(ms["p50"] for ms in arms.values()))
        one.invert_yaxis()
        one.grid(axis="y", visible=False)
        _label(one, "ms, median (logarithmic)", "")
    return page


def base_gain(records: Sequence[Record]) -> Figure:
    """Quality against minutes of training, from base weights and from nothing, a panel for each clip."""
    clips = records[0]["clips"]
    page, axes = figure(
        "What base weights buy: held-out quality as training goes", records[:1], 1, len(clips)
    )
    for one, clip in zip(axes, clips, strict=True):
        for name, colour, label in (("base", OURS, "from base weights"), ("scratch", OTHER, "from scratch")):
            curve = clip[name]["curve"]
            one.plot([s / 60 for s, _ in curve], [db for _, db in curve], color=colour, label=label)
        one.axhline(clip["prior_db"], color=CALM, linestyle=":", label="warped prior alone")
        one.set_title(clip["label"], fontsize=10, color=INK)
        _label(one, "minutes of training", "PSNR, dB")
        one.legend(fontsize=8, frameon=False)
    return page


CHARTS: Mapping[str, Mapping[str, Callable[[Sequence[Record]], Figure]]] = {
    "glass_to_glass": {"latency": latency, "waterfall": waterfall},
    "stages": {"waterfall": waterfall},
    "load": {"capacity": capacity},
    "soak": {"soak": soak},
    "baselines": {"baselines": baselines},
    "base_gain": {"curves": base_gain},
}


def _names(records: Sequence[Record]) -> list[str]:
    """What tells them apart, for legends."""
    if len(records) == 1:
        return [""]
    return [f"{when} ({record['commit']})" for when, record in zip(("before", "after"), records, strict=True)]


def _from_zero(axes: Axes) -> None:
    """The whole height, so that small changes look small, and room above what is drawn."""
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


def _note(colour: str = "#666666") -> dict[str, Any]:
    """A small text just below and to the right of its point."""
    return {"xytext": (4, -3), "textcoords": "offset points", "va": "top", "fontsize": 8, "color": colour}


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


def main(words: Sequence[str]) -> int:
    """Writes the pictures and names them."""
    parser = parser_of("charts", __doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("after", type=Path, nargs="?", help="of the same kind, drawn beside it")
    parser.add_argument("--folder", type=Path, default=Path(), help="for the pictures (default: this one)")
    args = parser.parse_args(words)
    paths = [path for path in (args.record, args.after) if path is not None]
    for written in draw(
        [read_record(path) for path in paths], "-".join(path.stem for path in paths), args.folder
    ):
        print(written)
    return 0
