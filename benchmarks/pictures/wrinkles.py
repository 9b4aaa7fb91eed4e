"""Do wrinkles come with an emotion as they come in the person's footage?

    avatarcast bench wrinkles --avatar FILE [--pictures FOLDER]

Of a real person: presenters are rendered, and have none. In key frames that face the camera the energy of a
band of fine detail is regressed on how strongly an action unit shows there: smile lines and cheeks on AU12,
the forehead on AU1 and AU2, between the brows on AU4. Then the avatar is driven from rest by happy, surprised
and angry at growing strengths, with no camera, and the same is done with what is drawn. The ratio of both
slopes is wanted from 0.7 to 1.3; where the footage's own is not told from 0 there is nothing to compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.expression.emotion import EmotionControl
from engine.expression.feeling import feeling_of, steady
from engine.expression.repertoire import FACING_DEG, SHRINK, mean_units, telling_points
from engine.person import topology as topo
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import Landmarks
from engine.person.motion import in_head_axes
from engine.pipeline import PipelineConfig, build_pipeline
from engine.voice.motion_code import CODE, LIDS, decode
from export.evaluate.replay import NoTracker

# Region: the units it answers to, the emotion that shows them, its outlines in rows of the face mesh.
REGIONS: dict[str, tuple[tuple[str, ...], str, tuple[tuple[int, ...], ...]]] = {
    "smile": (("au12",), "happy", ((50, 205, 216, 207, 187), (280, 425, 436, 427, 411))),
    "forehead": (
        ("au1", "au2"),
        "surprised",
        ((103, 67, 109, 10, 338, 297, 332, 334, 296, 336, 9, 107, 66, 105),),
    ),
    "between the brows": (("au4",), "angry", ((107, 9, 336, 285, 8, 55),)),
}
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SETTLE = 4  # pictures until one is looked at
ALIGNED_PX = 256
FINE, COARSE = 1.0, 3.0  # px of the aligned face: the band
SLOPES = (0.7, 1.3)
TOLD = 2.0  # standard errors from 0


def strengths_of(face: FloatArray, avatar: Avatar) -> dict[str, float]:
    """How strongly each unit shows, all of them explained at once. face: (478, 3) in head axes."""
    units, told = mean_units(), telling_points()
    basis = np.stack([unit[told].ravel() for unit in units.values()])
    energy = basis @ basis.T
    shown = (face - avatar.neutral.face)[told].ravel()
    found = np.linalg.solve(energy + SHRINK * np.diag(np.diag(energy)), basis @ shown)
    return dict(zip(units, map(float, found), strict=True))


def energies(rgb: U8Image, landmarks: Landmarks, neutral: FloatArray) -> dict[str, float]:
    """Of each region: the band's root mean square, as a share of how bright the skin is there.

    neutral: (478, 2) px where the face is brought to, of a square of ALIGNED_PX.
    """
    points = landmarks.face[:, :2].astype(np.float32)
    turn, _ = cv2.estimateAffinePartial2D(points[topo.RIGID], neutral[topo.RIGID])
    aligned = cv2.warpAffine(rgb, turn, (ALIGNED_PX, ALIGNED_PX), flags=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)
    band = cv2.GaussianBlur(grey, (0, 0), FINE) - cv2.GaussianBlur(grey, (0, 0), COARSE)
    moved = points @ turn[:, :2].T + turn[:, 2]
    found = {}
    for name, (_, _, outlines) in REGIONS.items():
        mask = np.zeros(grey.shape, np.uint8)
        for rows in outlines:
            cv2.fillPoly(mask, [np.round(moved[list(rows)]).astype(np.int32)], 1)
        inside = mask > 0
        found[name] = float(np.sqrt((band[inside] ** 2).mean()) / grey[inside].mean())
    return found


def slope(strengths: FloatArray, values: FloatArray) -> tuple[float, float]:
    """Of a line through them, and its standard error."""
    centred = strengths - strengths.mean()
    squares = float((centred**2).sum())
    found = float(centred @ values) / max(squares, 1e-12)
    left = values - values.mean() - found * centred
    return found, float(np.sqrt((left**2).sum() / max(len(values) - 2, 1) / max(squares, 1e-12)))


def filmed(avatar: Avatar, place: FloatArray) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Of each region, over the key frames that face the camera: strengths and energies."""
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in REGIONS}
    for frame in avatar.keyframes:
        if frame.landmarks.face_confidence <= 0:
            continue
        face, rotation, *_ = in_head_axes(frame.landmarks.face, avatar.neutral.face)
        if np.abs(rotation_to_euler_deg(rotation @ avatar.neutral.rotation.T)).max() > FACING_DEG:
            continue
        shown = strengths_of(face, avatar)
        for name, value in energies(np.ascontiguousarray(frame.rgb), frame.landmarks, place).items():
            rows[name].append((sum(shown[unit] for unit in REGIONS[name][0]), value))
    return {name: (np.array(each).T[0], np.array(each).T[1]) for name, each in rows.items()}


def drawn_by_emotion(
    avatar: Avatar, place: FloatArray, runner: str, pictures: Path | None
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """The same of what is drawn where an emotion alone drives."""
    pipeline = build_pipeline(avatar, PipelineConfig(runner, live=False), NoTracker())
    code = np.zeros(CODE, np.float32)
    code[LIDS] = 1.0
    found = {}
    for name, (units, emotion, _) in REGIONS.items():
        pairs = []
        for strength in STRENGTHS:
            pipeline.reset()
            pipeline.drive_by(avatar.neutral)
            pipeline.adjust([EmotionControl(steady(feeling_of({emotion: strength})))])
            for picture in range(SETTLE):
                shown = pipeline.process_motion(decode(code, avatar.neutral), picture * 40_000_000)
            target, rgb = shown.target, shown.rgb.copy()
            assert target is not None
            face = in_head_axes(target.face, avatar.neutral.face)[0]
            told = strengths_of(face, avatar)
            pairs.append((sum(told[unit] for unit in units), energies(rgb, target, place)[name]))
            if pictures is not None:
                cv2.imwrite(str(pictures / f"{emotion}_{strength:.2f}.png"), rgb[..., ::-1])
        found[name] = (np.array(pairs).T[0], np.array(pairs).T[1])
    pipeline.close()
    return found


def measure(args: argparse.Namespace) -> Record:
    """Both slopes of every region."""
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
    avatar = load_avatar(args.avatar)
    points = avatar.keyframes[0].landmarks.face[:, :2]
    scale = 0.8 * ALIGNED_PX / float(np.ptp(points[:, 1]))
    place = ((points - points.mean(0)) * scale + ALIGNED_PX / 2).astype(np.float32)
    real, drawn = filmed(avatar, place), drawn_by_emotion(avatar, place, args.runner, args.pictures)
    rows: list[dict[str, Any]] = []
    for name in REGIONS:
        (filmed_slope, error), (drawn_slope, _) = slope(*real[name]), slope(*drawn[name])
        is_told = filmed_slope > TOLD * error
        rows.append({
            "region": name, "frames": len(real[name][0]), "filmed_slope": filmed_slope, "error": error,
            "drawn_slope": drawn_slope, "ratio": drawn_slope / filmed_slope if is_told else None,
            "filmed_range": [float(real[name][0].min()), float(real[name][0].max())],
        })  # fmt: skip
    judged = {row["region"]: row["ratio"] for row in rows if row["ratio"] is not None}
    failures = [
        f"{name}: {ratio:.2f} of the footage's slope, wanted {SLOPES[0]} to {SLOPES[1]}"
        for name, ratio in judged.items()
        if not SLOPES[0] <= ratio <= SLOPES[1]
    ]
    return {"name": avatar.name, "regions": rows, "failures": failures}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whose wrinkles."""
    parser.add_argument("--pictures", type=Path, help="a folder for what was drawn")
    add_common(parser, "avatar", "runner")


main = Instrument("wrinkles", __doc__, add_options, measure, quick={})
