"""What goes into the pictures of reports: an avatar on its held-out tail, and an avatar driven by a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.evaluate.held_out import HeldOut
from export.evaluate.report_picture import Chart, Curve, ReportFrame, report_png, telling_frames

PSNR_CURVES = {"1": "output", "warp_only": "warped key frames only", "nearest_frame": "nearest frame"}


def held_out_picture(found: HeldOut, name: str, fps: float, training: Mapping[str, Any]) -> bytes:
    """PNG: telling frames of the tail, each frame's quality, the lips over time, and the training's course.

    training: of the manifest; without `curve`, [[seconds, validation dB], ...], the last chart is left out.
    """
    output_db = found.psnr_db["1"]
    chosen = telling_frames([frame.landmarks for frame in found.report_frames], output_db)
    frames = {f"{label} ({output_db[at]:.1f} dB)": found.report_frames[at] for label, at in chosen.items()}
    times = [index / fps for index in range(len(found.report_frames))]
    charts = [
        Chart(
            "PSNR of the frame, dB",
            "s of the held-out tail",
            [Curve(text, times, found.psnr_db[method]) for method, text in PSNR_CURVES.items()],
        )
    ]
    if found.lip_aperture is not None:
        truth, output = found.lip_aperture
        lines = [Curve("footage", times, truth.tolist()), Curve("output", times, output.tolist())]
        charts.append(Chart("gap of the lips, of the distance between the eyes", charts[0].x_title, lines))
    if curve := training.get("curve"):
        seconds, values = zip(*curve, strict=True)
        charts.append(Chart("validation, dB", "s of training", [Curve("validation", seconds, values)]))
    title = f"{name}: {len(found.report_frames)} frames of footage that training never saw"
    return report_png(frames, charts, title)


def driven_picture(frames: Mapping[str, ReportFrame], name: str, clip: str) -> bytes:
    """PNG: telling frames of a clip that drives the avatar, by what they show."""
    return report_png(frames, (), f"{name}, driven by {clip}")
