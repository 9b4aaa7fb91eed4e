"""Is every kind of film that people bring read as a player shows it?

    avatarcast bench films [--long 3 20]

A synthetic presenter's clip is written in every odd way (benchmarks.pictures.odd_films) and read again. Each
is held against its plain twin, the pictures that a player shows: how many frames of what size came, how far
the tracked face lies from the twin's (px, mean of its points, worst frame) and by how much the cheeks' colour
differs (CIEDE2000, worst frame).

--long N: a clip looped for N minutes, its brightness and place changing, goes through
`avatarcast enroll --prepare-only` in a process of its own: seconds, and the most memory it held.
The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from benchmarks.pictures.colour import de2000, lab
from benchmarks.pictures.odd_films import (
    INTERLACED,
    MATRICES,
    bt2020,
    film,
    film_of_signal,
    film_of_streams,
    film_that_changes_size,
    hlg,
    pq,
    with_display_matrix,
    woven,
)
from benchmarks.records.instrument import Instrument, add_common, counted
from benchmarks.records.machine import peak_mb
from benchmarks.records.record import Record
from engine.arrays import FloatArray, U8Image
from engine.errors import AvatarcastError
from engine.media.video import VideoWriter, read_frames
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.tracking.tracker import EveryFrameTracker

WANTED_DE, WANTED_PX = 3.0, 2.0
_BT2020 = (0.2627, 0.0593)
_LONG_FPS = 25
_LONG_SIZE = (640, 480)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to write a film; `shown` are the pictures that a player shows of it, those given or others."""

    name: str
    write: Callable[[Path, list[U8Image]], Path]
    shown: Callable[[list[U8Image]], list[U8Image]] = list
    first: int = 0  # frames from which it is judged: what tells interlaced from not needs some


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one."""

    kind: str
    read: str
    px: float | None
    de: float | None
    passed: bool


def kinds() -> Iterator[Kind]:
    """Those that films of people come in."""
    for matrix in MATRICES:
        yield Kind(f"display matrix {' '.join(map(str, matrix))}", _stored_for(matrix))
    for name, signal, curve in (("HLG", hlg, 18), ("PQ", pq, 16), ("BT.2020", bt2020, 14)):
        yield Kind(name, _in_signal(signal, curve))
    for name, luma, matrix_number in (("BT.601", (0.299, 0.114), 6), ("BT.709", (0.2126, 0.0722), 1)):
        for full in (False, True):
            yield Kind(f"{name}, {'full' if full else 'video'} range", _in_matrix(luma, matrix_number, full))
    for shape in (Fraction(4, 3), Fraction(64, 45)):
        yield Kind(f"pixels {shape.numerator}:{shape.denominator}", _squeezed(shape))
    for codec in ("mpeg2video", "libx264"):
        yield Kind(f"interlaced, {codec}", _interlaced(codec), _earlier_halves, first=2)
    yield Kind("size that changes", _turned, _turned_pictures)
    yield Kind("cover first", _with_cover("odd.mkv"))
    yield Kind("cover first, marked as default", _with_cover("odd.mp4"))
    yield Kind("two video streams", _with_a_smaller_one)
    yield Kind("12:30.mp4", lambda folder, pictures: _own(folder / "12:30.mp4", pictures))
    yield Kind("concat:x.mp4", lambda folder, pictures: _own(folder / "concat:x.mp4", pictures))
    for name, file, codec, pixels in (
        ("4:4:4", "odd.mp4", "libx264", "yuv444p"),
        ("AV1", "odd.mkv", "libsvtav1", "yuv420p"),
        ("VP8 in WebM", "odd.webm", "libvpx", "yuv420p"),
        ("MJPEG in AVI", "odd.avi", "mjpeg", "yuvj420p"),
        ("10 bit HEVC", "odd.mov", "libx265", "yuv420p10le"),
        ("other scripts in the name", "фильм я 影片.mp4", "libx264", "yuv420p"),
    ):
        yield Kind(name, _encoded(file, codec, pixels))


def _encoded(file: str, codec: str, pixels: str) -> Callable[[Path, list[U8Image]], Path]:
    context = {"bit_rate": 8_000_000}
    return lambda folder, pictures: film(folder / file, pictures, codec, pixels, context=context)


def _stored_for(matrix: Sequence[int]) -> Callable[[Path, list[U8Image]], Path]:
    a, b, c, d = matrix

    def write(folder: Path, pictures: list[U8Image]) -> Path:
        stored = []
        for picture in pictures:
            # The inverse of what is shown: a shown point (x, y) was stored at M^-1 (x, y).
            turned = picture.swapaxes(0, 1) if a == 0 else picture
            rows, columns = (c, b) if a == 0 else (d, a)
            stored.append(np.ascontiguousarray(turned[::rows, ::columns]))
        plain = film(folder / "plain.mp4", stored)
        return with_display_matrix(plain, folder / "odd.mp4", matrix)

    return write


def _in_signal(signal: Callable[[U8Image], Any], curve: int) -> Callable[[Path, list[U8Image]], Path]:
    said = {"color_trc": curve, "color_primaries": 9, "colorspace": 9, "color_range": 1}

    def write(folder: Path, pictures: list[U8Image]) -> Path:
        return film_of_signal(folder / "odd.mp4", map(signal, pictures), _BT2020, False, said, 10)

    return write


def _in_matrix(luma: tuple[float, float], matrix: int, full: bool) -> Callable[[Path, list[U8Image]], Path]:
    said = {"colorspace": matrix, "color_range": 2 if full else 1}

    def write(folder: Path, pictures: list[U8Image]) -> Path:
        signals = (picture / 255.0 for picture in pictures)
        return film_of_signal(folder / "odd.mp4", signals, luma, full, said, 8)

    return write


def _squeezed(shape: Fraction) -> Callable[[Path, list[U8Image]], Path]:
    def write(folder: Path, pictures: list[U8Image]) -> Path:
        height, width = pictures[0].shape[:2]
        narrow = 2 * round(width / shape / 2)
        stored = [cv2.resize(picture, (narrow, height), interpolation=cv2.INTER_AREA) for picture in pictures]
        return film(folder / "odd.mp4", stored, context={"sample_aspect_ratio": shape})

    return write


def _interlaced(codec: str) -> Callable[[Path, list[U8Image]], Path]:
    context = {"bit_rate": 8_000_000}
    return lambda folder, pictures: film(
        folder / "odd.mkv", woven(pictures), codec, context=context, flags=INTERLACED
    )


def _earlier_halves(pictures: list[U8Image]) -> list[U8Image]:
    return pictures[::2]


def _turned_pictures(pictures: list[U8Image]) -> list[U8Image]:
    """The second half upright, the first lying, around the same square."""
    side = pictures[0].shape[0]
    wide, tall = (0, 0, side // 4, side // 4), (side // 4, side // 4, 0, 0)
    half = len(pictures) // 2
    edges = [wide] * half + [tall] * (len(pictures) - half)
    return [
        np.asarray(cv2.copyMakeBorder(picture, *edge, cv2.BORDER_REPLICATE), np.uint8)
        for picture, edge in zip(pictures, edges, strict=True)
    ]


def _turned(folder: Path, pictures: list[U8Image]) -> Path:
    shown, half = _turned_pictures(pictures), len(pictures) // 2
    return film_that_changes_size(folder / "odd.webm", [shown[:half], shown[half:]])


def _with_cover(file: str) -> Callable[[Path, list[U8Image]], Path]:
    cover = [np.full((512, 512, 3), 90, np.uint8)]
    return lambda folder, pictures: film_of_streams(
        folder / file, [("mjpeg", cover, 0), ("libx264", pictures, 0)]
    )


def _with_a_smaller_one(folder: Path, pictures: list[U8Image]) -> Path:
    small = [np.ascontiguousarray(picture[::4, ::4]) for picture in pictures]
    return film_of_streams(folder / "odd.mkv", [("libx264", small, 0), ("libx264", pictures, 0)])


def _own(path: Path, pictures: list[U8Image]) -> Path:
    with VideoWriter(path, pictures[0].shape[1], pictures[0].shape[0], Fraction(25)) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def off_centre(picture: U8Image) -> U8Image:
    """The picture moved to the left, so that a mirror is seen of a face that looks straight ahead."""
    shift = picture.shape[1] // 8
    return np.ascontiguousarray(np.pad(picture[:, shift:], ((0, 0), (0, shift), (0, 0)), "edge"))


def judge(kind: Kind, pictures: list[U8Image], tracker: EveryFrameTracker, folder: Path) -> Row:
    """Writes, reads and compares."""
    twins = kind.shown(pictures)
    try:
        found = [frame.rgb for frame in read_frames(kind.write(folder, pictures))]
    except AvatarcastError as error:
        return Row(kind.name, f"refused: {error}", None, None, False)
    sizes = dict.fromkeys(f"{rgb.shape[1]}x{rgb.shape[0]}" for rgb in found)
    read = f"{len(found)} of {len(twins)} frames, {', '.join(sizes)}"
    if [rgb.shape for rgb in found] != [twin.shape for twin in twins]:
        return Row(kind.name, read, None, None, False)
    pairs = list(zip(found, twins, strict=True))[kind.first :]
    faces = [[_tracked(tracker, rgb) for rgb in pair] for pair in pairs]
    if not all(face.face_confidence > 0 for both in faces for face in both):
        return Row(kind.name, f"{read}, faces lost", None, None, False)
    px = max(float(np.linalg.norm((one.face - twin.face)[:, :2], axis=1).mean()) for one, twin in faces)
    de = max(
        de2000(lab(_cheeks(rgb, twin.face)), lab(_cheeks(picture, twin.face)))
        for (rgb, picture), (_, twin) in zip(pairs, faces, strict=True)
    )
    return Row(kind.name, read, round(px, 2), round(de, 2), px <= WANTED_PX and de <= WANTED_DE)


def _tracked(tracker: EveryFrameTracker, rgb: U8Image) -> Landmarks:
    """By itself, so that nothing of another film comes along."""
    tracker.reset()
    return tracker.track(rgb, 0)


def _cheeks(rgb: U8Image, face: FloatArray) -> Any:
    """Their mean colour, (3,) float64."""
    points = face[topo.CHEEKS, :2].round().astype(int)
    return np.mean([rgb[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0) for x, y in points], axis=0)


def long_film(path: Path, pictures: Sequence[U8Image], minutes: int) -> Path:
    """The pictures to and fro, once a second in another light and at another place."""
    width, height = _LONG_SIZE

    def shown() -> Iterator[U8Image]:
        to_and_fro = cycle([*pictures, *reversed(pictures)])
        for index, picture in enumerate(islice(to_and_fro, minutes * 60 * _LONG_FPS)):
            second = index // _LONG_FPS
            light, shift = 0.85 + 0.15 * np.sin(second / 7), 40 * np.sin(second / 13)
            scale = height / picture.shape[0]
            moved = np.array([[scale, 0, (width - height) / 2 + shift], [0, scale, 0]])
            large = cv2.warpAffine(picture, moved, (width, height), borderMode=cv2.BORDER_REPLICATE)
            yield np.asarray(cv2.convertScaleAbs(large, alpha=light), np.uint8)

    quick = {"preset": "ultrafast", "crf": "26"}
    return film(path, shown(), rate=_LONG_FPS, context={"gop_size": 2 * _LONG_FPS}, options=quick)


def prepare_long(pictures: Sequence[U8Image], minutes: int, folder: Path) -> dict[str, Any]:
    """What enrolling from it costs until training begins. Raises AvatarcastError when it fails."""
    path = long_film(folder / f"long{minutes}.mp4", pictures, minutes)
    command = [sys.executable, "-m", "engine.cli", "enroll", str(path), "--out", str(folder / "me.avatar")]
    command += ["--consent", "nobody, to a measurement", "--prepare-only", "--progress", "json"]
    begun_s = perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    lines, memory_mb = [], 0.0
    for line in child.stderr:
        lines.append(line.rstrip())
        memory_mb = peak_mb(child.pid) or memory_mb
    child.wait()
    seconds = perf_counter() - begun_s
    if child.returncode:
        raise AvatarcastError(f"{minutes} minutes: enroll ended with {child.returncode}: {lines[-1:]}")
    (folder / "me.prepared.npz").unlink()
    warnings = [event["text"] for event in map(json.loads, lines) if event["event"] == "warning"]
    return {
        "minutes": minutes,
        "seconds": round(seconds, 1),
        "memory_mb": round(memory_mb),
        "said": next((text for text in warnings if "minutes of footage" in text), ""),
    }


def measure(args: argparse.Namespace) -> Record:
    """Every kind, then the long ones."""
    os.environ.setdefault("SVT_LOG", "1")  # of the AV1 encoder: errors alone
    clip = [frame.rgb for frame in read_frames(args.driver)]
    pictures = [off_centre(picture) for picture in clip[: 2 * args.frames]]
    rows = []
    with EveryFrameTracker() as tracker, tempfile.TemporaryDirectory() as place:
        for number, kind in enumerate(kinds()):
            folder = Path(place) / str(number)
            folder.mkdir()
            rows.append(judge(kind, pictures, tracker, folder))
        longest = [prepare_long(clip, minutes, Path(place)) for minutes in sorted(args.long)]
    return {
        "failures": [f"{row.kind}: {row.read}, {row.px} px, {row.de} dE" for row in rows if not row.passed],
        "wanted": {"px": WANTED_PX, "de": WANTED_DE},
        "films": [asdict(row) for row in rows],
        "long": longest,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which clip, how much of it."""
    add_common(parser, "driver")
    parser.add_argument("--frames", type=counted, default=8, help="half of a film (default %(default)s)")
    parser.add_argument(
        "--long", type=counted, nargs="*", default=[], metavar="MINUTES", help="also enrol from films so long"
    )


main = Instrument("films", __doc__, add_options, measure, quick={"frames": 3})
