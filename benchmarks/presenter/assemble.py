"""Joins rendered frames into an H.264 file: the person over the empty studio, with the speech that is spoken.

python -m benchmarks.presenter.assemble FRAMES/theo/performance performance.mp4 --data DATA [--crf 13]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from benchmarks.presenter.gestures import window
from benchmarks.presenter.performance import FRAME_RATE_HZ
from benchmarks.presenter.script import SCRIPTS, Act
from benchmarks.presenter.speech import RECORDINGS, read_recording

SOUND_RATE_HZ = 48_000
SPEECH_LEVEL = 0.08  # root mean square of every stretch, of full scale
FADE_S = 0.05

Picture = npt.NDArray[np.uint8]


def speech_track(act: Act, data: Path) -> npt.NDArray[np.float32]:
    """(1, samples) float32, -1..1 at SOUND_RATE_HZ: the act's speech where it is spoken, else silence."""
    sound = np.zeros(round(act.length_s * SOUND_RATE_HZ))
    for talk in act.talks:
        samples, rate_hz = read_recording(data / "speech" / RECORDINGS[talk.speech])
        begin = round(talk.source_s * rate_hz)
        said = resample_poly(samples[begin : begin + round(talk.length_s * rate_hz)], SOUND_RATE_HZ, rate_hz)
        seconds = np.arange(len(said)) / SOUND_RATE_HZ
        said *= SPEECH_LEVEL / np.sqrt(np.mean(said**2)) * window(seconds, 0.0, seconds[-1], FADE_S)
        first = round(talk.start_s * SOUND_RATE_HZ)
        sound[first : first + len(said)] += said[: len(sound) - first]
    return np.clip(sound, -1, 1).astype(np.float32)[None]


def read_rgba(picture: Path) -> Picture:
    """A PNG -> (H, W, 4) uint8, alpha 255 where it has none."""
    with av.open(str(picture)) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="rgba"), dtype=np.uint8)


def lay_over(person: Picture, plate: Picture) -> Picture:
    """person, plate: (H, W, 4) uint8, straight alpha -> (H, W, 3) uint8, the person in front of the plate."""
    alpha = person[..., 3:] / 255.0
    return np.asarray(np.round(alpha * person[..., :3] + (1 - alpha) * plate[..., :3]), dtype=np.uint8)


def assemble(frames: list[Path], plate: Path, sound: npt.NDArray[np.float32], target: Path, crf: int) -> None:
    """Writes `frames` (PNG, in order) over `plate` at FRAME_RATE_HZ to `target`.

    sound: (1, samples) float32 at SOUND_RATE_HZ, cut to the length of the frames.
    """
    behind = read_rgba(plate)
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=FRAME_RATE_HZ, options={"crf": str(crf), "preset": "slow"}
        )
        audio = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        audio.bit_rate = 48_000
        video.pix_fmt, video.time_base = "yuv420p", Fraction(1, FRAME_RATE_HZ)
        video.height, video.width = behind.shape[:2]
        for number, path in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(lay_over(read_rgba(path), behind), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE_HZ)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        heard = np.ascontiguousarray(sound[:, : len(frames) * SOUND_RATE_HZ // FRAME_RATE_HZ])
        piece = av.AudioFrame.from_ndarray(heard, format="fltp", layout="mono")
        piece.sample_rate, piece.pts = SOUND_RATE_HZ, 0
        container.mux(audio.encode(piece))
        container.mux(audio.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="folder of 00000.png, ..., named after its clip")
    parser.add_argument("target", type=Path, help="the .mp4 to write")
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/")
    parser.add_argument("--plate", type=Path, help="the empty studio; default: plate.png beside the folder")
    parser.add_argument("--crf", type=int, default=13, help="quality; lower is better and larger")
    arguments = parser.parse_args()
    clip = arguments.frames.resolve().name
    if clip not in SCRIPTS:
        parser.error(f"{arguments.frames}: the folder is named {clip!r}; want one of {', '.join(SCRIPTS)}")
    frames = sorted(arguments.frames.glob("[0-9]*.png"))
    missing = [number for number, path in enumerate(frames) if path.stem != f"{number:05d}"]
    if not frames or missing:
        parser.error(
            f"{arguments.frames}: frame {missing[0] if missing else 0:05d}.png is missing; render it first"
        )
    plate = arguments.plate or arguments.frames.resolve().parent / "plate.png"
    if not plate.is_file():
        parser.error(f"{plate}: the empty studio is missing; render.py writes it before the frames")
    try:
        sound = speech_track(SCRIPTS[clip], arguments.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    assemble(frames, plate, sound, arguments.target, arguments.crf)
    print(f"{arguments.target}: {len(frames)} frames, {arguments.target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
