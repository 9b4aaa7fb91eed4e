"""Joins rendered frames into an H.264 file with a synthetic, speech-like sound track.

python -m benchmarks.presenter.assemble FRAMES/performance performance.mp4 [--crf 13] [--pixels yuv444p]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from benchmarks.presenter.performance import FRAME_RATE_HZ

SOUND_RATE_HZ = 48_000
SOUND_LEVEL = 0.05  # quiet, of full scale


def synthetic_voice(seconds: float) -> npt.NDArray[np.float32]:
    """(1, samples) float32, -1..1: a gliding harmonic tone that swells as often as syllables do."""
    t = np.arange(int(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    pitch_hz = 120 + 25 * np.sin(2 * np.pi * 0.4 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SOUND_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, 7))
    swell = np.clip(np.sin(2 * np.pi * 3.7 * t) + 0.4 * np.sin(2 * np.pi * 0.9 * t), 0, 1)
    return np.asarray(SOUND_LEVEL * tone * swell, dtype=np.float32)[None]


def read_rgb(picture: Path) -> npt.NDArray[np.uint8]:
    """A PNG -> (H, W, 3) uint8 RGB."""
    with av.open(str(picture)) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), dtype=np.uint8)


def assemble(frames: list[Path], target: Path, crf: int, pixels: str) -> None:
    """Writes `frames` (PNG, in order) at FRAME_RATE_HZ with the synthetic voice to `target`."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=FRAME_RATE_HZ, options={"crf": str(crf), "preset": "slow"}
        )
        audio = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        audio.bit_rate = 48_000
        video.pix_fmt, video.time_base = pixels, Fraction(1, FRAME_RATE_HZ)
        video.height, video.width = read_rgb(frames[0]).shape[:2]
        for number, path in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(read_rgb(path), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE_HZ)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(
            synthetic_voice(len(frames) / FRAME_RATE_HZ), format="fltp", layout="mono"
        )
        sound.sample_rate, sound.pts = SOUND_RATE_HZ, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="folder of 00000.png, 00001.png, ...")
    parser.add_argument("target", type=Path, help="the .mp4 to write")
    parser.add_argument("--crf", type=int, default=13, help="quality; lower is better and larger")
    parser.add_argument("--pixels", choices=("yuv420p", "yuv444p"), default="yuv420p")
    arguments = parser.parse_args()
    frames = sorted(arguments.frames.glob("[0-9]*.png"))
    missing = [number for number, path in enumerate(frames) if path.stem != f"{number:05d}"]
    if not frames or missing:
        parser.error(
            f"{arguments.frames}: frame {missing[0] if missing else 0:05d}.png is missing; render it first"
        )
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    assemble(frames, arguments.target, arguments.crf, arguments.pixels)
    print(f"{arguments.target}: {len(frames)} frames, {arguments.target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
