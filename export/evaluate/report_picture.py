"""The report as a picture: frames from what the camera saw to what came out, and curves over time.

Drawn with Pillow, which every installation has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.arrays import U8Image
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import build_neutral
from engine.render.guidance import GuidancePainter
from export.evaluate.faithfulness import signals

CELL_PX = 256  # at most, of one picture of the sheet
PAIRS, PAIR_CELL_PX = 5, 150  # of driver and output in a row, and the side of each of their pictures
ERROR_GAIN = 4  # the error's colours are this many times what they are
MARGIN_PX = 8
LABEL_PX = 20  # a line of text above a row
CHART_PX = 190  # height of one chart
INK, FAINT, PAPER = (34, 34, 34), (221, 221, 221), (255, 255, 255)
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (153, 153, 153))  # Okabe and Ito; grey last


@dataclass(frozen=True, slots=True, eq=False)
class ReportFrame:
    """One frame on its way through the avatar."""

    driver: U8Image  # (H, W, 3), what the camera saw
    landmarks: Landmarks  # the driver's, in px of their picture
    target: Landmarks  # the avatar's, canvas px
    prior: U8Image  # (S, S, 3), warped key frames
    output: U8Image  # (S, S, 3)
    truth: U8Image | None = None  # (S, S, 3), where the driver is the avatar's own person


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart; NaN where there is nothing."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves on common axes."""

    title: str  # with the units of y
    x_title: str
    curves: Sequence[Curve]


def report_png(frames: Mapping[str, ReportFrame], charts: Sequence[Chart], title: str) -> bytes:
    """An RGB PNG: a labelled row for each frame, and the charts below. frames: label -> frame, one at least.

    The columns are driver, guidance, prior, output and, where there is a truth, truth and error.
    """
    rows = [_row(label, frame) for label, frame in frames.items()]
    width = max(row.width for row in rows) + 2 * MARGIN_PX
    parts = [_text_line(title, width, LABEL_PX + 10, 17), *rows]
    parts += [_drawn_chart(chart, width - 2 * MARGIN_PX) for chart in charts]
    page = Image.new("RGB", (width, sum(part.height + MARGIN_PX for part in parts) + MARGIN_PX), PAPER)
    y = MARGIN_PX
    for part in parts:
        page.paste(part, (MARGIN_PX, y))
        y += part.height + MARGIN_PX
    return _encoded(page)


def pairs_png(rows: Mapping[str, Sequence[ReportFrame]]) -> bytes:
    """An RGB PNG: for each label a row of pairs, driver and output, side by side, PAIRS at most."""

    def pair(frame: ReportFrame) -> U8Image:
        return np.hstack([fitted(picture, PAIR_CELL_PX) for picture in (frame.driver, frame.output)])

    return rows_png({label: [pair(frame) for frame in frames[:PAIRS]] for label, frames in rows.items()})


def rows_png(rows: Mapping[str, Sequence[U8Image]]) -> bytes:
    """An RGB PNG: below each label its pictures side by side; all are (H, W, 3) uint8 RGB of one size."""
    height, wide, _ = next(picture for pictures in rows.values() for picture in pictures).shape
    width = max(map(len, rows.values())) * (wide + MARGIN_PX) + MARGIN_PX
    page = Image.new("RGB", (width, len(rows) * (height + LABEL_PX + MARGIN_PX)), PAPER)
    for row, (label, pictures) in enumerate(rows.items()):
        top = row * (height + LABEL_PX + MARGIN_PX)
        page.paste(_text_line(label, width - MARGIN_PX, LABEL_PX, 13), (MARGIN_PX, top))
        for column, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture), (MARGIN_PX + column * (wide + MARGIN_PX), top + LABEL_PX))
    return _encoded(page)


def telling_frames(landmarks: Sequence[Landmarks], quality: Sequence[float] | None = None) -> dict[str, int]:
    """Label -> index of frames that show the range: rest, mouth, eyes, head, hands, and the worst.

    quality: PSNR of each frame. A frame is shown once, under the first label that it fits; frames without a
    face are left out. Raises FootageError when there is no other.
    """
    neutral = build_neutral(landmarks)
    found = signals(landmarks, neutral)
    yaw, pitch, lips, lids = (found[name][:, 0] for name in ("yaw", "pitch", "lip_aperture", "lid_aperture"))
    away = (np.abs(yaw) + np.abs(pitch)) / 10 + np.abs(lips - neutral.lip_closed) / 0.1
    wanted = {
        "at rest": np.nanargmin(away + np.abs(lids - neutral.lid_open.mean()) / 0.05),
        "mouth most open": np.nanargmax(lips),
        "eyes most shut": np.nanargmin(lids),
        "head turned most": np.nanargmax(np.abs(yaw)),
        "nod": np.nanargmax(np.abs(pitch)),
    }
    hands = np.array([(frame.hand_confidence > VISIBLE).sum() for frame in landmarks]) * np.isfinite(lips)
    if hands.any():
        spread = np.array([np.ptp(frame.hands[..., 0]) for frame in landmarks]) / max(neutral.body_scale, 1)
        wanted["hands"] = np.argmax(hands + np.clip(spread, 0, 0.9))
    if quality is not None:
        wanted["worst frame"] = np.nanargmin(np.asarray(quality) + 0 * lips)
    chosen: dict[str, int] = {}
    for label, index in wanted.items():
        if int(index) not in chosen.values():
            chosen[label] = int(index)
    return chosen


def _row(label: str, frame: ReportFrame) -> Image.Image:
    cells = {
        "driver": frame.driver,
        "guidance": guidance_picture(frame.target),
        "warped key frames": frame.prior,
        "output": frame.output,
    }
    if frame.truth is not None:  # it is what drives, so it is shown once, beside what came out
        del cells["driver"]
        cells |= {
            "real frame": frame.truth,
            f"error x {ERROR_GAIN}": error_picture(frame.output, frame.truth),
        }
    side = min(CELL_PX, frame.output.shape[0])
    row = Image.new("RGB", (len(cells) * (side + MARGIN_PX) - MARGIN_PX, side + LABEL_PX), PAPER)
    for column, (name, picture) in enumerate(cells.items()):
        left = column * (side + MARGIN_PX)
        text = f"{label}: {name}" if column == 0 else name
        ImageDraw.Draw(row).text((left, 2), text, INK, ImageFont.load_default(13))
        row.paste(Image.fromarray(fitted(picture, side)), (left, LABEL_PX))
    return row


def guidance_picture(landmarks: Landmarks) -> U8Image:
    """The guidance maps in false colours, (S/2, S/2, 3) uint8; landmarks: on a canvas of S px."""
    maps = GuidancePainter(landmarks.width).draw(landmarks)
    colours = ((150, 150, 150), (255, 70, 70), (70, 255, 70), (80, 160, 255))  # contours, mouth, eyes, body
    layers = [maps[..., 4:7] * 0.6, maps[..., 7:] / 255 * (255, 220, 60)]  # face mesh, hands
    layers += [maps[..., [index]] / 255 * colour for index, colour in enumerate(colours)]
    return np.asarray(np.max(layers, axis=0), np.uint8)


def error_picture(output: U8Image, truth: U8Image) -> U8Image:
    """How far each colour is off, ERROR_GAIN times, (H, W, 3) uint8; both pictures likewise."""
    return np.asarray(np.minimum(cv2.absdiff(output, truth).astype(np.int32) * ERROR_GAIN, 255), np.uint8)


def _encoded(page: Image.Image) -> bytes:
    buffer = BytesIO()
    page.save(buffer, "PNG")  # optimize: 4 % smaller, five times as long
    return buffer.getvalue()


def fitted(picture: U8Image, side: int) -> U8Image:
    """The whole picture, (H, W, 3) uint8, scaled into a square of so many px, on a grey ground."""
    scale = side / max(picture.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    inner = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)[:side, :side]
    ground = np.full((side, side, 3), 96, np.uint8)
    top, left = (side - inner.shape[0]) // 2, (side - inner.shape[1]) // 2
    ground[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return ground


def _text_line(text: str, width: int, height: int, size: int) -> Image.Image:
    line = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(line).text((0, 2), text, INK, ImageFont.load_default(size))
    return line


def _drawn_chart(chart: Chart, width: int) -> Image.Image:
    page = Image.new("RGB", (width, CHART_PX), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    draw.text((0, 0), chart.title, INK, ImageFont.load_default(14))
    left, top, right, bottom = 52, 24, width - 8, CHART_PX - 34
    xs = np.concatenate([np.asarray(curve.x, float) for curve in chart.curves])
    ys = np.concatenate([np.asarray(curve.y, float) for curve in chart.curves])
    x_low, x_high = _limits(xs)
    y_low, y_high = _limits(ys)
    for share in (0.0, 0.5, 1.0):
        y = bottom + share * (top - bottom)
        draw.line((left, y, right, y), FAINT)
        draw.text((left - 6, y), f"{y_low + share * (y_high - y_low):.4g}", INK, font, anchor="rm")
        x = left + share * (right - left)
        text, anchor = f"{x_low + share * (x_high - x_low):.4g}", {0.0: "lt", 0.5: "mt", 1.0: "rt"}[share]
        draw.text((x, bottom + 3), text, INK, font, anchor=anchor)
    draw.text(((left + right) / 2, CHART_PX), chart.x_title, INK, font, anchor="mb")
    legend = right
    for curve, colour in reversed(list(zip(chart.curves, COLOURS, strict=False))):
        legend -= int(draw.textlength(curve.name, font)) + 14
        draw.text((legend, 2), curve.name, colour, font)
        along = left + (np.asarray(curve.x, float) - x_low) / (x_high - x_low) * (right - left)
        up = bottom - (np.asarray(curve.y, float) - y_low) / (y_high - y_low) * (bottom - top)
        for part in _unbroken(along, up):
            draw.line(part, colour, 2, joint="curve")
    return page


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """The lowest and highest of the values, apart."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _unbroken(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[tuple[float, float]]]:
    """The stretches of points without a gap; a single point is not one."""
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    stretches = np.split(there, np.flatnonzero(np.diff(there) > 1) + 1)
    return [[(float(x[i]), float(y[i])) for i in stretch] for stretch in stretches if len(stretch) > 1]
