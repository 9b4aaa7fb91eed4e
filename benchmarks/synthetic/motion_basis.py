"""Learns the motion code's basis from rendered presenters, and the mouths of visemes from rendered people.

    python -m benchmarks.synthetic.motion_basis --data DATA [--people 4]

Writes engine/assets/voice/basis.npz and export/assets/mouths.npz. A person draws each viseme and each target
of the mouth, alone and with an open jaw; their tracked lips, as code, are told by ridge regression from what
was drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from benchmarks.synthetic.people.character import draw_character
from benchmarks.synthetic.people.film import film
from benchmarks.synthetic.people.motion import REST_FRAMES
from benchmarks.synthetic.people.motion import Motion as PeopleMotion
from benchmarks.synthetic.people.raster import Context, open_context
from benchmarks.synthetic.presenter.performance import (
    ARKIT_NAMES,
    PERFORMANCE_FILE,
    Performance,
    load_performance,
)
from engine.arrays import DoubleArray, FloatArray
from engine.avatar.avatar_file import load_avatar
from engine.files import write_file
from engine.media.video import read_frames
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.person.motion import Motion, Neutral, build_neutral, motion_of
from engine.tracking.face_finder import FaceFinder
from engine.tracking.tracker import EveryFrameTracker
from engine.voice.motion_code import LIDS, LIPS, Basis, basis, encode, encode_all, expression_of, learn_basis
from export.voice.articulation import VISEMES

ROOT = Path(__file__).parents[2]
PRESENTERS = ("theo", "amara")
FILMS = [
    *(ROOT / f"benchmarks/data/cross_driving/{name}.mp4" for name in PRESENTERS),
    ROOT / "tests/data/presenter_driver.mp4",
]
AVATARS = [ROOT / f"engine/assets/{name}.avatar" for name in PRESENTERS]
FIRST_SEED, SIDE_PX = 701, 256
_PENALTY = 0.1
MOUTH_TARGETS = tuple(name for name in ARKIT_NAMES if name.startswith(("jaw", "mouth", "cheek")))

Person = tuple[Neutral, list[Motion]]


def main(arguments: list[str] | None = None) -> int:
    """Learns, writes, and says what a round trip costs."""
    parser = argparse.ArgumentParser(prog="motion_basis", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds synthetic_person/")
    parser.add_argument("--people", type=int, default=4, help="who draw the mouths (default 4)")
    options = parser.parse_args(arguments)
    people = [*map(tracked, FILMS), *map(of_avatar, AVATARS)]
    write_file(ROOT / "engine/assets/voice/basis.npz", packed(learn(people).arrays()), shared=True)
    basis.cache_clear()
    context, drawn = open_context(), mouths_to_draw()
    lips = [
        lips_drawn(context, options.data / "synthetic_person", FIRST_SEED + k, drawn)
        for k in range(options.people)
    ]
    mouths, explained = learn_mouths(drawn, lips)
    write_file(ROOT / "export/assets/mouths.npz", packed(mouths), shared=True)
    print(f"mouths: {explained:.0%} of the lips' variance told by what was drawn")
    for path in AVATARS:
        print(f"{path.name}: {round_trip_px(*of_avatar(path)):.2f} px rms of the lips, there and back")
    return 0


def tracked(path: Path) -> Person:
    """The face in every frame of a film."""
    finder, frames = FaceFinder(), []
    for frame in read_frames(path):
        face = finder.find(np.ascontiguousarray(frame.rgb))
        if face is not None:
            height, width = frame.rgb.shape[:2]
            frames.append(Landmarks(width, height, face=face, face_confidence=1.0))
    return moving(frames)


def of_avatar(path: Path) -> Person:
    """Its key frames and held-out frames, chosen for what they show."""
    avatar = load_avatar(path)
    shown = [frame.landmarks for frame in avatar.keyframes] + [frame.landmarks for frame in avatar.held_out]
    return moving(shown)


def moving(frames: Sequence[Landmarks]) -> Person:
    """With the neutral that they were measured against."""
    neutral = build_neutral(frames)
    return neutral, [motion_of(frame, neutral) for frame in frames]


def learn(people: Sequence[Person]) -> Basis:
    """Of everybody together."""
    offsets = np.concatenate([np.stack([motion.expression for motion in motions]) for _, motions in people])
    lids = np.concatenate([encode_all(motions, neutral)[:, LIDS] for neutral, motions in people])
    return learn_basis(offsets, lids)


def mouths_to_draw() -> DoubleArray:
    """(n, 15 + len(MOUTH_TARGETS)): rest first, then weights of visemes and targets."""
    count = len(VISEMES) + len(MOUTH_TARGETS)
    jaw = len(VISEMES) + MOUTH_TARGETS.index("jawOpen")
    rows = [np.zeros(count)] * REST_FRAMES
    for target in range(count):
        for weight, opening in ((1.0, 0.0), (0.5, 0.0), (0.8, 0.2)):
            row = np.zeros(count)
            row[target] = weight if target != jaw else 0.5 * weight
            row[jaw] = max(row[jaw], opening)
            rows.append(row)
    return np.stack(rows)


def lips_drawn(context: Context, assets: Path, seed: int, drawn: DoubleArray) -> FloatArray:
    """(n, 22): the lips of one person's code, as tracked in what was drawn."""
    rest = load_performance(PERFORMANCE_FILE, "performance")  # its first second is a resting face
    still = Performance(
        **{f.name: np.repeat(getattr(rest, f.name)[:1], len(drawn), 0) for f in fields(Performance)}
    )
    face = still.face.copy()
    face[:, [ARKIT_NAMES.index(name) for name in MOUTH_TARGETS]] += drawn[:, len(VISEMES) :]
    motion = PeopleMotion(replace(still, face=face), drawn[:, : len(VISEMES)])
    with EveryFrameTracker() as tracker:
        frames = [
            tracker.track(picture.rgb, number * 66_000_000)
            for number, picture in enumerate(film(context, assets, draw_character(seed), motion, SIDE_PX))
        ]
    neutral = build_neutral(frames[:REST_FRAMES])
    return encode_all([motion_of(frame, neutral) for frame in frames], neutral)[:, LIPS]


def learn_mouths(drawn: DoubleArray, lips: Sequence[FloatArray]) -> tuple[dict[str, FloatArray], float]:
    """lips: (n, 22) of each person. Gives visemes (15, 22), targets and jaw, and the share explained."""
    moved = np.mean([one - one[:REST_FRAMES].mean(0) for one in lips], axis=0)
    gram = drawn.T @ drawn + _PENALTY * np.eye(drawn.shape[1])
    told = np.linalg.solve(gram, drawn.T @ moved).astype(np.float32)
    explained = 1.0 - float(((moved - drawn @ told) ** 2).sum() / (moved**2).sum())
    targets = told[len(VISEMES) :]
    jaw = targets[MOUTH_TARGETS.index("jawOpen")]
    return {"visemes": told[: len(VISEMES)], "targets": targets, "jaw": jaw}, explained


def round_trip_px(neutral: Neutral, motions: Sequence[Motion]) -> float:
    """Root mean square over lip points and frames."""
    points = np.concatenate([topo.LIPS_INNER, topo.LIPS_OUTER])
    apart = [expression_of(encode(motion, neutral)) - motion.expression for motion in motions]
    return float(np.sqrt((np.stack(apart)[:, points, :2] ** 2).sum(-1).mean()) * neutral.scale)


def packed(arrays: dict[str, FloatArray]) -> bytes:
    """A compressed .npz of half precision."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **{name: array.astype(np.float16) for name, array in arrays.items()})
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
