"""What does each part of the temporal cache buy: in milliseconds, in calm, and does anything drift?

    python -m benchmarks.cache --drift-seconds 60 [--avatar FILE] [--runner onnx-cpu]

Renders the same made-up driver with everything on, with each part off by itself, and with everything off; the
pictures come one after the other, as fast as they can, so nothing but the cache differs. The driver's
landmarks carry the jitter that the trackers had on a still picture with camera noise, and go through the
live filter.

- ms: time per picture, without tracking, while the driver moves and while he holds still;
- flicker_still: mean change per colour value, 0..255, between pictures that follow each other, on the person;
- flicker_moving: the same while he moves, after the picture before was warped to the new pose: what is left
  is flicker, and what the warp cannot follow (so compare rows, the number has no zero);
- drift: the driver repeats one performance for --drift-seconds; mean colour of cheeks and cloth over a
  repetition against the first one, CIEDE2000, 1 is about what can just be seen: after the last, and the most.

What bounds it: the network and the warps; a part saves time only where it spares one of those. The last line
of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.colour import de2000, lab
from benchmarks.glass_statistics import percentiles
from benchmarks.machine import describe_machine
from benchmarks.options import instrument_parser
from benchmarks.puppet import Pose, lively
from benchmarks.puppet_stage import DRIVER, FRAME_NS, FakeTracker
from benchmarks.report import add_out, finish, record
from engine import topology as topo
from engine.avatar import Avatar, load_avatar
from engine.landmark_filter import LandmarkFilter
from engine.landmarks import Landmarks
from engine.motion import Neutral, build_neutral
from engine.pipeline import Pipeline, PipelineConfig, Rendered
from engine.prior import KeyImage, PriorBuilder
from engine.runners import choose_runner
from engine.temporal_cache import CacheConfig
from engine.warp import sample

FloatArray = NDArray[np.float64]
U8Image = NDArray[np.uint8]

# Standard deviations where the outer eye corners are 48 px apart, as the driver's are; measured with
# MediaPipe on one picture, 640x480, with new noise of 5 levels in each frame.
FACE_OWN_PX, FACE_COMMON_PX, BODY_PX = 0.09, 0.05, 0.67
REPETITION = 250  # pictures: 10 s there and back
STILL = 250  # pictures
WARM_UP = 25  # pictures that count for nothing
PERSON = 0.5  # matte
BACKGROUND = np.zeros((240, 240, 3), np.uint8)  # landmarks are given, so nobody looks at the camera's picture


@dataclass(frozen=True, slots=True)
class Shown:
    """One rendered picture and what it took."""

    rgb: U8Image
    target: Landmarks
    took_ms: float
    reused: bool


def variants() -> dict[str, CacheConfig]:
    """What is off -> the cache without it."""
    parts = [part.name for part in fields(CacheConfig)]
    without = {name: replace(CacheConfig(), **{name: False}) for name in parts}
    return {"nothing": CacheConfig(), **without, "everything": CacheConfig(*[False] * len(parts))}


def performance() -> list[Pose]:
    """Ten seconds that end where they begin."""
    there = lively(REPETITION // 2 + 1, seed=3, hands=True)
    return [*there, *there[-2:0:-1]]


def as_tracked(poses: Sequence[Pose], seed: int) -> list[Landmarks]:
    """The poses as the live tracker would tell them: with jitter, filtered."""
    rng = np.random.default_rng(seed)
    steady = LandmarkFilter()

    def shaken(points: NDArray[np.float32], own_px: float, common_px: float) -> NDArray[np.float32]:
        own, common = rng.normal(0, own_px, points.shape), rng.normal(0, common_px, points.shape[-1])
        return np.asarray(points + own + common, np.float32)

    told = []
    for index, pose in enumerate(poses):
        exact = DRIVER.landmarks(pose)
        raw = replace(
            exact,
            face=shaken(exact.face, FACE_OWN_PX, FACE_COMMON_PX),
            pose=shaken(exact.pose, BODY_PX, 0.0),
            hands=shaken(exact.hands, FACE_OWN_PX, BODY_PX),
        )
        told.append(steady(raw, index * FRAME_NS))
    return told


def render(pipeline: Pipeline, driver: Sequence[Landmarks], from_frame: int) -> Iterator[Shown]:
    """One picture after the other."""
    for index, landmarks in enumerate(driver, from_frame):
        began = perf_counter()
        rendered: Rendered = pipeline.process(BACKGROUND, index * FRAME_NS, landmarks)
        took_ms = (perf_counter() - began) * 1e3
        assert rendered.target is not None
        yield Shown(rendered.rgb.copy(), rendered.target, took_ms, rendered.reused)


class Flicker:
    """Mean change on the person between pictures that follow each other. One sequence."""

    def __init__(self, builder: PriorBuilder, follow: bool) -> None:
        """follow: warp the picture before to the new pose first."""
        self.changes: list[float] = []
        self._builder = builder
        self._follow = follow
        self._before: Shown | None = None

    def add(self, shown: Shown) -> None:
        """The next picture."""
        before, self._before = self._before, shown
        if before is None:
            return
        picture = before.rgb
        if self._follow:
            picture = sample(picture, self._builder.flow_between(before.target, shown.target))
        person = self._builder.build(shown.target).matte > PERSON
        change = np.abs(shown.rgb[person].astype(np.int16) - picture[person])
        self.changes.append(float(change.mean()) if person.any() else 0.0)

    @property
    def mean(self) -> float:
        """Of all changes so far."""
        return round(float(np.mean(self.changes)), 3)


def cheek_colour(shown: Shown) -> FloatArray:
    """(3,) mean RGB at the cheeks' points."""
    return _mean_at(shown.rgb, shown.target.face[topo.CHEEKS, :2])


def cloth_colour(shown: Shown) -> FloatArray:
    """(3,) mean RGB of a square below the middle of the shoulders."""
    left, right = shown.target.pose[topo.SHOULDERS, :2]
    width = float(np.linalg.norm(left - right))
    steps = np.linspace(-0.15, 0.15, 9) * width
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    return _mean_at(shown.rgb, (left + right) / 2 + [0.0, 0.25 * width] + grid)


def _mean_at(rgb: U8Image, points: NDArray[Any]) -> FloatArray:
    places = np.clip(np.round(points).astype(int), 0, len(rgb) - 1)
    return np.asarray(rgb[places[:, 1], places[:, 0]].mean(0), np.float64)


def drift(colours: Sequence[FloatArray], length: int) -> dict[str, float | None]:
    """CIEDE2000 of whole repetitions of `length` pictures against the first: the last one's, the most."""
    whole = len(colours) // length
    means = [lab(np.mean(colours[at * length : (at + 1) * length], 0)) for at in range(whole)]
    apart = [de2000(means[0], mean) for mean in means[1:]]
    if not apart:
        return {"last": None, "most": None}
    return {"last": round(apart[-1], 3), "most": round(max(apart), 3)}


def measure_variant(avatar: Avatar, cache: CacheConfig, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    runner, reason = choose_runner(args.runner, avatar, args.threads)
    pipeline = Pipeline(avatar, PipelineConfig(cache=cache), FakeTracker([]), runner, reason)
    pipeline.warm_up()
    pipeline.drive_by(build_neutral([DRIVER.landmarks()]))
    builder = follower(avatar)
    acts = performance()
    repetitions = max(1, round(args.drift_seconds * 1e9 / FRAME_NS / len(acts)))
    moving, still = Flicker(builder, follow=True), Flicker(builder, follow=False)
    moving_ms, still_ms, reused, cheeks, cloth = [], [], 0, [], []
    try:
        for _ in render(pipeline, as_tracked(acts[:WARM_UP], seed=0), 0):
            pass
        frame = WARM_UP
        for repetition in range(repetitions):
            for shown in render(pipeline, as_tracked(acts, seed=1), frame):
                moving_ms.append(shown.took_ms)
                cheeks.append(cheek_colour(shown))
                cloth.append(cloth_colour(shown))
                if repetition == 0:
                    moving.add(shown)
            frame += len(acts)
        for index, shown in enumerate(
            render(pipeline, as_tracked([Pose()] * (STILL + WARM_UP), seed=2), frame)
        ):
            if index >= WARM_UP:
                still_ms.append(shown.took_ms)
                reused += shown.reused
                still.add(shown)
    finally:
        pipeline.close()
    return {
        "ms": {"moving": percentiles(moving_ms), "still": percentiles(still_ms)},
        "reused_still": round(reused / STILL, 3),
        "flicker_still": still.mean,
        "flicker_moving": moving.mean,
        "drift_de2000": {"cheek": drift(cheeks, len(acts)), "cloth": drift(cloth, len(acts))},
        "pictures": len(moving_ms) + len(still_ms),
        "runner_reason": reason,
    }


def follower(avatar: Avatar) -> PriorBuilder:
    """Warps and mattes of the avatar, apart from the pipeline's own."""
    keys = [KeyImage(np.dstack([key.rgb, key.matte]), key.landmarks) for key in avatar.keyframes]
    neutral = Neutral.from_arrays(avatar.neutral)
    return PriorBuilder(keys, neutral, avatar.plate, bare_torso=avatar.bare_torso)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rows."""
    machine = describe_machine()
    avatar = load_avatar(args.avatar)
    rows = []
    for off, cache in variants().items():
        rows.append({"off": off, **measure_variant(avatar, cache, args)})
        print(describe_row(rows[-1]), flush=True)
    config = {
        "avatar": avatar.name,
        "size": avatar.size,
        "runner": args.runner,
        "runner_reason": rows[0]["runner_reason"],
        "threads": args.threads,
        "drift_seconds": args.drift_seconds,
        "jitter_px": {"face_own": FACE_OWN_PX, "face_common": FACE_COMMON_PX, "body": BODY_PX},
    }
    return record("cache", {"rows": rows}, config, machine)


def describe_row(row: dict[str, Any]) -> str:
    """One row, for people."""
    ms, apart = row["ms"], row["drift_de2000"]
    return (
        f"off: {row['off']:<22} moving {ms['moving']['p50']:6.2f} ms, still {ms['still']['p50']:6.2f} ms; "
        f"flicker still {row['flicker_still']:.3f}, moving {row['flicker_moving']:.3f}; "
        f"drift cheek {apart['cheek']['most']}, cloth {apart['cloth']['most']}"
    )


def main() -> int:
    """Run from the command line."""
    parser = instrument_parser(__doc__, "cache")
    parser.add_argument(
        "--drift-seconds", type=float, default=60.0, help="of repeated performance per row (default 60)"
    )
    parser.add_argument("--avatar", default="bundled")
    parser.add_argument("--runner", default="auto")
    parser.add_argument(
        "--threads", type=int, default=0, help="of the CPU for the network, 0 = from the cores"
    )
    add_out(parser)
    args = parser.parse_args()
    figures = measure(args)
    finish(figures, "each row without one part; the first with all, the last with none", args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
