"""The gate for a converted network: it must render the person's held-out frames about as well as before, by
PSNR, to the eye (FLIP) and in sharpness, and move the face as far.

Rendered with the live pipeline, each network on its own previous pictures, so that errors that build up
count. Beside it, where such frames come from, and how fast a network is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from export.evaluate.held_out import Scores, region_boxes
from export.evaluate.replay import Feed, replay
from export.footage.prepared import Prepared

HELD_OUT_FRAMES = 24  # kept with an avatar
JPEG_QUALITY = 95
JUDGED_REGIONS = ("frame", "face")  # others are not on every frame
# INT8 adds 0.004 and 0.014 to the presenters'; a Gaussian of one px 0.03, and of half a px nothing: PSNR and
# FLIP both forgive what is softer and no more out of place, so sharpness has a bound of its own.
MOST_FLIP_GROWTH = 0.05
LEAST_SHARPNESS = 0.9
_TIMED_RUNS = 40


@dataclass(frozen=True, slots=True)
class GateReport:
    """PSNR in dB, FLIP and sharpness against the held-out frames, by region."""

    frames: int
    before_db: dict[str, float | None]
    after_db: dict[str, float | None]
    loss_db: float  # the largest of any region judged; negative when the new one is better
    before_flip: dict[str, float | None]
    after_flip: dict[str, float | None]
    flip_growth: float  # as a share of before, likewise
    before_sharpness: dict[str, float | None]
    after_sharpness: dict[str, float | None]
    sharpness_kept: float  # the smallest share of before, likewise
    motion: MotionReport

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def judge(avatar: Avatar, before: Runner, after: Runner, frames: Sequence[HeldOutFrame]) -> GateReport:
    """Renders the frames with both networks and compares both with what the camera saw, then their motion."""
    if not frames:
        raise RunnerError("the gate got 0 held-out frames; wanted at least one: give --footage")
    poses = [frame.landmarks for frame in frames]
    scores = Scores(("before", "after"))
    pictures = (replay(avatar, runner, poses) for runner in (before, after))
    for frame, old, new in zip(frames, *pictures, strict=True):
        boxes = region_boxes(frame.landmarks, avatar.size)
        scores.add({"before": old.rgb, "after": new.rgb}, frame.rgb, boxes)
    return compared(scores, len(frames), judge_motion(avatar, before, after, poses))


def compared(scores: Scores, frames: int, motion: MotionReport) -> GateReport:
    """The verdict on what was measured of `before` and `after`."""
    psnr, flip, sharp = (
        (measure("before"), measure("after")) for measure in (scores.means, scores.flip, scores.sharpness)
    )
    return GateReport(
        frames,
        *psnr,
        loss_db=max(old - new for old, new in _judged(*psnr)),
        before_flip=flip[0],
        after_flip=flip[1],
        flip_growth=max((new - old) / max(old, 1e-4) for old, new in _judged(*flip)),
        before_sharpness=sharp[0],
        after_sharpness=sharp[1],
        sharpness_kept=min((new / old for old, new in _judged(*sharp) if old > 0), default=1.0),
        motion=motion,
    )


def _judged(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> list[tuple[float, float]]:
    """Both values of each region judged."""
    pairs = ((before[region], after[region]) for region in JUDGED_REGIONS)
    return [(old, new) for old, new in pairs if old is not None and new is not None]


def require(report: GateReport, bound_db: float) -> None:
    """Raises RunnerError beyond a bound, where a figure is not a number, or where the face moves less."""
    if not report.loss_db <= bound_db:
        why = f"loses {report.loss_db:.2f} dB", f"at most {bound_db:g} dB"
    elif not report.flip_growth <= MOST_FLIP_GROWTH:
        why = f"looks worse, by {report.flip_growth:.1%} of its FLIP error", f"at most {MOST_FLIP_GROWTH:.0%}"
    elif not report.sharpness_kept >= LEAST_SHARPNESS:
        why = f"keeps {report.sharpness_kept:.0%} of the sharpness", f"at least {LEAST_SHARPNESS:.0%}"
    else:
        require_motion(report.motion)
        return
    raise RunnerError(
        f"the new network {why[0]} on {report.frames} held-out frames; wanted {why[1]}: "
        "nothing was changed; keep the variant you have, or train longer"
    )


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


def race(slow: tuple[Runner, Feed], fast: tuple[Runner, Feed]) -> tuple[float, float]:
    """Median milliseconds per run of both, taking turns, so that what else the machine does hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TIMED_RUNS):
        for (runner, feed), taken in zip((slow, fast), times, strict=True):
            begun = perf_counter()
            runner.run(feed)
            taken.append((perf_counter() - begun) * 1e3)
    return float(np.median(times[0])), float(np.median(times[1]))
