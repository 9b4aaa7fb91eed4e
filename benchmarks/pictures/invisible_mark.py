"""What does the invisible mark survive, what does it cost, and is it ever found where it is not?

    avatarcast bench invisible_mark --film FILM ... --clean FILM ... [--pictures 100000]

Marks two seconds of each film at a time on a 256 px canvas, treats them as films are treated, and looks for
the mark in twelve pictures of each two seconds, and in one. Clean pictures are those of all films, cut,
mirrored, scaled and brightened at random; each must stay below the bound. N is the time of the 256 px network
on one core.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import av
import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.pictures.clips import FILMS
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from engine.arrays import U8Image
from engine.avatar.avatar_file import load_avatar
from engine.media.disclosure import mark
from engine.media.invisible_mark import BYTES, FALSE_ALARM, WHOLE_Z, find_bits, presence_z, with_bits
from engine.media.video import read_frames
from engine.network.contract import denoiser_inputs
from engine.runners.choice import choose_runner

SIDE_PX = 256
WINDOW_S, LOOKED_AT = 2.0, 12
Pictures = list[U8Image]


def coded(pictures: Pictures, codec: str, container: str, kbps: int = 0) -> Pictures:
    """What a codec leaves of them."""
    with av.open(io.BytesIO(coded_file(pictures, codec, container, kbps))) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def coded_file(pictures: Pictures, codec: str, container: str, kbps: int = 0) -> bytes:
    """A film of them, as a call or `render` sets its codec."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=25, options={"deadline": "realtime", "cpu-used": "5"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if kbps:
            stream.bit_rate = kbps * 1000
        for rgb in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def scaled(rgb: U8Image, side: int) -> U8Image:
    """To a square of this side."""
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(rgb: U8Image) -> U8Image:
    """Kept at quality 60."""
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1), np.uint8)


def overlaid(rgb: U8Image) -> U8Image:
    """With somebody's logo and a caption over it."""
    drawn = rgb.copy()
    drawn[10:50, 190:246] = 255
    drawn[200:230, 20:236] = 0
    return drawn


def _on_screen(rgb: U8Image) -> U8Image:
    screen = np.full((800, 1280, 3), 240, np.uint8)
    screen[100:612, 200:712] = scaled(rgb, 512)
    return screen


def _cropped(rgb: U8Image) -> U8Image:
    cut = round(0.05 * rgb.shape[0])
    return scaled(rgb[cut:-cut, cut:-cut], SIDE_PX)


TREATMENTS: dict[str, Callable[[Pictures], Pictures]] = {
    "none": lambda film: film,
    **{
        f"VP8 {kbps} kbit/s": lambda film, kbps=kbps: coded(film, "libvpx", "webm", kbps)  # type: ignore[misc]
        for kbps in (900, 500, 250, 120, 60)
    },
    "x264 (crf 23)": lambda film: coded(film, "libx264", "mp4"),
    "720 px up and down": lambda film: [scaled(scaled(rgb, 720), SIDE_PX) for rgb in film],
    "half the size": lambda film: [scaled(rgb, SIDE_PX // 2) for rgb in film],
    "10 % cropped, scaled back": lambda film: [_cropped(rgb) for rgb in film],
    "JPEG 60": lambda film: [jpeg(rgb) for rgb in film],
    "brighter by a fifth": lambda film: [cv2.convertScaleAbs(rgb, alpha=1.2, beta=10) for rgb in film],
    "mirrored": lambda film: [np.ascontiguousarray(rgb[:, ::-1]) for rgb in film],
    "overlay and caption": lambda film: [overlaid(rgb) for rgb in film],
    "visible mark": lambda film: [mark(rgb) for rgb in film],
    "screenshot at twice the size": lambda film: [_on_screen(rgb) for rgb in film],
    "all: mark, overlay, VP8 500, screenshot": lambda film: [
        _on_screen(rgb) for rgb in coded([overlaid(mark(rgb)) for rgb in film], "libvpx", "webm", 500)
    ],
    "turned by 3 degrees": lambda film: [
        cv2.warpAffine(rgb, cv2.getRotationMatrix2D((128, 128), 3, 1), (SIDE_PX, SIDE_PX)) for rgb in film
    ],
    "turned by 2.4 degrees, 3 % larger": lambda film: [
        cv2.warpAffine(rgb, cv2.getRotationMatrix2D((128, 128), -2.4, 1.03), (SIDE_PX, SIDE_PX))
        for rgb in film
    ],
    "blurred (sigma 3)": lambda film: [cv2.GaussianBlur(rgb, (0, 0), 3) for rgb in film],
}


def windows(film: Path, most: int) -> list[Pictures]:
    """Squares of its middle, SIDE_PX, two seconds at a time."""
    found: list[Pictures] = [[]]
    for frame in read_frames(film):
        if frame.time_s > WINDOW_S * len(found):
            found.append([])
            if len(found) > most:
                break
        found[-1].append(_square(frame.rgb))
    return [window for window in found[:most] if len(window) >= LOOKED_AT]


def _square(rgb: U8Image) -> U8Image:
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return scaled(rgb[top : top + side, left : left + side], SIDE_PX)


def survival(
    films: Sequence[Path], most: int, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, float]]:
    """By treatment how often it was found and read; and how much it changes pictures."""
    clean = [window for film in films for window in windows(film, most)]
    data = [rng.bytes(BYTES) for _ in clean]
    marked = [[with_bits(rgb, bits) for rgb in window] for window, bits in zip(clean, data, strict=True)]
    table = {}
    for name, treat in tqdm(TREATMENTS.items(), desc="treatments"):
        treated = [treat(window) for window in marked]
        row: dict[str, Any] = {"windows": len(treated)}
        for label, count in (("2_s", LOOKED_AT), ("one_picture", 1)):
            looks = [find_bits(window[:: -(-len(window) // count)][:count]) for window in treated]
            pairs = [(look, bits) for look, bits in zip(looks, data, strict=True) if look is not None]
            wrong = [_wrong_bits(look.data, bits) for look, bits in pairs]
            row[label] = {
                "found": len(pairs) / len(treated),
                "read": sum(bits == 0 for bits in wrong) / len(treated),
                "bits_right": 1 - sum(wrong) / (8 * BYTES * len(pairs)) if pairs else None,
                "z": round(float(np.median([look.z for look, _ in pairs])), 1) if pairs else None,
            }
        table[name] = row
    return table, _seen(clean, marked)


def _wrong_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _seen(clean: Sequence[Pictures], marked: Sequence[Pictures]) -> dict[str, float]:
    def flicker(films: Sequence[Pictures]) -> float:
        return float(np.mean([np.abs(np.diff(np.array(film, np.float32), axis=0)).mean() for film in films]))

    psnr = [
        10 * math.log10(255**2 / float(np.mean((np.array(a, np.float32) - np.array(b, np.float32)) ** 2)))
        for a, b in zip(clean, marked, strict=True)
    ]
    return {
        "psnr_db_least": round(min(psnr), 2),
        "psnr_db": round(float(np.mean(psnr)), 2),
        "flicker_levels_before": round(flicker(clean), 4),
        "flicker_levels_after": round(flicker(marked), 4),
    }


def clean_pictures(films: Sequence[Path], count: int, rng: np.random.Generator) -> dict[str, Any]:
    """How clearly the mark seems to be in so many pictures without it."""
    sources = [window for film in films for window in windows(film, 10_000)]
    every = [rgb for window in sources for rgb in window]
    z = np.empty(count)
    for number in tqdm(range(count), desc="clean pictures"):
        z[number] = presence_z(_varied(every[int(rng.integers(len(every)))], rng))
    return {
        "pictures": count,
        "of_films": len(films),
        "different_frames": len(every),
        "z_most": round(float(z.max()), 2),
        "z_std": round(float(z.std()), 3),
        "z_bound": round(WHOLE_Z, 2),
        "false_alarms": int((z > WHOLE_Z).sum()),
        "false_alarm_bound": FALSE_ALARM,
    }


def _varied(rgb: U8Image, rng: np.random.Generator) -> U8Image:
    side = int(rng.integers(140, SIDE_PX + 1))
    top, left = (int(value) for value in rng.integers(0, SIDE_PX - side + 1, 2))
    part = scaled(rgb[top : top + side, left : left + side], SIDE_PX)
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.ascontiguousarray(
        cv2.convertScaleAbs(part, alpha=float(rng.uniform(0.6, 1.4)), beta=float(rng.uniform(-20, 20)))
    )


def cost(rounds: int) -> dict[str, float]:
    """CPU time of one picture, in ms and in N, interleaved with the network."""
    avatar = load_avatar("theo")
    runner, _ = choose_runner("onnx-cpu", avatar, 1)
    feed = {name: np.zeros(spec.shape, np.float32) for name, spec in denoiser_inputs(avatar.size).items()}
    rgb, large = _square(avatar.keyframes[0].rgb), np.zeros((720, 1280, 3), np.uint8)
    large[:] = cv2.resize(rgb, (1280, 720))
    times: dict[str, list[float]] = {"network": [], "256": [], "1280x720": []}
    works: dict[str, Callable[[], object]] = {
        "network": lambda: runner.run(feed),
        "256": lambda: with_bits(rgb, bytes(BYTES)),
        "1280x720": lambda: with_bits(large, bytes(BYTES)),
    }
    cv2.setNumThreads(1)
    for _ in range(rounds):
        for name, work in works.items():
            begun = process_time()
            work()
            times[name].append((process_time() - begun) * 1e3)
    runner.close()
    n_ms, small, big = (float(np.median(times[name])) for name in works)
    return {
        "n_ms": round(n_ms, 2),
        "ms_256": round(small, 3),
        "n_256": round(small / n_ms, 4),
        "ms_1280x720": round(big, 3),
        "n_1280x720": round(big / n_ms, 4),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which films, how many pictures."""
    films = list(FILMS.values())
    parser.add_argument(
        "--film", nargs="+", type=Path, default=films, help="to mark (default the presenters')"
    )
    parser.add_argument("--clean", nargs="+", type=Path, default=films, help="films without the mark")
    parser.add_argument("--windows", type=int, default=4, help="of two seconds, of each film")
    parser.add_argument("--pictures", type=int, default=10_000, help="without the mark")


def measure(args: argparse.Namespace) -> Record:
    """All of it."""
    rng = np.random.default_rng(1)
    spent = cost(5 if args.pictures < 1000 else 60)
    table, seen = survival(args.film, args.windows, rng)
    return {
        "survives": table,
        "seen": seen,
        "cost": spent,
        "clean": clean_pictures(args.clean, args.pictures, rng),
    }


main = Instrument("invisible_mark", __doc__, add_options, measure, quick={"pictures": 50, "windows": 1})
