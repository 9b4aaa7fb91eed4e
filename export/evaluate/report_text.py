"""Reports as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.avatar.records import number, printable, table

REGIONS = ("frame", "face", "mouth", "hands", "torso")
_ROWS = {
    "avatar": ("held_out", "psnr_db"),
    "nearest training frame": ("baselines", "nearest_frame"),
    "previous real frame": ("baselines", "previous_frame"),
    "warped key frames only": ("baselines", "warp_only"),
    "shuffled conditions": ("baselines", "shuffled_conditions"),
    "prior zeroed": ("baselines", "zero_prior"),
}
_SEEN = {"1": "the avatar", "warp_only": "the warp", "nearest_frame": "the nearest"}
_STEPS = {"1": "one step", "2": "two steps", "8": "eight steps"}
_HANDS = {
    "hands_found": "hands found again",
    "wrist_px": "wrists off by, px",
    "fingertip_px": "fingertips off by, px",
}


def held_out_table(report: Mapping[str, Any]) -> str:
    """PSNR in dB by method and region, sharpness, and FLIP (0: as the footage).

    A dash where a region is not shown, no row where none was measured.
    """
    rows = {title: table(report, *keys) for title, keys in _ROWS.items()}
    frames = number(report, "held_out", "frames")
    steps_frames = number(report, "steps_frames")
    short = frames is not None and steps_frames is not None and steps_frames < frames
    rows |= {title + " *" * short: table(report, "steps", name) for name, title in _STEPS.items()}
    rows["sharpness, footage is 1"] = table(report, "held_out", "sharpness")
    rows |= {f"FLIP of {title}": table(report, "flip", method) for method, title in _SEEN.items()}
    lines = [f"{'PSNR, dB':24}" + "".join(f"{region:>9}" for region in REGIONS)]
    for title, values in rows.items():
        if values:
            lines.append(f"{title:24}" + "".join(_cell(number(values, region), 9, 2) for region in REGIONS))
    if short:
        lines.append(f"* of the first {steps_frames:.0f} frames")
    return "\n".join(lines)


def held_out_motion_table(held_out: Mapping[str, Any]) -> str:
    """`motion_table` of the output against the truth, and where the hands are; with shuffled controls."""
    lines = [motion_table(held_out)]
    for name, title in _HANDS.items():
        control = _cell(number(held_out, "hands_shuffled", name), 18, 2)
        lines.append(f"{title:22}" + _cell(number(held_out, name), 6, 2) + control)
    return "\n".join(lines)


def motion_table(report: Mapping[str, Any]) -> str:
    """Correlation and gain of the output against its driver, with the shuffled control."""
    lines = [f"{'motion':16}{'correlation':>12}{'gain':>8}{'shuffled':>10}"]
    for name in table(report, "motion"):
        correlation, gain = (number(report, "motion", name, key) for key in ("correlation", "gain"))
        control = number(report, "motion_shuffled", name, "correlation")
        cells = _cell(correlation, 12, 3) + _cell(gain, 8, 2) + _cell(control, 10, 3)
        lines.append(f"{printable(name):16.40}" + cells)
    return "\n".join(lines)


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
