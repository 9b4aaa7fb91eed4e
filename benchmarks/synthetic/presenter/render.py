"""Renders a presenter's performance frame by frame with Blender's Cycles on the CPU.

    python -m benchmarks.synthetic.presenter.render theo --data DATA/synthetic_person --out FRAMES
        [--clip driver] [--frame 1280x720]

Writes FRAMES/theo/CLIP/00000.png ..., the middle square of the frame, and FRAMES/theo/plate_1280x720.exr and
.png, all of the empty studio, which every picture shows behind the person: `assemble.py` lays the squares
into it. With --transparent the person alone, RGBA. Needs `bpy`. Frames that exist are skipped, so a stopped
run goes on where it was; runs with `--share 1/2` and `--share 2/2` divide the work.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import bpy

from benchmarks.synthetic.presenter.camera import Camera
from benchmarks.synthetic.presenter.cast import CAST, Character
from benchmarks.synthetic.presenter.mesh import Person
from benchmarks.synthetic.presenter.performance import CLIPS, PERFORMANCE_FILE, Performance, load_performance
from benchmarks.synthetic.presenter.rig import Rig, frame_pose
from benchmarks.synthetic.presenter.scene import Presenter, add_studio, stand_before, start_scene

PLATE_SAMPLES = 128


def parse_range(text: str) -> slice:
    """ "a:b" or "a:b:step" -> the frames of a clip."""
    fields = text.split(":")
    if not (2 <= len(fields) <= 3 and all(field.isdigit() or not field for field in fields)):
        raise argparse.ArgumentTypeError(f"{text!r}: want first:end or first:end:step, such as ::30")
    if len(fields) == 3 and fields[2] and not int(fields[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: want a step from 1 on")
    return slice(*(int(field) if field else None for field in fields))


def parse_share(text: str) -> tuple[int, int]:
    """ "1/2" -> (0, 2): every second frame, from the first."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r}: want K/N with 1 <= K <= N, such as 1/2")
    return int(part) - 1, int(parts)


def parse_frame(text: str) -> tuple[int, int]:
    """ "1280x720" -> (1280, 720): px of the frame, whose middle square is rendered for every picture."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= int(height) > 0):
        raise argparse.ArgumentTypeError(
            f"{text!r}: want WIDTHxHEIGHT, upright ones excepted, such as 1280x720"
        )
    if (int(width) - int(height)) % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: want an even number of px beside the middle square")
    return int(width), int(height)


class FrameRenderer:
    """A prepared studio that renders single frames of a performance by one character."""

    def __init__(
        self, character: Character, assets: Path, frame_px: tuple[int, int], samples: int, threads: int
    ) -> None:
        self._frame_px = frame_px
        self._character = character
        self._scene = start_scene(frame_px[1], samples, threads)
        self._person = Person(assets, character.look)
        self._rig = Rig(self._person)
        eye_height = float(self._person.fitted("eyes", self._person.rest)[:, 1].mean())
        self._wall = add_studio(eye_height, Camera.before(eye_height, character.camera_m))
        self._presenter = Presenter(self._person, character, assets)

    def stand_before(self, plate: Path) -> None:
        """The empty studio, an .exr, becomes the background; it is rendered if there is none."""
        if not plate.exists():
            self._render_plate(plate)
        width, height = self._frame_px
        stand_before(plate, height / width)

    def stand_before_nothing(self) -> None:
        """A transparent background."""
        self._scene.render.film_transparent = True
        self._scene.render.image_settings.color_mode = "RGBA"

    def render(self, motion: Performance, frame: int, target: Path) -> None:
        """Writes one PNG."""
        rotations = self._rig.solve(frame_pose(motion, frame))
        weights = self._character.express(motion.face_weights(frame))
        vertices = self._person.pose_vertices(weights, rotations, motion.shift[frame])
        head = self._person.bone_matrices(rotations, motion.shift[frame])["Head"]
        self._presenter.move(vertices, head)
        self._write(target)

    def _render_plate(self, target: Path) -> None:
        """The whole frame, as light for the pictures and, beside it, as a PNG to lay them into."""
        render, samples = self._scene.render, self._scene.cycles.samples
        self._presenter.show(False)
        self._wall.hide_render, self._scene.cycles.samples = False, PLATE_SAMPLES
        render.resolution_x, render.resolution_y = self._frame_px
        render.image_settings.file_format = "OPEN_EXR"
        self._write(target)
        render.image_settings.file_format, render.image_settings.color_depth = "PNG", "8"
        bpy.data.images["Render Result"].save_render(str(target.with_suffix(".png")))
        render.resolution_x = render.resolution_y
        self._wall.hide_render, self._scene.cycles.samples = True, samples
        self._presenter.show(True)

    def _write(self, target: Path) -> None:
        """The picture appears under its name only when complete."""
        unfinished = target.with_name(f"unfinished_{os.getpid()}{target.suffix}")
        self._scene.render.filepath = str(unfinished)
        bpy.ops.render.render(write_still=True)
        unfinished.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("character", choices=sorted(CAST))
    parser.add_argument("--data", type=Path, required=True, help="the synthetic_person asset folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the frames")
    parser.add_argument("--performance", type=Path, default=PERFORMANCE_FILE)
    parser.add_argument("--clip", choices=CLIPS, action="append", help="default: driver, then performance")
    parser.add_argument(
        "--range", type=parse_range, default=slice(None), help="frames first:end[:step] of each clip"
    )
    parser.add_argument("--share", type=parse_share, default=(0, 1), help="render only the K-th of N parts")
    parser.add_argument(
        "--frame",
        type=parse_frame,
        default=(256, 256),
        help="WIDTHxHEIGHT, px; pictures are its middle square",
    )
    parser.add_argument("--samples", type=int, default=8, help="samples per pixel")
    parser.add_argument("--transparent", action="store_true", help="no background: RGBA pictures")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    renderer = FrameRenderer(
        CAST[arguments.character], arguments.data, arguments.frame, arguments.samples, arguments.threads
    )
    folder = arguments.out / arguments.character
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.transparent:
        renderer.stand_before_nothing()
    else:
        width, height = arguments.frame
        renderer.stand_before(folder / f"plate_{width}x{height}.exr")
    part, parts = arguments.share
    for clip in arguments.clip or CLIPS:
        motion = load_performance(arguments.performance, clip)
        (folder / clip).mkdir(exist_ok=True)
        for frame in range(len(motion))[arguments.range][part::parts]:
            target = folder / clip / f"{frame:05d}.png"
            if target.exists():
                continue
            started = time.perf_counter()
            renderer.render(motion, frame, target)
            print(f"{clip} {frame}/{len(motion)} {time.perf_counter() - started:.2f} s", flush=True)


if __name__ == "__main__":
    main()
