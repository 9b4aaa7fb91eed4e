"""Reports as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGIONS = ("frame", "face", "mouth", "hands", "torso")
_ROWS = {
    "one step": ("steps", "1"),
    "two steps": ("steps", "2"),
    "eight steps": ("steps", "8"),
    "nearest training frame": ("baselines", "nearest_frame"),
    "previous real frame": ("baselines", "previous_frame"),
    "warped key frames only": ("baselines", "warp_only"),
    "shuffled conditions": ("baselines", "shuffled_conditions"),
    "prior zeroed": ("baselines", "zero_prior"),
}


def held_out_table(report: Mapping[str, Any]) -> str:
    """PSNR in dB by method and region; a dash where a region is not shown.

    What a report of an earlier version lacks is left out.
    """
    lines = [f"{'PSNR, dB':24}" + "".join(f"{region:>9}" for region in REGIONS)]
    for title, (group, name) in _ROWS.items():
        values = report[group].get(name)
        if values is None:
            continue
        lines.append(f"{title:24}" + "".join(_cell(values[region], 9, 2) for region in REGIONS))
    return "\n".join(lines)


def motion_table(report: Mapping[str, Any]) -> str:
    """Correlation and gain of the output against its driver, with the shuffled control."""
    lines = [f"{'motion':16}{'correlation':>12}{'gain':>8}{'shuffled':>10}"]
    for name, value in report["motion"].items():
        control = report["motion_shuffled"][name]
        cells = _cell(value and value["correlation"], 12, 3) + _cell(value and value["gain"], 8, 2)
        lines.append(f"{name:16}" + cells + _cell(control and control["correlation"], 10, 3))
    return "\n".join(lines)


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
