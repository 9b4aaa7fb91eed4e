"""Can a clip as short as a consent sentence be told from one with another sound under it?

    avatarcast bench dubbing --film ANN=FILM --film BOB=FILM ... --speech WAV ... [--work FOLDER]

Every 0.75 s of each film a clip begins, with its own sound, with speech of others, and with its own sound of
another moment. The score is the best over offsets of how the lips go with what the base tells of the sound:
correlations of the gap, its speed and the mouth's first components. Bounds are chosen on all persons but
one, and counted on that one: "fits" is what 2 % of foreign sound passes, "does not fit" what 2 % of the true.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.pictures.clips import Labelled
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from benchmarks.voice.clips import Clip, clip_of
from benchmarks.voice.measures import area_under_curve
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.voice.features import LOUDNESS, ROWS_HZ, features_of
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker, at_rows

LENGTHS_S = (3, 4, 5, 6)  # as a sentence has
_EVERY_S, _APART_S = 0.75, 1.0
_OFFSETS_MS = np.arange(-240, 241, 20)
_COMPONENTS = 5  # of the mouth
_FOREIGN, _MOVED = 3, 2  # sounds of others, and own ones of another moment, for each clip
_SURE = 0.02  # of those of the other kind that pass a bound
_SPEAKS, _SPOKEN = 1.0, 0.5  # of LOUDNESS; share of a clip that must be speech


@dataclass(frozen=True, slots=True)
class Score:
    """How well one clip's lips go with one sound."""

    person: str
    true: bool
    value: float


def score(rows: FloatArray, codes: FloatArray, times_s: FloatArray) -> float:
    """rows: (n, ROW) of the sound; codes: (m, CODE) of the pictures at times_s (m,)."""
    told = Speaker().predict(rows)
    shown = [at_rows(codes, times_s + np.float32(by / 1000), len(rows)) for by in _OFFSETS_MS]
    return max(
        _alike(lips[:, LIP_GAP], told[:, LIP_GAP])
        + _alike(np.diff(lips[:, LIP_GAP]), np.diff(told[:, LIP_GAP]))
        + sum(_alike(lips[:, k], told[:, k]) for k in range(_COMPONENTS)) / _COMPONENTS
        for lips in shown
    )


def _alike(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)


def scores(
    clip: Clip, others: Sequence[FloatArray], length_s: int, rng: np.random.Generator
) -> Iterator[Score]:
    """Of all clips of this length in a film. others: samples of foreign speech."""
    size = length_s * SAMPLE_RATE_HZ
    last_s = min(len(clip.samples) / SAMPLE_RATE_HZ, float(clip.times_s[-1])) - length_s
    starts = np.arange(0, last_s, _EVERY_S)
    own = [features_of(clip.samples[int(at * SAMPLE_RATE_HZ) :][:size]) for at in starts]
    long_enough = [samples for samples in others if len(samples) >= size]
    for at, rows in zip(starts, own, strict=True):
        seen = (clip.times_s >= at) & (clip.times_s < at + length_s)
        if seen.sum() < 0.7 * length_s * ROWS_HZ or (rows[:, LOUDNESS] > _SPEAKS).mean() < _SPOKEN:
            continue
        codes, times_s = clip.codes[seen], clip.times_s[seen] - np.float32(at)
        yield Score(clip.label, True, score(rows, codes, times_s))
        for _ in range(_FOREIGN if long_enough else 0):
            samples = long_enough[int(rng.integers(len(long_enough)))]
            begin = int(rng.integers(len(samples) - size + 1))
            foreign = features_of(samples[begin : begin + size])
            yield Score(clip.label, False, score(foreign, codes, times_s))
        for other in rng.choice(len(starts), _MOVED):
            if abs(starts[other] - at) >= _APART_S:
                yield Score(clip.label, False, score(own[other], codes, times_s))


def judged(found: Sequence[Score], person: str) -> dict[str, Any]:
    """One person's clips by bounds that were chosen on the others."""

    def values(true: bool, own: bool) -> FloatArray:
        kept = [one.value for one in found if one.true == true and (one.person == person) == own]
        return np.array(kept, np.float32)

    fits, not_fits = np.quantile(values(False, False), 1 - _SURE), np.quantile(values(True, False), _SURE)
    true, foreign = values(True, True), values(False, True)
    return {
        "person": person,
        "clips": len(true),
        "area": area_under_curve(true, foreign),
        "true_fits": float((true > fits).mean()),
        "foreign_fits": float((foreign > fits).mean()),
        "true_does_not": float((true < not_fits).mean()),
        "foreign_does_not": float((foreign < not_fits).mean()),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who speaks, and what else is heard."""
    parser.add_argument("--film", action="append", help="PERSON=FILE in which they speak; two or more")
    parser.add_argument("--speech", nargs="*", type=Path, default=[], help="of others")
    parser.add_argument("--work", type=Path, help="folder that keeps tracks between runs")


def measure(args: argparse.Namespace) -> Record:
    """All lengths, all persons."""
    films = [Labelled.parse(text) for text in args.film or []]
    if len({film.label for film in films}) < 2:
        raise SettingsError("--film: wanted films of two persons or more, PERSON=FILE, who speak")
    clips = [clip_of(film.label, Path(film.file), args.work) for film in films]
    sounds = [read_sound(path) for path in args.speech]
    others = [sound.samples for sound in sounds if sound is not None]
    rng, table = np.random.default_rng(0), []
    for length_s in tqdm(LENGTHS_S, desc="lengths"):
        found = [one for clip in clips for one in scores(clip, others, length_s, rng)]
        table += [{"seconds": length_s, **judged(found, clip.label)} for clip in clips]
    return {"persons": len(clips), "table": table}


main = Instrument("dubbing", __doc__, add_options, measure, quick={})
