"""Whether face and head move as their person's do where a voice drives them. See `avatarcast bench voice`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.voice.clips import Clip
from benchmarks.voice.measures import jerk, quick_share
from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.voice.driver import SpokenLips
from engine.voice.features import LOUDNESS, ROWS_HZ, SPEAKS
from engine.voice.idle import Habits, Idle
from engine.voice.manner import MANNERS, Manner, Wander, fit_manner, strength_at
from engine.voice.motion_code import BROWS, CODE, LIDS, TURN, expression_of
from engine.voice.speaker import Speaker

SEEDS = 10
NEAR_S = 0.2  # of a peak of loudness
MINUTES = 10
_PERMUTED = 500
_COLUMNS = {"brows": BROWS, "turn": TURN}


def manners(clip: Clip, codes: FloatArray, seen: slice, cut: int) -> dict[str, Any] | None:
    """Of what is held out of one film, over SEEDS draws; None where too little is spoken before.

    codes: (n, CODE) at each row, the offset mended; seen: what may be learnt from; cut: first row held out.
    """
    loudness = clip.rows[:, LOUDNESS]
    speaks = (loudness > SPEAKS).astype(np.float32)
    manner = fit_manner(codes[seen][:, MANNERS], speaks[seen], loudness[seen])
    if manner is None:
        return None
    heard = SpokenLips(Speaker(), None)
    heard.push(clip.samples)
    heard.finish()
    strengths = [strength_at(manner, heard.said, row) for row in range(len(speaks))]
    true = codes[cut:]
    drawn = [_drawn(manner, strengths, seed)[cut:] for seed in range(SEEDS)]
    found: dict[str, Any] = {
        "ways": len(manner.ways),
        "strengths": manner.strengths.tolist(),
        "upper_face": float(np.mean([_upper_motion(one) for one in drawn]) / _upper_motion(true)),
    }
    for name, columns in _COLUMNS.items():
        of_true = true[:, columns]
        of_drawn = [one[:, columns] for one in drawn]
        spread = np.sqrt(of_true.var(0).mean())
        found[name] = {
            "spread": float(np.mean([np.sqrt(one.var(0).mean()) for one in of_drawn]) / spread),
            "between_seeds": float(np.stack(of_drawn).std(0).mean() / spread),
            "jerk": float(np.mean([_mean(jerk, one) for one in of_drawn]) / _mean(jerk, of_true)),
            "quick_share": float(
                np.mean([_mean(quick_share, one) for one in of_drawn]) / _mean(quick_share, of_true)
            ),
        }
    loud = np.where(speaks > 0, loudness, 0.0)[cut:]
    found["beats"] = {
        "told": float(np.mean([beat(one[:, TURN], loud) for one in drawn])),
        "true": beat(true[:, TURN], loud),
    }
    found["minutes"] = _minutes(manner, strengths)
    return found


def _drawn(manner: Manner, strengths: Sequence[float], seed: int) -> FloatArray:
    """(n, CODE) as a voice drives them: what idles, and what wanders."""
    idle, codes = Idle(seed, Habits()), np.zeros((len(strengths), CODE), np.float32)
    wander = Wander(manner, seed, lambda row: strengths[row % len(strengths)])
    for row in range(len(strengths)):
        codes[row] = idle.code_at(row / ROWS_HZ)
        codes[row, MANNERS] += wander.at(row)
    return codes


def _mean(of: Any, columns: FloatArray) -> float:
    return float(np.mean([of(column) for column in columns.T]))


def _upper_motion(codes: FloatArray) -> float:
    """Standard deviation over time of the brows' points, lids held open (what FDD compares, CodeTalker)."""
    held = np.zeros_like(codes)
    held[:, BROWS] = codes[:, BROWS]
    held[:, LIDS] = 1.0
    points = np.concatenate(topo.BROWS)
    return float(np.stack([expression_of(one)[points, :2] for one in held]).std(0).mean())


def beat(turns: FloatArray, loudness: FloatArray) -> float:
    """Share of shifts in time of which fewer of the head's quickest moments lie near a peak of loudness.

    Above 0.95 they are bound to it. turns: (n, 3); loudness: (n,).
    """
    speed = np.linalg.norm(np.diff(turns, axis=0, prepend=turns[:1]), axis=1)
    near = _peaks(loudness)
    reach = round(NEAR_S * ROWS_HZ)
    close = np.convolve(near, np.ones(2 * reach + 1), "same") > 0
    peaks = _peaks(speed)
    random = np.random.default_rng(0)
    hits = float((peaks * close).sum())
    chance = [
        float((np.roll(peaks, int(by)) * close).sum()) for by in random.integers(1, len(peaks), _PERMUTED)
    ]
    return float(
        np.mean([hits > other for other in chance]) + 0.5 * np.mean([hits == other for other in chance])
    )


def _peaks(values: FloatArray) -> FloatArray:
    """(n,) 1 at local maxima in the upper half of the values."""
    inner = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:]) & (values[1:-1] > np.median(values))
    return np.asarray(np.r_[False, inner, False], np.float32)


def _minutes(manner: Manner, strengths: Sequence[float]) -> dict[str, float]:
    """Minute 10 beside minute 1 of the same sound again and again."""
    wander = Wander(manner, 1, lambda row: strengths[row % len(strengths)])
    minute = 60 * ROWS_HZ
    first, tenth = (
        np.stack([wander.at(row) for row in range(begin, begin + minute)])
        for begin in (0, (MINUTES - 1) * minute)
    )
    spread = np.sqrt(first.var(0).mean())
    return {
        "spread": float(np.sqrt(tenth.var(0).mean()) / spread),
        "drift": float(np.sqrt(np.square(tenth.mean(0) - first.mean(0)).mean()) / spread),
        "jerk": _mean(jerk, tenth) / _mean(jerk, first),
    }
