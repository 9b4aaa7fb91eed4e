"""Reports as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGIONS = ("frame", "face", "mouth", "hands", "torso")
_ROWS = {
    "avatar": ("held_out", "psnr_db"),
    "nearest training frame": ("baselines", "nearest_frame"),
    "previous real frame": ("baselines", "previous_frame"),
    "warped key frames only": ("baselines", "warp_only"),
    "shuffled conditions": ("baselines", "shuffled_conditions"),
    "prior zeroed": ("baselines", "zero_prior"),
}
_STEPS = {"1": "one step", "2": "two steps", "8": "eight steps"}
_HANDS = {
    "hands_found": "hands found again",
    "wrist_px": "wrists off by, px",
    "fingertip_px": "fingertips off by, px",
}


def held_out_table(report: Mapping[str, Any]) -> str:
    """PSNR in dB by method and region; a dash where a region is not shown.

    What a report of an earlier version lacks is left out.
    """
    rows = {title: report[group].get(name) for title, (group, name) in _ROWS.items()}
    steps, frames = report["steps"], report.get("steps_frames", report["held_out"]["frames"])
    short = frames < report["held_out"]["frames"]
    rows |= {title + " *" * short: steps.get(name) for name, title in _STEPS.items()}
    lines = [f"{'PSNR, dB':24}" + "".join(f"{region:>9}" for region in REGIONS)]
    for title, values in rows.items():
        if values is not None:
            lines.append(f"{title:24}" + "".join(_cell(values[region], 9, 2) for region in REGIONS))
    if sharpness := report["held_out"].get("sharpness"):
        cells = "".join(_cell(sharpness.get(region), 9, 2) for region in REGIONS)
        lines.append(f"{'sharpness, footage is 1':24}" + cells)
    if short:
        lines.append(f"* of the first {frames} frames")
    return "\n".join(lines)


def held_out_motion_table(held_out: Mapping[str, Any]) -> str:
    """`motion_table` of the output against the truth, and where the hands are; with shuffled controls."""
    lines = [motion_table(held_out)]
    for name, title in _HANDS.items():
        control = _cell(held_out["hands_shuffled"][name], 18, 2)
        lines.append(f"{title:22}" + _cell(held_out[name], 6, 2) + control)
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
