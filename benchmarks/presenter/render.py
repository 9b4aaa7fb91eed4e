"""Renders the performance frame by frame with Blender's Cycles on the CPU.

    python -m benchmarks.presenter.render --data DATA/synthetic_person --out FRAMES [--clip driver]

Needs `bpy`. Frames that exist are skipped, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import bpy

from benchmarks.presenter.mesh import Person
from benchmarks.presenter.performance import ARKIT_NAMES, CLIPS, Performance, load_performance
from benchmarks.presenter.rig import BodyPose, Rig
from benchmarks.presenter.scene import Presenter, add_studio, start_scene

CAMERA_DISTANCE_M = 1.67
PICTURE_DROP_M = 0.13  # the middle of the picture lies this far below the eyes


def parse_range(text: str, count: int) -> range:
    """ "a:b" or "a:b:step" -> frame numbers below count."""
    fields = [int(field) if field else None for field in text.split(":")]
    if not 2 <= len(fields) <= 3:
        raise argparse.ArgumentTypeError(f"--range {text!r}: want first:end or first:end:step")
    return range(*slice(*fields).indices(count))


def frame_pose(motion: Performance, frame: int) -> BodyPose:
    return BodyPose(
        motion.head[frame], motion.torso[frame], motion.wrist[frame],
        motion.forward[frame], motion.palm[frame], motion.fingers[frame],
    )  # fmt: skip


class FrameRenderer:
    """A prepared studio that renders single frames of a performance."""

    def __init__(self, assets: Path, side_px: int, samples: int, strands: int, threads: int) -> None:
        self._scene = start_scene(side_px, samples, threads)
        self._person = Person(assets)
        self._rig = Rig(self._person)
        eye_height = float(self._person.fitted("eyes", self._person.rest)[:, 1].mean())
        add_studio(eye_height, CAMERA_DISTANCE_M, PICTURE_DROP_M)
        self._presenter = Presenter(self._person, assets, strands)

    def render(self, motion: Performance, frame: int, target: Path) -> None:
        """Writes one PNG; it appears under its name only when complete."""
        rotations = self._rig.solve(frame_pose(motion, frame))
        weights = dict(zip(ARKIT_NAMES, map(float, motion.face[frame]), strict=True))
        vertices = self._person.pose_vertices(weights, rotations, motion.shift[frame])
        head = self._person.bone_matrices(rotations, motion.shift[frame])["Head"]
        self._presenter.move(vertices, head)
        unfinished = target.with_name(f"unfinished_{os.getpid()}.png")
        self._scene.render.filepath = str(unfinished)
        bpy.ops.render.render(write_still=True)
        unfinished.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the synthetic_person asset folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the frames, one subfolder per clip"
    )
    parser.add_argument("--performance", type=Path, default=Path(__file__).with_name("performance.npz"))
    parser.add_argument("--clip", choices=CLIPS, action="append", help="default: driver, then performance")
    parser.add_argument("--range", default=":", help="frames first:end[:step] of each clip")
    parser.add_argument("--side", type=int, default=256, help="picture width and height in pixels")
    parser.add_argument("--samples", type=int, default=8, help="samples per pixel")
    parser.add_argument("--strands", type=int, default=12000, help="hair strands")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    renderer = FrameRenderer(
        arguments.data, arguments.side, arguments.samples, arguments.strands, arguments.threads
    )
    for clip in arguments.clip or CLIPS:
        motion = load_performance(arguments.performance, clip)
        folder = arguments.out / clip
        folder.mkdir(parents=True, exist_ok=True)
        for frame in parse_range(arguments.range, len(motion)):
            target = folder / f"{frame:05d}.png"
            if target.exists():
                continue
            started = time.perf_counter()
            renderer.render(motion, frame, target)
            print(f"{clip} {frame}/{len(motion)} {time.perf_counter() - started:.2f} s", flush=True)


if __name__ == "__main__":
    main()
