"""Does the avatar's picture drift, blur or begin to flicker over ten minutes of driving?

    avatarcast bench drift [--driver clip.mp4 --driver other.mkv ...] [--avatar FILE] [--minutes 10]
        [--footage X.prepared.npz]

Not in real time: every clip is tracked once and its filtered landmarks are played to and fro, again and
again, as fast as the pipeline renders; the temporal cache goes on as in a call. Each driver frame comes again
every time round, so its picture is compared with the one of the same frame the first time round, and the
driver cancels out. Between clips there is a cut, where the cache starts afresh: one long clip is the harder
trial.

- colour: mean colour of cheeks and of cloth in a row of --row-seconds, CIEDE2000 from the first time round; 1
  is about what can just be seen;
- sharpness: fine power of the face over that of the first time round: it falls where pictures blur;
- flicker: mean change between pictures that follow each other, likewise;
- beside the footage (--footage, as `enroll --prepare-only` writes it): the same change on the person, of the
  avatar driven by its own held-out frames, and of those frames themselves, where the driver holds still and
  where not.

passed says whether every figure is within the bounds that are in the record too. What bounds it: a drift that
has settled within the first time round is not seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pictures.colour import de2000, lab
from benchmarks.records.instrument import DEFAULT_DRIVER, Instrument, add_common
from benchmarks.records.record import Record
from benchmarks.records.series import slope_per_minute
from engine.arrays import DoubleArray, U8Image
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from engine.media.video import probe
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import Neutral, build_neutral
from engine.pipeline import Pipeline, PipelineConfig, build_pipeline
from engine.tracking.landmark_filter import LandmarkFilter
from export.evaluate.follow import track_clip
from export.evaluate.held_out import fine_power, region_boxes
from export.evaluate.replay import NoTracker
from export.footage.prepared import Prepared
from export.progress import Bars

PATCHES = ("cheek", "cloth")
RATIOS = ("sharpness", "flicker")
# The most that any row may be apart from the first time round, and the most that it may move in a minute.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "cheek": (1.0, 0.05),  # CIEDE2000
    "cloth": (1.0, 0.05),
    "sharpness": (0.05, 0.005),  # share
    "flicker": (0.1, 0.01),
}
FOOTAGE_FRAMES = 300  # of the held-out tail
STILL_SHARE = 0.002  # of the canvas that a part moves from one frame to the next: half a pixel of 256
MIN_PAIRS = 10  # of frames; fewer say nothing
PERSON = 128  # matte


@dataclass(frozen=True, slots=True)
class Act:
    """One clip's landmarks, there and back."""

    frames: Sequence[Landmarks]
    neutral: Neutral
    frame_ns: int

    @classmethod
    def of(cls, clip: Sequence[Landmarks], fps: float) -> Act:
        """Raises FootageError when no frame has a face."""
        return cls([*clip, *clip[-2:0:-1]], build_neutral(clip), round(1e9 / fps))


@dataclass(frozen=True, slots=True)
class Look:
    """What one rendered picture was like."""

    time_ns: int
    frame: int  # which of all acts' frames drove it
    cheek: DoubleArray  # (3,) mean RGB
    cloth: DoubleArray
    fine: float  # fine power of the face
    change: float  # mean change per colour value since the picture before


def drive(pipeline: Pipeline, acts: Sequence[Act], minutes: float) -> Iterator[Look]:
    """Renders the acts one after the other, over and over, for so many minutes of pictures."""
    time_ns, end_ns = 0, round(minutes * 60e9)
    before: U8Image | None = None
    blank = np.zeros((8, 8, 3), np.uint8)  # landmarks are given, so nobody looks at the camera's picture
    numbers = count()
    one_round = [(act, landmarks, next(numbers)) for act in acts for landmarks in act.frames]
    for act, landmarks, frame in cycle(one_round):
        if time_ns >= end_ns:
            return
        if landmarks is act.frames[0]:
            pipeline.drive_by(act.neutral)
        rendered = pipeline.process(blank, time_ns, landmarks)
        if rendered.target is not None:
            picture = rendered.rgb.copy()
            yield look_at(picture, rendered.target, before, time_ns, frame)
            before = picture
        time_ns += act.frame_ns


def look_at(picture: U8Image, target: Landmarks, before: U8Image | None, time_ns: int, frame: int) -> Look:
    """Measures one picture, (S, S, 3)."""
    boxes = region_boxes(target, len(picture))["face"]
    fine = sum(fine_power(picture[y0:y1, x0:x1]) for x0, y0, x1, y1 in boxes)
    change = 0.0 if before is None else change_between(before, picture)
    return Look(time_ns, frame, cheek_colour(picture, target), cloth_colour(picture, target), fine, change)


def cheek_colour(picture: U8Image, target: Landmarks) -> DoubleArray:
    """(3,) mean RGB at the cheeks' points."""
    return _mean_at(picture, target.face[topo.CHEEKS, :2])


def cloth_colour(picture: U8Image, target: Landmarks) -> DoubleArray:
    """(3,) mean RGB of a square below the middle of the shoulders."""
    left, right = target.pose[topo.SHOULDERS, :2]
    width = float(np.linalg.norm(left - right))
    steps = np.linspace(-0.15, 0.15, 9) * width
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    return _mean_at(picture, (left + right) / 2 + [0.0, 0.25 * width] + grid)


def _mean_at(picture: U8Image, points: NDArray[Any]) -> DoubleArray:
    places = np.clip(np.round(points).astype(int), 0, len(picture) - 1)
    return np.asarray(picture[places[:, 1], places[:, 0]].mean(0), np.float64)


def change_between(one: U8Image, other: U8Image, where: NDArray[np.bool_] | None = None) -> float:
    """Mean absolute change per colour value, 0..255; where: (S, S), everywhere without."""
    change = np.abs(one.astype(np.int16) - other)
    return float(change.mean() if where is None else change[where].mean())


def rows_of(looks: Sequence[Look], row_s: float) -> list[dict[str, float]]:
    """Each stretch of row_s seconds after the first time round, against the same frames in that.

    Raises SettingsError when there is no second time round.
    """
    first: dict[int, Look] = {}
    later: dict[int, list[Look]] = {}
    for look in looks:
        if look.frame in first:
            later.setdefault(int(look.time_ns / (row_s * 1e9)), []).append(look)
        else:
            first[look.frame] = look
    if not later:
        raise SettingsError(
            f"{looks[-1].time_ns / 60e9:.1f} minutes show the clips once: give --minutes several times that"
        )
    most = max(len(row) for row in later.values())
    return [
        {"minute": round((at + 1) * row_s / 60, 2), **_against(row, [first[look.frame] for look in row])}
        for at, row in sorted(later.items())
        if len(row) > most / 2  # the first and the last may be short
    ]


def _against(row: Sequence[Look], same: Sequence[Look]) -> dict[str, float]:
    def colour(looks: Sequence[Look], patch: str) -> DoubleArray:
        return lab(np.mean([getattr(look, patch) for look in looks], axis=0))

    apart = {patch: de2000(colour(same, patch), colour(row, patch)) for patch in PATCHES}
    ratios = {
        name: sum(getattr(look, field) for look in row)
        / max(sum(getattr(look, field) for look in same), 1e-9)
        for name, field in zip(RATIOS, ("fine", "change"), strict=True)
    }
    return {name: round(float(value), 4) for name, value in (apart | ratios).items()}


def trends(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Of each figure: the most that a row is `apart` from the first time round, and its slope."""
    found: dict[str, dict[str, float | None]] = {}
    for name in BOUNDS:
        values = [row[name] - (name in RATIOS) for row in rows]
        points = [(round(row["minute"] * 60e9), value) for row, value in zip(rows, values, strict=True)]
        most = max(values, key=abs)
        found[name] = {"apart": round(most, 4), "slope_per_min": slope_per_minute(points)}
    return found


def failures(found: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """What is beyond its bounds, in words."""
    said = []
    for name, bounds in BOUNDS.items():
        for figure, bound in zip(("apart", "slope_per_min"), bounds, strict=True):
            value = found[name][figure]
            if value is None:
                said.append(f"{name} {figure}: too few rows; give more --minutes")
            elif abs(value) > bound:
                said.append(f"{name} {figure}: {value:+g}, bound {bound:g}")
    return said


def beside_footage(
    avatar: Avatar, prepared: Prepared, runner: str
) -> dict[str, dict[str, float | int | None]]:
    """`still` and `moving`: mean change on the person in the footage and in the avatar driven by it."""
    tail = range(prepared.tail_start, min(prepared.tail_start + FOOTAGE_FRAMES, len(prepared.rgb)))
    steady = LandmarkFilter()
    pipeline = build_pipeline(avatar, PipelineConfig(runner=runner), NoTracker())
    pipeline.drive_by(avatar.neutral)
    kinds: dict[str, list[tuple[float, float]]] = {"still": [], "moving": []}
    before: tuple[int, Landmarks, U8Image] | None = None
    try:
        for index in tail:
            time_ns = round((index - tail[0]) / prepared.fps * 1e9)
            landmarks = steady(prepared.landmarks[index], time_ns)
            picture = pipeline.process(prepared.rgb[index], time_ns, landmarks).rgb.copy()
            person = prepared.matte[index] > PERSON
            if before is not None and person.any() and prepared.shot[index] == prepared.shot[before[0]]:
                kind = "still" if is_still(before[1], landmarks, prepared.size) else "moving"
                real = change_between(prepared.rgb[before[0]], prepared.rgb[index], person)
                kinds[kind].append((real, change_between(before[2], picture, person)))
            before = index, landmarks, picture
    finally:
        pipeline.close()
    return {
        kind: {
            "pairs": len(pairs),
            "footage": round(float(np.mean([real for real, _ in pairs])), 3) if enough else None,
            "avatar": round(float(np.mean([made for _, made in pairs])), 3) if enough else None,
        }
        for kind, pairs in kinds.items()
        for enough in (len(pairs) >= MIN_PAIRS,)
    }


def is_still(one: Landmarks, other: Landmarks, canvas_px: int) -> bool:
    """Whether face, shoulders and the hands that show hardly moved; a hand that comes or goes did."""
    seen = [frame.hand_confidence > VISIBLE for frame in (one, other)]
    if (seen[0] != seen[1]).any():
        return False
    parts = [(one.face, other.face), (one.pose[topo.SHOULDERS], other.pose[topo.SHOULDERS])]
    parts += [(one.hands[side], other.hands[side]) for side in np.flatnonzero(seen[0])]
    moved = [np.median(np.linalg.norm(new[:, :2] - old[:, :2], axis=1)) for old, new in parts]
    return bool(max(moved) <= STILL_SHARE * canvas_px)


def measure(args: argparse.Namespace) -> Record:
    """Tracks, drives, judges."""
    avatar = load_avatar(args.avatar)
    prepared = None if args.footage is None else Prepared.load(args.footage)
    drivers = args.driver or [DEFAULT_DRIVER]
    pipeline = build_pipeline(avatar, PipelineConfig(runner=args.runner, threads=args.threads), NoTracker())
    looks = []
    with closing(pipeline), Bars(disable=None) as bars:
        acts = [Act.of(track_clip(clip, bars.show), probe(clip).fps) for clip in drivers]
        for look in drive(pipeline, acts, args.minutes):
            looks.append(look)
            bars.show("driving", look.time_ns / 1e9, args.minutes * 60, "s")
    rows = rows_of(looks, args.row_seconds)
    found = trends(rows)
    config = {
        "avatar": avatar.name,
        "size": avatar.size,
        "runner_reason": pipeline.runner_reason,
        "drivers": [clip.name for clip in drivers],
        "round_s": round(sum(len(act.frames) * act.frame_ns for act in acts) / 1e9, 1),
        "real_time": False,  # each clip tracked once, rendered as fast as it goes
    }
    return {
        "failures": failures(found),
        "bounds": {name: list(bounds) for name, bounds in BOUNDS.items()},
        "pictures": len(looks),
        "drift": found,
        "rows": rows,
        "beside_footage": None if prepared is None else beside_footage(avatar, prepared, args.runner),
        "config": config,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who drives, how long."""
    parser.add_argument("--driver", type=Path, action="append", help="clip; may be repeated")
    parser.add_argument("--row-seconds", type=float, default=60.0, help="of one row (default 60)")
    parser.add_argument("--footage", type=Path, help="the avatar's footage, prepared: X.prepared.npz")
    add_common(parser, "avatar", "runner", "threads", minutes=10.0)


main = Instrument("drift", __doc__, add_options, measure, quick={"minutes": 0.3, "row_seconds": 2.0})
