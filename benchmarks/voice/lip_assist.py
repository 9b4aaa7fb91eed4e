"""Does a voice help lips that a camera sees badly?

    avatarcast bench lip_assist --film "man in a sweater=film.mp4" [--film ...] [--work FOLDER]

The last 8 s of each film, whose sound a fit to what comes before turns into lips, are made dark, soft, small,
or the mouth is covered, after 2 s as filmed. They are tracked so, and driven as a call does with *both*
(`engine.voice.driver`). The lips' gap of the camera alone, of the voice alone and of both is compared with
what was tracked in the film as it is, at the time that each shows. Intervals: seconds drawn again and again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pictures.clips import Labelled
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from benchmarks.records.series import correlation
from benchmarks.voice.clips import LARGEST_PX, clip_of, track
from benchmarks.voice.measures import resampled
from benchmarks.voice.voice import Split, split
from engine.arrays import DoubleArray, FloatArray, U8Image
from engine.errors import SettingsError
from engine.media.video import read_frames
from engine.person import topology as topo
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral, build_neutral, motion_of
from engine.tracking.face_finder import FaceFinder
from engine.voice.driver import SpokenLips, VoiceDriver
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Idle
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker, fit_speaker

HOLD_S = 0.26  # of stream.render.live_voice
CLEAR_S, SETTLES_S = 2.0, 2.0  # before what is compared: as filmed, then made worse
DRIVERS = ("camera", "voice", "both")
Worsen = Callable[[U8Image, FloatArray, np.random.Generator], U8Image]


def _noisy(rgb: FloatArray | U8Image, spread: float, rng: np.random.Generator) -> U8Image:
    return np.clip(rgb + rng.normal(0, spread, rgb.shape), 0, 255).astype(np.uint8)


def _unit(face: FloatArray) -> float:
    """px between the outer corners of the eyes."""
    return float(np.linalg.norm(face[topo.EYE_CORNERS[0][1], :2] - face[topo.EYE_CORNERS[1][1], :2]))


def _small(rgb: U8Image, face: FloatArray, rng: np.random.Generator) -> U8Image:
    by = 16.0 / _unit(face)
    return _noisy(cv2.resize(rgb, None, fx=by, fy=by, interpolation=cv2.INTER_AREA), 3.0, rng)


def _covered(rgb: U8Image, face: FloatArray, rng: np.random.Generator) -> U8Image:
    """By something of the colour of their cheeks."""
    unit, (x, y) = _unit(face), face[topo.LIPS_OUTER, :2].mean(0)
    colour = cv2.GaussianBlur(rgb, (0, 0), 0.1 * unit)[round(y - 0.1 * unit), round(x + 0.62 * unit)]
    there = np.zeros(rgb.shape[:2], np.float32)
    cv2.ellipse(
        there, (round(x), round(y + 0.1 * unit)), (round(0.55 * unit), round(0.38 * unit)), 0, 0, 360, 1.0, -1
    )
    there = cv2.GaussianBlur(there, (0, 0), max(0.02 * unit, 0.5))[..., None]
    return _noisy(rgb * (1.0 - there) + colour * there, 2.0, rng)


WORSE: Mapping[str, Worsen] = {
    "as filmed": lambda rgb, face, rng: rgb,
    "dark (a tenth of the light)": lambda rgb, face, rng: _noisy(0.1 * rgb, 5.0, rng),
    "out of focus": lambda rgb, face, rng: _noisy(
        cv2.GaussianBlur(rgb, (0, 0), 0.12 * _unit(face)), 2.0, rng
    ),
    "16 px between the eyes": _small,
    "mouth covered": _covered,
}


@dataclass(slots=True)
class Told:
    """Of one film, by driver: gaps of the lips, and those that were true at the time they show."""

    gaps: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in DRIVERS})
    true: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in DRIVERS})
    shares: list[float] = field(default_factory=list)  # of the voice in both


def drive(film: Path, one: Split, worsen: Worsen, neutral: Neutral) -> Told:
    """The end of a film, made worse."""
    offset_s, end_s = one.offset_ms / 1e3, len(one.clip.rows) / ROWS_HZ
    begin_s = one.cut / ROWS_HZ - CLEAR_S - SETTLES_S - offset_s
    lips = SpokenLips(Speaker(fit_speaker(one.clip.rows[one.seen], one.lips[one.seen])), kept_rows=None)
    lips.push(one.clip.samples)
    lips.finish()
    driver, told = VoiceDriver(lips, Idle(0), hold_s=HOLD_S), Told()
    as_filmed, seen, rng = FaceFinder(), FaceFinder(), np.random.default_rng(0)
    rows_s = np.arange(len(one.lips)) / ROWS_HZ
    for frame in read_frames(film):
        if not begin_s <= frame.time_s < end_s - offset_s:
            continue
        rgb, by = frame.rgb, min(1.0, LARGEST_PX / max(frame.rgb.shape))
        rgb = np.ascontiguousarray(cv2.resize(rgb, None, fx=by, fy=by, interpolation=cv2.INTER_AREA))
        face = as_filmed.find(rgb)
        if face is not None and frame.time_s >= begin_s + CLEAR_S:
            rgb = np.ascontiguousarray(worsen(rgb, face, rng))
        found = seen.find(rgb)
        sound_s, camera = frame.time_s + offset_s, None
        driver.at(frame.time_s, sound_s - HOLD_S)
        if found is not None:
            landmarks = Landmarks(rgb.shape[1], rgb.shape[0], face=found, face_confidence=1.0)
            driver.look(rgb, landmarks, round(frame.time_s * 1e9))
            camera = motion_of(landmarks, neutral)
        both = driver.motion(camera, neutral)
        if sound_s < one.cut / ROWS_HZ or camera is None or both is None:
            continue
        late_s = max(driver.assist.late, driver.share) * HOLD_S
        shown = {
            "camera": (camera, 0.0),
            "voice": (driver.motion_at(neutral), HOLD_S),
            "both": (both, late_s),
        }
        for name, (motion, by_s) in shown.items():
            told.gaps[name].append(motion.lip_gap - float(neutral.lip_closed))
            told.true[name].append(float(np.interp(sound_s - by_s, rows_s, one.lips[:, LIP_GAP])))
        told.shares.append(driver.assist.share)
    return told


def _figures(films: list[Told]) -> Record:
    pairs = {
        name: [(np.array(told.gaps[name]), np.array(told.true[name])) for told in films] for name in DRIVERS
    }
    return {
        "share": float(np.mean([np.mean(told.shares) for told in films])),
        **{
            name: {
                "correlation": float(np.mean([correlation(*pair) for pair in of])),
                "interval": list(resampled([len(gap) for gap, _ in of], _mean_of(of))),
                "films": [correlation(*pair) for pair in of],
            }
            for name, of in pairs.items()
        },
    }


def _mean_of(pairs: list[tuple[DoubleArray, DoubleArray]]) -> Callable[..., float]:
    def mean(chosen: list[DoubleArray]) -> float:
        rows = [one.astype(int) for one in chosen]
        return float(np.mean([correlation(a[at], b[at]) for (a, b), at in zip(pairs, rows, strict=True)]))

    return mean


def measure(args: argparse.Namespace) -> Record:
    """All films, made worse in every way."""
    if not args.film:
        raise SettingsError("no --film: wanted one or more films of real people who speak, LABEL=FILE")
    told: dict[str, list[Told]] = {how: [] for how in WORSE}
    for film in map(Labelled.parse, args.film):
        path = Path(film.file)
        one = split(clip_of(film.label, path, args.work))
        faces = track(path, args.work)[1]
        neutral = build_neutral([Landmarks(1, 1, face=face, face_confidence=1.0) for face in faces])
        for how, worsen in WORSE.items():
            told[how].append(drive(path, one, worsen, neutral))
    return {"lips": {how: _figures(films) for how, films in told.items()}}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which films."""
    parser.add_argument(
        "--film", action="append", help="LABEL=FILE of a real person who speaks; may be repeated"
    )
    parser.add_argument("--work", type=Path, help="folder that keeps tracks between runs")


main = Instrument("lip_assist", __doc__, add_options, measure, quick={})
