"""How well do lips follow a voice alone?

    avatarcast bench voice --film "man in a sweater=film.mp4" [--film ...] [--encoder FILE] [--work FOLDER]

Each film shows a real person who speaks. Its last 8 s are told from sound alone, by the base that never saw
a real face, and by a fit to what comes before; then they are compared with the lips that were tracked.
Beside them: the sound rolled by half, another person's fit, and fits to what else can be heard: loudness,
log-mel, HeadAudio's visemes, phones, Moonshine's own features. The offset between picture and sound is
estimated, and mended, on the first part only. Films in which sounds are known (English, with pocketsphinx and
moonshine-voice installed) also say whether lips shut at B, M and P; for that each fifth of a film is told by
a fit to the others. The base, and an expert that knows nothing of it, judge which lips are in time.

Face and head, which a voice does not tell, wander as in what comes before (`engine.voice.manner`): how far
and how quickly in the held-out part, in ten draws; whether the head is quick where the voice is loud, beside
shifts in time. Lips, face and head in minute 10 stand beside minute 1.

Intervals are of seconds drawn again and again. Theo and Amara prove nothing here: their lips come from the
rule that the base was trained on. A camera does better: see `avatarcast bench follow`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
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
from benchmarks.voice.manner import MINUTES, manner_of, manners
from benchmarks.voice.measures import (
    CLOSED_SHARE,
    area_under_curve,
    closed_share,
    jerk,
    lip_error,
    quick_share,
    resampled,
    share_interval,
    width,
)
from engine.arrays import FloatArray
from engine.errors import SettingsError
from engine.voice.base import LIP_NUMBERS, LOOK_AHEAD_S, SHAPES, Base
from engine.voice.driver import SpokenLips
from engine.voice.expert import agreement, expert
from engine.voice.features import ROWS_HZ, SAMPLES_A_ROW, VoiceFeatures
from engine.voice.motion_code import LIP_GAP, LIPS
from engine.voice.speaker import Speaker, at_rows, fit_speaker
from engine.voice.sync import SEARCH_MS, STEP_MS, estimate_offset
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
    "minutes_correlation": (0.9, 1.1), "minutes_spread": (0.9, 1.1), "dynamics_share": (0.0, 1.0),
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
    interval = share_interval(float(means[0]), sum(count))
    return dict(zip(names, map(float, means), strict=True)) | {"count": sum(count), "interval": interval}


def told_in_blocks(one: Split) -> FloatArray:
    """(n, 22): each fifth of a film as a fit to the others tells it."""
    rows, told = one.clip.rows, np.empty_like(one.lips)
    edges, gap = np.linspace(0, len(rows), _BLOCKS + 1).astype(int), round(GAP_S * ROWS_HZ)
    for start, end in pairwise(edges):
        seen = np.ones(len(rows), bool)
        seen[max(0, start - gap) : end + gap] = False
        told[start:end] = Speaker(fit_speaker(rows, one.lips, seen)).predict(rows)[start:end]
    return told


def minutes(one: Split) -> dict[str, float]:
    """Lips of the film's sound said again and again, as it comes in: the last minute beside the first."""
    count = len(one.clip.rows)
    sound = np.resize(one.clip.samples, count * SAMPLES_A_ROW)
    lips = SpokenLips(Speaker(fit_speaker(one.clip.rows[one.seen], one.lips[one.seen])), None)
    times_over = max(1, round(MINUTES * 60.0 * ROWS_HZ / count))
    for _ in range(times_over):
        lips.push(sound)
    lips.finish()
    a_minute = min(times_over, max(1, round(60.0 * ROWS_HZ / count)))
    gaps = [
        np.array(
            [lips.at(row / ROWS_HZ)[LIP_GAP] for row in range(first * count, (first + a_minute) * count)]
        )
        for first in (0, times_over - a_minute)
    ]
    true = np.tile(one.lips[:, LIP_GAP], a_minute)
    return {
        "first": correlation(gaps[0], true),
        "last": correlation(gaps[1], true),
        "spread": float(gaps[1].std() / max(float(gaps[0].std()), 1e-9)),
        "jerk": jerk(gaps[1]) / max(jerk(gaps[0]), 1e-9),
    }


def sync(splits: Sequence[Split], told: Sequence[FloatArray]) -> dict[str, Any]:
    """Are lips in time told from lips out of time; do a film's pieces find its offset?

    By the base's own lips, as enrolment does it, and by the expert, which knows nothing of them.
    """
    areas: dict[str, dict[str, float]] = {"base": {}, "expert": {}}
    for name, lips in (("true", [one.lips[one.cut :] for one in splits]), ("told", told)):
        scores = [list(_in_and_out_of_time(a, b)) for a, b in zip(splits, lips, strict=True)]
        for by in areas:
            inside, outside = (np.array([s[n][by] for one in scores for s in one]) for n in (0, 1))
            areas[by][name] = area_under_curve(inside, outside)
    apart: dict[str, list[float | None]] = {"base": [], "expert": []}
    for one in splits:
        for piece in range(_PIECES):
            for by, found in _offsets_ms(one.clip, piece).items():
                apart[by].append(None if found is None else found - one.offset_ms)
    return {
        by: {
            "area": areas[by],
            "pieces_apart_ms": apart[by],
            "agrees": float(np.mean([value is not None and abs(value) <= OFFSET_MS for value in apart[by]])),
        }
        for by in areas
    }


def _in_and_out_of_time(one: Split, lips: FloatArray) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """How well 2 s of held-out lips (n, 22) go with the sound there, and 2 s of another moment's."""
    rng, reach = np.random.default_rng(0), round(_SHIFT_S[1] * ROWS_HZ)
    should = Speaker().predict(one.clip.rows)[one.cut :, LIP_GAP]
    sound, mouth = expert().sound(one.clip.rows)[one.cut :], expert().mouth(lips)

    def scores(at: int, shift: int) -> dict[str, float]:
        heard, seen = slice(at, at + _WINDOW), slice(at + shift, at + shift + _WINDOW)
        return {
            "base": correlation(should[heard], lips[seen, LIP_GAP]),
            "expert": float(agreement(sound[heard], mouth[seen])[0]),
        }

    for at in range(reach, len(lips) - _WINDOW - reach, ROWS_HZ // 5):
        shift = int(rng.choice([-1, 1]) * rng.uniform(*_SHIFT_S) * ROWS_HZ)
        yield scores(at, 0), scores(at, shift)


def _offsets_ms(clip: Clip, piece: int) -> dict[str, float | None]:
    """What each makes of one of _PIECES of a film."""
    count = len(clip.rows)
    start, end = piece * count // _PIECES, (piece + 1) * count // _PIECES
    shown = (clip.times_s >= start / ROWS_HZ) & (clip.times_s < end / ROWS_HZ)
    times_s = clip.times_s[shown] - np.float32(start / ROWS_HZ)
    found = estimate_offset(clip.rows[start:end], clip.codes[shown], times_s)
    sound, lips = expert().sound(clip.rows[start:end]), clip.codes[shown][:, LIPS]
    return {
        "base": None if found is None else found.offset_ms,
        "expert": _best_offset_ms(sound, lips, times_s),
    }


def _best_offset_ms(sound: FloatArray, lips: FloatArray, times_s: FloatArray) -> float:
    """At which the expert finds that lips (m, 22), at times_s (m,), go best with a sound (n, E)."""
    row_ms, agrees = 1000 // ROWS_HZ, {}
    for part_ms in range(0, row_ms, STEP_MS):
        mouth = expert().mouth(at_rows(lips, times_s + np.float32(part_ms / 1000.0), len(sound)))
        for late in range(-SEARCH_MS // row_ms, SEARCH_MS // row_ms + 1):
            heard, seen = sound[max(0, late) :], mouth[max(0, -late) :]
            count = min(len(heard), len(seen))
            agrees[late * row_ms + part_ms] = float(agreement(heard[:count], seen[:count]).mean())
    return float(max(agrees, key=lambda by: agrees[by]))


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
        "manner": _all_manners(splits),
        "minutes": {one.clip.label: minutes(one) for one in splits},
        "cost": cost(splits[0].clip),
        "bounds": BOUNDS,
    }  # fmt: skip
    return figures | {"failures": failures(figures)}


def _all_manners(splits: Sequence[Split]) -> dict[str, Any]:
    """Of each film that tells one; beside it the next one's."""
    learnt = [(one, manner_of(one.clip, one.codes, one.seen)) for one in splits]
    known = [(one, manner) for one, manner in learnt if manner is not None]
    found = {}
    for number, (one, manner) in enumerate(known):
        another = known[(number + 1) % len(known)][1] if len(known) > 1 else None
        found[one.clip.label] = manners(one.clip, one.codes, one.cut, manner, another)
    return found


def failures(figures: Record) -> list[str]:
    """What is out of its bounds, in words."""
    methods, areas = figures["methods"], figures["sync"]["expert"]["area"]
    judged = {
        "own_correlation": methods["own"]["correlation"],
        "own_gain": methods["own"]["gain"],
        "base_correlation": methods["base"]["correlation"],
        "rolled_correlation": methods["rolled"]["correlation"],
        "told_area": areas["told"] / areas["true"],
        "offset_agrees": figures["sync"]["base"]["agrees"],
        "own_jerk": methods["own"]["jerk"],
    }
    judged["core_share"] = figures["cost"]["core_share"]
    again = list(figures["minutes"].values())
    judged["minutes_correlation"] = np.mean([one["last"] / one["first"] for one in again])
    judged["minutes_spread"] = np.mean([one["spread"] for one in again])
    if people := list(figures["manner"].values()):
        judged["upper_face"] = np.mean([one["upper_face"] for one in people])
        judged["dynamics_share"] = np.mean(
            [one["dynamics"]["own"] / one["dynamics"]["none"] for one in people]
        )
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
