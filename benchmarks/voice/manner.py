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


def manner_of(clip: Clip, codes: FloatArray, seen: slice) -> Manner | None:
    """Learnt from the rows `seen`; None where too little is spoken in them. codes: (n, CODE) at each row."""
    loudness = clip.rows[seen, LOUDNESS]
    return fit_manner(codes[seen][:, MANNERS], (loudness > SPEAKS).astype(np.float32), loudness)


def manners(
    clip: Clip, codes: FloatArray, cut: int, manner: Manner, another: Manner | None
) -> dict[str, Any]:
    """Of what is held out of one film, over SEEDS draws.

    codes: (n, CODE) at each row, the offset mended; cut: first row held out; manner: learnt before it;
    another: of another person.
    """
    loudness = clip.rows[:, LOUDNESS]
    speaks = loudness > SPEAKS
    heard = SpokenLips(Speaker(), None)
    heard.push(clip.samples)
    heard.finish()
    strengths = [strength_at(manner, heard.said, row) for row in range(len(speaks))]
    true = codes[cut:]
    drawn = _drawn_all(manner, strengths, cut)
    found: dict[str, Any] = {
        "ways": len(manner.ways),
        "strengths": manner.strengths.tolist(),
        "upper_face": float(
            np.mean([_brows(one).std(0).mean() for one in drawn]) / _brows(true).std(0).mean()
        ),
        "dynamics": _dynamics(true, drawn, _drawn_all(another, strengths, cut) if another else None),
    }
    for name, columns in _COLUMNS.items():
        of_true = true[:, columns]
        of_drawn = [one[:, columns] for one in drawn]
        spread = np.sqrt(of_true.var(0).mean())
        off = [np.sqrt(np.square(one - of_true).mean()) / spread for one in of_drawn]
        found[name] = {
            "off_mean": float(np.mean(off)),
            "off_best": float(np.min(off)),
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


def _drawn_all(manner: Manner, strengths: Sequence[float], cut: int) -> list[FloatArray]:
    """SEEDS of (n - cut, CODE)."""
    return [_drawn(manner, strengths, seed)[cut:] for seed in range(SEEDS)]


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


def _brows(codes: FloatArray) -> FloatArray:
    """(n, k, 2) the brows' points beside those at rest, lids held open; head units."""
    held = np.zeros_like(codes)
    held[:, BROWS] = codes[:, BROWS]
    held[:, LIDS] = 1.0
    points = np.concatenate(topo.BROWS)
    return np.stack([expression_of(one)[points, :2] for one in held])


def _dynamics(
    true: FloatArray, drawn: Sequence[FloatArray], anothers: Sequence[FloatArray] | None
) -> dict[str, float]:
    """By how much brows move otherwise than real ones, thousandths of a head unit, less being better.

    FDD (Xing et al., CodeTalker, CVPR 2023), its size: of the standard deviation of how far a point is.
    """

    def dynamics(codes: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.norm(_brows(codes), axis=2).std(0), np.float32)

    of_true = dynamics(true)

    def apart(all_: Sequence[FloatArray]) -> float:
        return float(np.mean([abs((of_true - dynamics(one)).mean()) for one in all_]) * 1000.0)

    found = {"own": apart(drawn)} | ({} if anothers is None else {"another": apart(anothers)})
    return found | {"none": float(of_true.mean() * 1000.0)}


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
