"""Makes the README's picture: frames of a driver beside what the avatar makes of them.

    python -m benchmarks.picture --driver clip.mp4 [--driver other.mkv] --out driver_and_avatar.jpg

One row per driver: pairs of driver and avatar, evenly spread over the clip, rendered offline.
Only pictures of synthetic people, or of people who agreed to be shown, belong into documentation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.options import instrument_parser
from engine.avatar import load_avatar
from engine.pipeline import PipelineConfig, build_pipeline
from engine.tracking import EveryFrameTracker
from engine.video import read_frames

U8Image = NDArray[np.uint8]


def main() -> int:
    """Writes the picture."""
    parser = instrument_parser(__doc__, "picture")
    parser.add_argument("--avatar", default="bundled")
    parser.add_argument("--driver", action="append", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=4, help="pairs in a row (default 4)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = [row(args.avatar, driver, args.pairs) for driver in args.driver]
    cv2.imwrite(
        str(args.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88]
    )
    return 0


def row(avatar_name: str, driver: Path, pairs: int) -> U8Image:
    """Pairs of driver and avatar side by side, (S, 2 * S * pairs, 3)."""
    avatar = load_avatar(avatar_name)
    frames = list(read_frames(driver))
    with EveryFrameTracker(filtered=True) as tracker:
        landmarks = [tracker.track(frame.rgb, int(frame.time_s * 1e9)) for frame in frames]
    pipeline = build_pipeline(avatar, PipelineConfig(live=False))
    pipeline.calibrate_from(landmarks)
    shown = set((np.linspace(0.08, 0.92, pairs) * len(frames)).astype(int).tolist())
    cells: list[U8Image] = []
    for index, (frame, found) in enumerate(zip(frames, landmarks, strict=True)):
        rendered = pipeline.process(frame.rgb, int(frame.time_s * 1e9), landmarks=found)
        if index in shown:
            cells += [_square(frame.rgb, avatar.size), rendered.rgb.copy()]
    pipeline.close()
    return np.hstack(cells)


def _square(rgb: U8Image, size: int) -> U8Image:
    """The picture's middle square, resized."""
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    square = rgb[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
