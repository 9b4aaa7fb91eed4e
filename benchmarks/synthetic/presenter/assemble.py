"""Joins rendered frames into a video, with the speech that is spoken or without sound.

    python -m benchmarks.synthetic.presenter.assemble FRAMES/theo/performance theo.mp4 [--data DATA]
        [--crf 13] [--plate FRAMES/theo/plate_1280x720.png] [--every 2]

With a plate each picture is laid into its middle. An .mp4 is H.264 and AAC. A .webm is VP9 and Opus, and
keeps the transparency of frames that were rendered with --transparent.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from benchmarks.synthetic.presenter.gestures import window
from benchmarks.synthetic.presenter.performance import FRAME_RATE_HZ
from benchmarks.synthetic.presenter.script import SCRIPTS, Act
from benchmarks.synthetic.presenter.speech import RECORDINGS, read_recording
from engine.media.film import file_url

SOUND_RATE_HZ = 48_000
SPEECH_LEVEL = 0.08  # root mean square of every stretch, of full scale
FADE_S = 0.05
FRAME_RATE = Fraction(FRAME_RATE_HZ)

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


@dataclass(frozen=True)
class Format:
    """What a kind of file holds: codecs, layout of the pixels, and of the pictures that go in."""

    video: str
    audio: str
    pixels: str
    channels: str
    options: dict[str, str]


FORMATS = {
    ".mp4": Format("libx264", "aac", "yuv420p", "rgb24", {"preset": "slow"}),
    ".webm": Format("libvpx-vp9", "libopus", "yuva420p", "rgba", {"b": "0", "cpu-used": "4"}),
}


def read_picture(path: Path, channels: str) -> Picture:
    """A PNG -> (H, W, 3 or 4) uint8; channels: rgb24 or rgba."""
    with av.open(file_url(path)) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format=channels), dtype=np.uint8)


def laid_into(plate: Picture, square: Picture) -> Picture:
    """plate: (H, W, 3) uint8, square: (H, H, 3) uint8 -> (H, W, 3), the square in the middle. ValueError."""
    height, width = plate.shape[:2]
    if square.shape != (height, height, 3):
        rows, columns = square.shape[:2]
        raise ValueError(
            f"a picture of {columns}x{rows} px before a plate of {width}x{height}; want the plate that "
            "was rendered with the pictures, which are its middle square"
        )
    whole = plate.copy()
    left = (width - height) // 2
    whole[:, left : left + height] = square
    return whole


def assemble(
    frames: list[Path],
    sound: npt.NDArray[np.float32] | None,
    target: Path,
    crf: int,
    plate: Picture | None = None,
    rate_hz: Fraction = FRAME_RATE,
) -> None:
    """Writes `frames` (PNG, in order) at rate_hz to `target`, whose suffix is one of FORMATS.

    sound: (1, samples) float32 at SOUND_RATE_HZ, cut to the length of the frames; None for none.
    plate: (H, W, 3) uint8, what the frames are the middle of; None: they are all of the picture. ValueError
    where they are not.
    """
    form = FORMATS[target.suffix]

    def picture(path: Path) -> Picture:
        shown = read_picture(path, form.channels)
        return shown if plate is None else laid_into(plate, shown)

    unfinished = target.with_name(f"unfinished_{target.name}")
    with av.open(file_url(unfinished), "w") as container:
        video = container.add_stream(form.video, rate=rate_hz, options={"crf": str(crf), **form.options})
        audio = None
        if sound is not None:
            audio = container.add_stream(form.audio, rate=SOUND_RATE_HZ, layout="mono")
            audio.bit_rate = 48_000
        video.pix_fmt, video.time_base = form.pixels, 1 / rate_hz
        video.height, video.width = picture(frames[0]).shape[:2]
        for number, path in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture(path), format=form.channels)
            frame.pts, frame.time_base = number, 1 / rate_hz
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and audio is not None:
            heard = np.ascontiguousarray(sound[:, : int(len(frames) * SOUND_RATE_HZ / rate_hz)])
            piece = av.AudioFrame.from_ndarray(heard, format="fltp", layout="mono")
            piece.sample_rate, piece.pts = SOUND_RATE_HZ, 0
            for part in av.AudioResampler(audio.format, audio.layout, audio.rate).resample(piece):
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    unfinished.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="folder of 00000.png, ..., named after its clip")
    parser.add_argument("target", type=Path, help="the .mp4 or .webm to write")
    parser.add_argument("--data", type=Path, help="folder with speech/; without it, no sound")
    parser.add_argument("--crf", type=int, default=13, help="quality; lower is better and larger")
    parser.add_argument(
        "--plate", type=Path, help=".png that render.py wrote of the frame around the pictures"
    )
    parser.add_argument("--every", type=int, default=1, help="only every K-th frame, at a K-th of the rate")
    arguments = parser.parse_args()
    clip = arguments.frames.resolve().name
    if clip not in SCRIPTS:
        parser.error(f"{arguments.frames}: the folder is named {clip!r}; want one of {', '.join(SCRIPTS)}")
    every = arguments.every
    if every < 1:
        parser.error(f"--every {every}: want a number from 1 on")
    frames = [path for path in sorted(arguments.frames.glob("[0-9]*.png")) if int(path.stem) % every == 0]
    missing = [every * at for at, path in enumerate(frames) if path.stem != f"{every * at:05d}"]
    if not frames or missing:
        parser.error(
            f"{arguments.frames}: frame {missing[0] if missing else 0:05d}.png is missing; render it first"
        )
    if arguments.plate and FORMATS.get(arguments.target.suffix) == FORMATS[".webm"]:
        parser.error(f"{arguments.target}: keeps its frames' transparency; --plate wants an .mp4")
    if arguments.target.suffix not in FORMATS:
        parser.error(f"{arguments.target}: want a name that ends in {' or '.join(FORMATS)}")
    try:
        sound = speech_track(SCRIPTS[clip], arguments.data) if arguments.data else None
        plate = read_picture(arguments.plate, "rgb24") if arguments.plate else None
        arguments.target.parent.mkdir(parents=True, exist_ok=True)
        assemble(frames, sound, arguments.target, arguments.crf, plate, FRAME_RATE / every)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{arguments.target}: {len(frames)} frames, {arguments.target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
