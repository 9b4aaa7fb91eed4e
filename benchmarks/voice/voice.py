"""How well do lips follow a voice alone?

    avatarcast bench voice --film "man in a sweater=film.mp4" [--film ...] [--encoder FILE] [--work FOLDER]

Each film shows a real person who speaks. Its last 8 s are told from sound alone, by the base that never saw
a real face, and by a fit to what comes before; then they are compared with the lips that were tracked.
Controls that must be worse: the sound rolled by half, another person's fit, loudness or log-mel alone. The
offset between picture and sound is estimated, and mended, on the first part only. Films in which sounds are
known (English, with pocketsphinx and moonshine-voice installed) also say whether lips shut at B, M and P; for
that each fifth of a film is told by a fit to the others.

Face and head, which a voice does not tell, wander as in what comes before (`engine.voice.manner`): how far
and how quickly in the held-out part, in ten draws; whether the head is quick where the voice is loud, beside
shifts in time; minute 10 beside minute 1.

Intervals are of seconds drawn again and again. Theo and Amara prove nothing here: their lips come from the
rule that the base was trained on. A camera does better: see `avatarcast bench follow`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures.clips import Labelled
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from benchmarks.records.series import correlation
from benchmarks.voice.baselines import Heard, alone, heard_by
from benchmarks.voice.clips import Clip, clip_of, closures_s
from benchmarks.voice.manner import manners
from benchmarks.voice.measures import (
    CLOSED_SHARE,
    area_under_curve,
    closed_share,
    jerk,
    lip_error,
    quick_share,
    resampled,
    width,
)
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.voice.base import LIP_NUMBERS, LOOK_AHEAD_S, SHAPES, Base
from engine.voice.features import ROWS_HZ, VoiceFeatures
from engine.voice.motion_code import LIP_GAP, LIPS
from engine.voice.speaker import Speaker, fit_speaker
from engine.voice.sync import estimate_offset
from export.voice.articulation import LEAD_S
from export.voice.teacher import encoder_file

HELD_OUT_S, GAP_S = 8.0, 0.5
LEAST_S = 6.0 + HELD_OUT_S
# Fixed before anything was measured; at least, and at most.
BOUNDS: dict[str, tuple[float, float]] = {
    "own_correlation": (0.60, 1.0), "own_gain": (0.7, 1.1), "base_correlation": (0.45, 1.0),
    "rolled_correlation": (-1.0, 0.10), "closures": (0.75, 1.0), "told_area": (0.90, 2.0),
    "offset_agrees": (0.90, 1.0), "own_jerk": (0.7, 1.3), "upper_face": (0.5, 1.5), "beats": (0.95, 1.0),
    "turn_jerk": (0.7, 1.3), "turn_quick_share": (0.7, 1.3), "brows_jerk": (0.7, 1.3),
    "brows_quick_share": (0.7, 1.3), "core_share": (0.0, 0.01),
}  # fmt: skip
OFFSET_MS = 40
_WINDOW, _SHIFT_S = 2 * ROWS_HZ, (0.3, 1.1)
_BLOCKS = 5
_PIECES = 3  # of a film, each of which must find the film's offset


class _Nothing(Base):
    """A base that says nothing: what a fit makes of rows alone."""

    def __init__(self) -> None:
        super().__init__({"mean": np.zeros(1, np.float32), "scale": np.ones(1, np.float32)} | _NO_LAYERS)

    def __call__(self, heard: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.zeros((len(heard), LIP_NUMBERS), np.float32), np.zeros((len(heard), SHAPES), np.float32)


_NO_LAYERS = {f"{n}.{part}": np.zeros((1, 1), np.float32) for n in range(3) for part in ("weight", "bias")}


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One film, its offset mended."""

    clip: Clip
    offset_ms: float
    certainty: float
    cut: int  # first row that is held out
    codes: FloatArray  # (n, CODE), as tracked
    lips: FloatArray  # (n, 22) of them

    @property
    def seen(self) -> slice:
        """Rows that a fit may see."""
        return slice(0, self.cut - round(GAP_S * ROWS_HZ))


def split(clip: Clip) -> Split:
    """Raises SettingsError for a film that is too short, or whose lips say nothing."""
    if len(clip.rows) < LEAST_S * ROWS_HZ:
        raise SettingsError(
            f"{clip.label}: {len(clip.rows) / ROWS_HZ:.1f} s; wanted {LEAST_S:.0f} s of speech or more"
        )
    cut = len(clip.rows) - round(HELD_OUT_S * ROWS_HZ)
    before = clip.times_s < cut / ROWS_HZ
    found = estimate_offset(clip.rows[:cut], clip.codes[before], clip.times_s[before])
    if found is None:
        raise SettingsError(f"{clip.label}: its lips never move; wanted somebody who speaks")
    codes = clip.shown(found.offset_ms)
    return Split(clip, found.offset_ms, found.certainty, cut, codes, codes[:, LIPS])


def told_by_rows(heard: FloatArray, one: Split) -> FloatArray:
    """(k, 22): the held-out lips by a fit to other rows, without a base. heard: (n, ROW)."""
    fit = fit_speaker(heard[one.seen], one.lips[one.seen], base_network=_Nothing())
    return Speaker(fit, _Nothing()).predict(heard)[one.cut :]


def told_by(method: str, one: Split, all_: Sequence[Split]) -> FloatArray:
    """(k, 22): the held-out lips as a method tells them."""
    rows = one.clip.rows
    if method == "base":
        told = Speaker().predict(rows)
    elif method == "no_base":
        return told_by_rows(rows, one)
    else:
        of = one if method != "other" else all_[(all_.index(one) + 1) % len(all_)]
        fit = fit_speaker(of.clip.rows[of.seen], of.lips[of.seen])
        told = Speaker(fit).predict(rows)
    told = told[one.cut :]
    return np.roll(told, len(told) // 2, axis=0) if method == "rolled" else told


METHODS = ("own", "base", "no_base", "other", "rolled")


def baselines(splits: Sequence[Split], heard_by: Mapping[str, Heard]) -> dict[str, list[FloatArray]]:
    """What is told by each thing that can be heard in all films, see `benchmarks.voice.baselines`."""
    found = {}
    for name, of in heard_by.items():
        heard = [of(one.clip) for one in splits]
        if all(rows is not None for rows in heard):
            found[name] = [
                told_by_rows(alone(rows, one.seen), one)
                for rows, one in zip(heard, splits, strict=True)
                if rows is not None
            ]
    return found


def compare(splits: Sequence[Split], told: Sequence[FloatArray]) -> dict[str, Any]:
    """Figures of one method over all films: means of the films', with an interval of the correlation."""
    true = [one.lips[one.cut :] for one in splits]
    gaps = [(a[:, LIP_GAP], b[:, LIP_GAP]) for a, b in zip(told, true, strict=True)]
    each = [correlation(a, b) for a, b in gaps]
    low, high = resampled([len(a) for a, _ in gaps], lambda chosen: _mean_correlation(gaps, chosen))
    return {
        "correlation": float(np.mean(each)),
        "interval": [low, high],
        "films": dict(zip([one.clip.label for one in splits], each, strict=True)),
        "gain": float(np.mean([a.std() / max(float(b.std()), 1e-9) for a, b in gaps])),
        "width_correlation": float(
            np.mean([correlation(width(a), width(b)) for a, b in zip(told, true, strict=True)])
        ),
        "lip_error": float(np.mean([lip_error(a, b) for a, b in zip(told, true, strict=True)])),
        "jerk": float(np.mean([jerk(a) / jerk(b) for a, b in gaps])),
        "quick_share": float(np.mean([quick_share(a) / quick_share(b) for a, b in gaps])),
    }


def _mean_correlation(pairs: Sequence[tuple[FloatArray, FloatArray]], chosen: Sequence[Any]) -> float:
    return float(np.mean([correlation(a[rows], b[rows]) for (a, b), rows in zip(pairs, chosen, strict=True)]))


def better_by(
    splits: Sequence[Split], first: Sequence[FloatArray], second: Sequence[FloatArray]
) -> dict[str, Any]:
    """How much more the first's gaps correlate than the second's, of the same seconds, with its interval."""
    true = [one.lips[one.cut :, LIP_GAP] for one in splits]
    a = [(told[:, LIP_GAP], real) for told, real in zip(first, true, strict=True)]
    b = [(told[:, LIP_GAP], real) for told, real in zip(second, true, strict=True)]
    whole = [np.arange(len(real)) for real in true]
    low, high = resampled(
        [len(real) for real in true],
        lambda chosen: _mean_correlation(a, chosen) - _mean_correlation(b, chosen),
    )
    return {"difference": _mean_correlation(a, whole) - _mean_correlation(b, whole), "interval": [low, high]}


def closures(splits: Sequence[Split], work: Path | None, encoder: Path | None) -> Record | None:
    """Over films whose sounds are known, each fifth told by a fit to the others; None where none are."""
    rng, count, shares = np.random.default_rng(0), [], []
    for one in splits:
        moments = closures_s(one.clip, work, encoder)
        if not moments:
            continue
        true, gap = one.lips[:, LIP_GAP], told_in_blocks(one)[:, LIP_GAP]
        heard = [moment - LEAD_S for moment in moments]  # lips are shut before what is heard
        anywhere = rng.uniform(0.0, len(gap) / ROWS_HZ, 200).tolist()
        bounds = [(curve, CLOSED_SHARE * float(np.percentile(curve, 90))) for curve in (gap, true)]
        count.append(len(moments))
        shares.append([closed_share(each[0], when, each[1]) for when in (heard, anywhere) for each in bounds])
    if not count:
        return None
    means = np.average(shares, axis=0, weights=count)
    names = ("told", "true", "told_anywhere", "true_anywhere")
    return dict(zip(names, map(float, means), strict=True)) | {"count": sum(count)}


def told_in_blocks(one: Split) -> FloatArray:
    """(n, 22): each fifth of a film as a fit to the others tells it."""
    rows, told = one.clip.rows, np.empty_like(one.lips)
    edges, gap = np.linspace(0, len(rows), _BLOCKS + 1).astype(int), round(GAP_S * ROWS_HZ)
    for start, end in pairwise(edges):
        seen = np.ones(len(rows), bool)
        seen[max(0, start - gap) : end + gap] = False
        told[start:end] = Speaker(fit_speaker(rows, one.lips, seen)).predict(rows)[start:end]
    return told


def sync(splits: Sequence[Split], told: Sequence[FloatArray]) -> dict[str, Any]:
    """The estimator: does it tell lips in time from lips out of time; do a film's pieces find its offset?"""
    rng = np.random.default_rng(0)
    areas = {}
    for name, lips in (
        ("true", [one.lips[one.cut :, LIP_GAP] for one in splits]),
        ("told", [one[:, LIP_GAP] for one in told]),
    ):
        inside, outside = [], []
        for one, gap in zip(splits, lips, strict=True):
            should = Speaker().predict(one.clip.rows)[one.cut :, LIP_GAP]
            reach = round(_SHIFT_S[1] * ROWS_HZ)
            for at in range(reach, len(gap) - _WINDOW - reach, ROWS_HZ // 5):
                inside.append(correlation(should[at : at + _WINDOW], gap[at : at + _WINDOW]))
                shift = int(rng.choice([-1, 1]) * rng.uniform(*_SHIFT_S) * ROWS_HZ)
                outside.append(correlation(should[at : at + _WINDOW], gap[at + shift : at + shift + _WINDOW]))
        areas[name] = area_under_curve(np.array(inside), np.array(outside))
    apart = []
    for one in splits:
        clip, count = one.clip, len(one.clip.rows)
        for piece in range(_PIECES):
            start, end = piece * count // _PIECES, (piece + 1) * count // _PIECES
            shown = (clip.times_s >= start / ROWS_HZ) & (clip.times_s < end / ROWS_HZ)
            times_s = clip.times_s[shown] - np.float32(start / ROWS_HZ)
            found = estimate_offset(clip.rows[start:end], clip.codes[shown], times_s)
            apart.append(None if found is None else found.offset_ms - one.offset_ms)
    agrees = [value is not None and abs(value) <= OFFSET_MS for value in apart]
    return {"area": areas, "pieces_apart_ms": apart, "agrees": float(np.mean(agrees))}


def cost(clip: Clip) -> dict[str, float]:
    """Of listening, in shares of one core, as the sound comes in; and of a fit."""
    stream, lips = VoiceFeatures(), Speaker().stream()
    seconds = min(10.0, len(clip.samples) / 16_000)
    started = time.process_time()
    for at in range(0, int(seconds * 16_000), 640):
        lips.push(stream.push(clip.samples[at : at + 640]))
    share = (time.process_time() - started) / seconds
    started = time.process_time()
    fit_speaker(clip.rows, clip.codes[np.linspace(0, len(clip.codes) - 1, len(clip.rows)).astype(int)])
    return {"core_share": share, "fit_s": time.process_time() - started, "look_ahead_s": LOOK_AHEAD_S}


def measure(args: argparse.Namespace) -> Record:
    """All films, all methods."""
    if not args.film:
        raise SettingsError("no --film: wanted one or more films of real people who speak, LABEL=FILE")
    encoder = args.encoder
    if encoder is not None:
        encoder = encoder_file(encoder)
    films = list(map(Labelled.parse, args.film))
    splits = [split(clip_of(film.label, Path(film.file), args.work)) for film in films]
    told = {
        name: [told_by(name, one, splits) for one in splits]
        for name in METHODS
        if name != "other" or len(splits) > 1
    } | baselines(splits, heard_by(args.work, encoder, args.headaudio))
    figures: dict[str, Any] = {
        "films": [
            {"label": one.clip.label, "seconds": len(one.clip.rows) / ROWS_HZ, "offset_ms": one.offset_ms,
             "certainty": one.certainty}
            for one in splits
        ],
        "methods": {name: compare(splits, lips) for name, lips in told.items()},
        "style": {
            name: better_by(splits, told["own"], told[name]) for name in ("base", "other") if name in told
        },
        "closures": closures(splits, args.work, encoder),
        "sync": sync(splits, told["own"]),
        "manner": {
            one.clip.label: found
            for one in splits
            if (found := manners(one.clip, one.codes, one.seen, one.cut)) is not None
        },
        "cost": cost(splits[0].clip),
        "bounds": BOUNDS,
    }  # fmt: skip
    return figures | {"failures": failures(figures)}


def failures(figures: Record) -> list[str]:
    """What is out of its bounds, in words."""
    methods, areas = figures["methods"], figures["sync"]["area"]
    judged = {
        "own_correlation": methods["own"]["correlation"],
        "own_gain": methods["own"]["gain"],
        "base_correlation": methods["base"]["correlation"],
        "rolled_correlation": methods["rolled"]["correlation"],
        "told_area": areas["told"] / areas["true"],
        "offset_agrees": figures["sync"]["agrees"],
        "own_jerk": methods["own"]["jerk"],
    }
    judged["core_share"] = figures["cost"]["core_share"]
    if people := list(figures["manner"].values()):
        judged["upper_face"] = np.mean([one["upper_face"] for one in people])
        judged["beats"] = np.mean([one["beats"]["told"] for one in people])
        for region in ("turn", "brows"):
            for name in ("jerk", "quick_share"):
                judged[f"{region}_{name}"] = np.mean([one[region][name] for one in people])
    if figures["closures"] is not None:
        judged["closures"] = figures["closures"]["told"]
    found = []
    for name, value in judged.items():
        low, high = BOUNDS[name]
        if not low <= value <= high:
            found.append(f"{name}: {value:.3g}, wanted {low:g} to {high:g}")
    for name, style in figures["style"].items():
        low, high = style["interval"]
        if low <= 0.0:
            found.append(
                f"own fit above {name}: {style['difference']:.2f} ({low:.2f} to {high:.2f}), wanted above 0"
            )
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which films, and what helps."""
    parser.add_argument(
        "--film", action="append", help="LABEL=FILE of a real person who speaks; may be repeated"
    )
    parser.add_argument(
        "--encoder", type=Path, help="moonshine-voice's encoder_model.ort: closures, phones, its own features"
    )
    parser.add_argument(
        "--headaudio", type=Path, help="the unpacked npm package @met4citizen/headaudio: compare with it too"
    )
    parser.add_argument("--work", type=Path, help="folder that keeps tracks between runs")


main = Instrument("voice", __doc__, add_options, measure, quick={})
