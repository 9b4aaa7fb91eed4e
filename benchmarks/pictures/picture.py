"""What do avatars look like beside the people who drive them: the README's animation?

    avatarcast bench picture --out driver_and_avatar.webp
    avatarcast bench picture --pair theo clip.mp4 --pair amara other.mkv --out driver_and_avatar.webp

Pairs of driver and avatar beside each other, rendered offline, as an animated WebP that loops. Without --pair
each presenter of benchmarks/data/cross_driving drives the other. A clip that ends early is played to and fro.
Only pictures of synthetic people, or of people who agreed to be shown, belong into documentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.pictures.clips import FILMS
from benchmarks.records.instrument import check_writable, parser_of
from engine.arrays import U8Image
from engine.avatar.avatar_file import load_avatar
from engine.errors import SettingsError
from engine.media.disclosure import mark
from engine.media.video import probe, read_frames
from engine.pipeline import PipelineConfig, build_pipeline
from engine.tracking.tracker import EveryFrameTracker

CROSSED = (("theo", FILMS["amara"]), ("amara", FILMS["theo"]))
GAP_PX = 16  # transparent, between pairs
MAX_BYTES = 3_000_000  # of a page's first picture
QUALITIES = (85, 75, 65, 55, 45)  # of WebP; the first that fits is taken
MAX_FPS = 60.0


def main(words: Sequence[str]) -> int:
    """Writes the animation. Raises AvatarcastError."""
    parser = parser_of("picture", __doc__)
    parser.add_argument(
        "--pair",
        action="append",
        nargs=2,
        metavar=("AVATAR", "DRIVER"),
        help="a presenter or .avatar file, and the clip that drives it; may be given several times",
    )
    parser.add_argument(
        "--start", type=float, default=0.0, help="second of the clips to begin at (default 0)"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (default 5)")
    parser.add_argument("--fps", type=float, default=15.0, help="pictures a second (default 15)")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.webp")
    write(parser.parse_args(words))
    return 0


def write(args: argparse.Namespace) -> None:
    """All or nothing. Raises AvatarcastError."""
    if not (args.start >= 0 and args.seconds > 0 and 0 < args.fps <= MAX_FPS):
        raise SettingsError(
            f"--start {args.start:g} --seconds {args.seconds:g} --fps {args.fps:g}: wanted a start "
            f"from 0 on, a length above 0, and a rate above 0, at most {MAX_FPS:g}"
        )
    check_writable("--out", args.out, ".webp")
    times = args.start + np.arange(max(1, round(args.seconds * args.fps))) / args.fps
    pairs = args.pair or CROSSED
    columns = [driven(avatar, Path(driver), times.tolist()) for avatar, driver in pairs]
    pictures = [beside(cells) for cells in zip(*columns, strict=True)]
    data, quality = encode(pictures, args.fps)
    args.out.write_bytes(data)
    print(f"{args.out}: {len(pictures)} pictures, {len(data) / 1e6:.2f} MB at quality {quality}")


def driven(avatar_name: str, driver: Path, times_s: Sequence[float]) -> list[U8Image]:
    """Driver and avatar beside each other at these times, each (S, 2 * S, 3); past its end a clip runs back.

    Raises AvatarcastError: what cannot be read, no face.
    """
    fps = probe(driver).fps
    avatar = load_avatar(avatar_name)
    last_s = times_s[-1] + 1 / fps
    shown: list[U8Image] = []
    with EveryFrameTracker(filtered=True) as tracker:
        frames = [frame for frame in read_frames(driver) if frame.time_s <= last_s]
        landmarks = [tracker.track(frame.rgb, int(frame.time_s * 1e9)) for frame in frames]
    pipeline = build_pipeline(avatar, PipelineConfig(live=False))
    try:
        pipeline.calibrate_from(landmarks)
        for frame, found in zip(frames, landmarks, strict=True):
            rgb = pipeline.process(frame.rgb, int(frame.time_s * 1e9), landmarks=found).rgb
            shown_rgb = mark(rgb) if avatar.wants_mark else rgb
            shown.append(np.hstack([_square(frame.rgb, avatar.size), shown_rgb]))
    finally:
        pipeline.close()
    return [shown[_to_and_fro(round(at * fps), len(shown))] for at in times_s]


def beside(cells: Sequence[U8Image]) -> U8Image:
    """Pairs in one row with gaps between them, each as high as the first: (S, W, 4), RGB and opacity."""
    height = cells[0].shape[0]
    gap = np.zeros((height, GAP_PX, 4), np.uint8)
    row: list[U8Image] = []
    for cell in cells:
        fitted = cv2.resize(cell, (2 * height, height), interpolation=cv2.INTER_AREA)
        row += [gap, np.asarray(cv2.cvtColor(fitted, cv2.COLOR_RGB2RGBA), np.uint8)]
    return np.hstack(row[1:])


def encode(pictures: Sequence[U8Image], fps: float) -> tuple[bytes, int]:
    """An animated WebP of at most MAX_BYTES that loops, and its quality.

    Raises SettingsError where none fits.
    """
    images = [Image.fromarray(picture) for picture in pictures]
    for quality in QUALITIES:
        file = BytesIO()
        images[0].save(
            file,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=quality,
            method=4,
        )
        if file.tell() <= MAX_BYTES:
            return file.getvalue(), quality
    raise SettingsError(
        f"{len(pictures)} pictures take {file.tell()} bytes; wanted at most {MAX_BYTES}: "
        "lower --seconds or --fps"
    )


def _to_and_fro(index: int, count: int) -> int:
    """The place in a clip of so many frames that turns round at its ends."""
    step = index % max(1, 2 * (count - 1))
    return step if step < count else 2 * (count - 1) - step


def _square(rgb: U8Image, size: int) -> U8Image:
    """The picture's middle square, resized."""
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    square = rgb[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
