"""The tables of `avatarcast bench expression`, `face_scores`, `wrinkles`, `listening` and `agent`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.records.record import Record
from benchmarks.records.table import Table, cell


def _listened(record: Record) -> Iterator[Record]:
    """A row for each figure that is judged."""
    rows = {
        "pictures in which speaking, listening and idling are told right": (
            "{states_right:.1%} ({states[speaks]:.1%}, {states[listens]:.1%}, {states[idles]:.1%})"
        ),
        "spread of the lips while listening, share of speaking": "{lips_share:.2%}",
        "nods in the other's pauses (by chance), and how likely that is chance": (
            "{nods[share]:.0%} of {nods[count]} ({nods[by_chance]:.0%}), p = {nods[p]:.3f}"
        ),
        "nods a minute of listening; the person's own": "{nods_per_min:.1f}; {own[nods_per_min]:.1f}",
        "blinks a minute; the person's own": "{blinks_per_min:.1f}; {own[blinks_per_min]:.1f}",
        "furthest the head goes from picture to picture, px at 256": "{step_px:.2f}",
        "laughter heard where there is none, a minute": "{laughs_wrong_per_min:.2f}",
    }
    for what, form in rows.items():
        yield {"what": what, "measured": cell(form, record)}
    if record["laughs"] is not None:
        yield {
            "what": "bouts that a synthesiser says, heard as laughter",
            "measured": cell("{laughs[found]} of {laughs[count]}", record),
        }


def _answered(record: Record) -> Iterator[Record]:
    """Of each thing that is timed: the middle and the most."""
    for name, what in (
        ("answer_ms", "end of the caller's sentence to an open mouth (wanted: 500 ms at most)"),
        ("stop_ms", "begin of an interruption to a shut mouth (wanted: 200 ms at most)"),
    ):
        times = sorted(record[name])
        yield {"what": what, "count": len(times), "middle": times[len(times) // 2], "most": times[-1]}


CONVERSATION_TABLES: Mapping[str, Table] = {
    "expression": Table(
        "expression",
        {
            "emotion of {name}": "{name}",
            "share that was filmed": "{filmed:.0%}",
            "read back at 0.25 / 0.5 / 0.75 / 1": lambda row: " / ".join(
                f"{one:.2f}" for one in row["read_back"]
            ),
            "lips as without it, correlation (least)": lambda row: f"{min(row['lips_correlation']):.3f}",
        },
        "emotions",
    ),
    "eye_contact": Table(
        "expression",
        {
            "eyes": "{name}",
            "within 3 degrees of the camera": "{within_3_deg:.1%}",
            "p50 / p90, degrees": "{p50_deg:.1f} / {p90_deg:.1f}",
            "pictures": "{frames}",
        },
        "eye_contact",
    ),
    "face_scores": Table(
        "face_scores",
        {
            "": "{who}",
            "scores that move": "{moving}",
            "come through": "{through:.0%}",
            "correlated": "{correlated:.0%}",
            "mean correlation / gain": "{correlation:.2f} / {gain:.2f}",
            "one eye further shut, correlation": "{eyes_asymmetry:.2f}",
        },
        "rows",
    ),
    "wrinkles": Table(
        "wrinkles",
        {
            "region of {name}": "{region}",
            "key frames": "{frames}",
            "slope in the footage (standard error)": "{filmed_slope:.5f} ({error:.5f})",
            "drawn, where an emotion alone drives": "{drawn_slope:.5f}",
            "ratio (wanted: 0.7 to 1.3)": "{ratio:.2f}",
        },
        "regions",
    ),
    "listening": Table("listening", {"of what": "{what}", "measured": "{measured}"}, _listened),
    "agent": Table(
        "agent",
        {"ms": "{what}", "p50": "{middle}", "most": "{most}", "of": "{count}"},
        _answered,
    ),
}
