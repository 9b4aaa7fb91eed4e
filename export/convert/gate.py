"""The gate for a converted network: it must render the person's held-out frames about as well as before, and
move the face as far.

Rendered with the live pipeline, each network on its own previous pictures, so that errors that build up
count. Beside it, where such frames come from, and how fast a network is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar, HeldOutFrame
from engine.errors import RunnerError
from engine.network.contract import Runner
from engine.person.landmarks import Landmarks
from export.convert.motion_gate import MotionReport, judge_motion, require_motion
from export.evaluate.held_out import psnr_db, region_boxes
from export.evaluate.replay import Feed, replay
from export.footage.prepared import Prepared

HELD_OUT_FRAMES = 24  # kept with an avatar
JPEG_QUALITY = 95
JUDGED_REGIONS = ("frame", "face")  # others are not on every frame
_TIMED_RUNS = 40


@dataclass(frozen=True, slots=True)
class GateReport:
    """PSNR in dB against the held-out frames, by region; loss = before - after."""

    frames: int
    before_db: dict[str, float]
    after_db: dict[str, float]
    loss_db: float  # the largest of any region judged; negative when the new one is better
    motion: MotionReport

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def judge(avatar: Avatar, before: Runner, after: Runner, frames: Sequence[HeldOutFrame]) -> GateReport:
    """Renders the frames with both networks and compares both with what the camera saw, then their motion."""
    if not frames:
        raise RunnerError("the gate got 0 held-out frames; wanted at least one: give --footage")
    old, new = (_quality(avatar, runner, frames) for runner in (before, after))
    loss = max(old[region] - new[region] for region in JUDGED_REGIONS)
    motion = judge_motion(avatar, before, after, [frame.landmarks for frame in frames])
    return GateReport(len(frames), _rounded(old), _rounded(new), round(loss, 3), motion)


def require(report: GateReport, bound_db: float) -> None:
    """Raises RunnerError beyond the bound, where the loss is not a number, or where the face moves less."""
    if not report.loss_db <= bound_db:
        raise RunnerError(
            f"the new network loses {report.loss_db:.2f} dB on {report.frames} held-out frames; "
            f"wanted at most {bound_db:g} dB: nothing was changed; keep the variant you have, or train longer"
        )
    require_motion(report.motion)


def held_out_frames(prepared: Prepared, count: int = HELD_OUT_FRAMES) -> list[HeldOutFrame]:
    """That many consecutive frames of the held-out tail: where the face moves most.

    Fewer only where no longer stretch of the tail shows a face.
    """
    tail = range(prepared.tail_start, len(prepared.rgb))
    faces = np.stack([prepared.landmarks[index].face[:, :2] for index in tail])
    moved = np.concatenate([[0.0], np.abs(np.diff(faces, axis=0)).mean(axis=(1, 2))])
    seen = [prepared.landmarks[index].face_confidence > 0 for index in tail]
    shots = prepared.shot[prepared.tail_start :]
    while count > 1 and not _stretches(seen, shots, count):
        count -= 1
    starts = _stretches(seen, shots, count) or [0]
    start = max(starts, key=lambda at: float(moved[at + 1 : at + count].sum()))
    return [
        held_out_frame(prepared.rgb[index], prepared.landmarks[index])
        for index in tail[start : start + count]
    ]


def _stretches(seen: Sequence[bool], shots: NDArray[np.int32], count: int) -> list[int]:
    """Where that many frames of one shot begin that all show a face."""
    return [
        at
        for at in range(len(seen) - count + 1)
        if all(seen[at : at + count]) and shots[at] == shots[at + count - 1]
    ]


def held_out_frame(rgb: U8Image, landmarks: Landmarks) -> HeldOutFrame:
    """rgb: (S, S, 3) uint8, kept near to what it was."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    with Image.open(buffer) as image:
        return HeldOutFrame(buffer.getvalue(), np.array(image, np.uint8), landmarks)


def race(slow: Runner, fast: Runner, feed: Feed) -> tuple[float, float]:
    """Median milliseconds per run of both, taking turns, so that what else the machine does hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TIMED_RUNS):
        for runner, taken in zip((slow, fast), times, strict=True):
            begun = perf_counter()
            runner.run(feed)
            taken.append((perf_counter() - begun) * 1e3)
    return float(np.median(times[0])), float(np.median(times[1]))


def _quality(avatar: Avatar, runner: Runner, frames: Sequence[HeldOutFrame]) -> dict[str, float]:
    """PSNR in dB by region, mean over the frames that show it."""
    found: dict[str, list[float]] = {}
    rendered = replay(avatar, runner, [frame.landmarks for frame in frames])
    for frame, picture in zip(frames, rendered, strict=True):
        for region, boxes in region_boxes(frame.landmarks, avatar.size).items():
            for x0, y0, x1, y1 in boxes:
                value = psnr_db(picture.rgb[y0:y1, x0:x1], frame.rgb[y0:y1, x0:x1])
                found.setdefault(region, []).append(value)
    return {region: float(np.mean(values)) for region, values in found.items()}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {region: round(value, 2) for region, value in values.items()}
