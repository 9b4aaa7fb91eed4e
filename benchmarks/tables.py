"""Recorded results as the README's tables.

Each table is a pure function of records; TABLES says of which. Knows nothing of the README's text or
of files, and measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
NONE = "-"  # nothing was measured there
MOTIONS = {"yaw": "yaw", "pitch": "pitch", "roll": "roll", "lip_aperture": "lips", "lid_aperture": "lids"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the records it is made of, by the names of their files less .json, and how it is drawn."""

    records: Sequence[str]
    draw: Callable[..., str]  # takes the records in that order


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


def live(aiortc: Record, chromium: Record) -> str:
    """Two calls, by a headless peer and by a browser."""
    rows = [
        (viewer, number(record["fps_delivered"], 1), ranks(record["motion_to_photon_ms"]))
        for viewer, record in (("headless aiortc peer", aiortc), ("headless Chromium", chromium))
    ]
    return markdown(("viewer", "pictures per second", "motion to photon, p50 / p95 / p99 ms"), rows)


def follow(quality: Record) -> str:
    """How faithfully each avatar follows each driver."""
    several = len(quality["avatars"]) > 1
    rows = []
    for avatar in quality["avatars"]:
        for driver in avatar["drivers"]:
            name = f"{driver['label']}, {avatar['label']}" if several else driver["label"]
            rows.append((name, *(_motion(driver["motion"][part]) for part in MOTIONS)))
    return markdown(("driver", *MOTIONS.values()), rows)


def held_out(quality: Record, talking_head: Record) -> str:
    """PSNR on the footage's tail; the enrolled talking head after the avatars of the list."""
    measured = [(avatar["label"], avatar) for avatar in quality["avatars"]]
    measured.append(("talking head, 20 s, `enroll --minutes 15`", talking_head["result"]))
    rows = [
        (
            label,
            *(number(report["steps"][steps]["frame"], 1) for steps in ("1", "2")),
            *(number(report["baselines"][name]["frame"], 1) for name in ("warp_only", "nearest_frame")),
        )
        for label, report in measured
    ]
    head = ("footage", "one step", "two steps", "warped key frames only", "nearest training frame")
    return markdown(head, rows)


def _motion(found: Record | None) -> str:
    return NONE if found is None else f"{found['correlation']:.2f} / {found['gain']:.2f}"


TABLES: Mapping[str, Table] = {
    "live": Table(("glass_to_glass_aiortc", "glass_to_glass_chromium"), live),
    "follow": Table(("quality",), follow),
    "held_out": Table(("quality", "enroll_talking_head"), held_out),
}
