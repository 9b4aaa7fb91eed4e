"""How a person's face and head wander as they speak: noise that has their film's own spectrum and directions.

A stationary Gaussian process, excited by what is said: each principal component of what brows and head do in
the film is white noise through an autoregressive filter of its spectrum (Burg, 1975), the noise as strong as
the film moves where it is quiet, spoken softly and spoken loudly, and stronger around loud syllables: noise
that swells and falls is still white, so the spectrum stays the film's. So peaks of the head's speed lie where
the voice is loud (Munhall et al., Psychol. Sci. 2004), and what is drawn has neither seam nor drift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import DoubleArray, FloatArray
from engine.voice.base import AFTER
from engine.voice.features import ROWS_HZ
from engine.voice.motion_code import BROWS, HEAD

# Of a row, up to AFTER rows ahead: how surely somebody speaks, 0..1, and how much louder than usual, see
# `features.LOUDNESS`.
Said = Callable[[int], tuple[float, float]]

MANNERS = np.r_[BROWS, HEAD]  # numbers of the motion code that wander
_PARTS = (slice(0, BROWS.stop - BROWS.start), slice(BROWS.stop - BROWS.start, len(MANNERS)))
MOST_WAYS = len(MANNERS)
TAPS = 4 * ROWS_HZ  # rows that a row's place comes from
LEAST_S = 4.0  # of speech with a face, below which a film tells no manner
QUIET, SOFT, LOUD = range(3)  # of `Manner.strengths`
_SPREAD_KEPT = 0.97
_SLOW_ROWS = ROWS_HZ  # sigma: what is slower is a pose, which a film's script asks for
_ORDER = 8  # of the filters
_LEAST_ROWS = 2 * _ORDER  # of a piece without a gap
_STILL = 1e-9  # head units squared
_STRENGTHS = (0.3, 2.0)
_LOUDER = 1.0  # between soft and loud
# Of the noise in pauses, between loud syllables, on them: so beats show as in films on which this was chosen.
_PAUSE, _BETWEEN, _BEAT = 0.3, 0.3, 1.6
_BEAT_ROWS = (0, 1)  # a syllable so near is felt: the speed is greatest some rows after the noise
_BLOCK = 128  # rows of noise that are drawn at once


@dataclass(frozen=True, slots=True)
class Manner:
    """Of D numbers of the motion code. K <= MOST_WAYS."""

    ways: FloatArray  # (K, D)
    kernels: FloatArray  # (K, TAPS) of white noise of variance 1
    strengths: FloatArray  # (3,) of the noise: quiet, soft, loud; 1 is the mean of speech

    def arrays(self) -> dict[str, FloatArray]:
        """As an avatar keeps them, below 8 kB."""
        return {"ways": self.ways, "kernels": self.kernels, "strengths": self.strengths}

    @classmethod
    def of(cls, arrays: Mapping[str, FloatArray], numbers: int) -> Manner:
        """Inverse of `arrays`; numbers: D. Raises ValueError with what is missing or of another shape."""
        for name in ("ways", "kernels", "strengths"):
            if name not in arrays:
                raise ValueError(f"no {name}")
        ways, kernels, strengths = (
            np.asarray(arrays[name], np.float32) for name in ("ways", "kernels", "strengths")
        )
        count = len(ways) if ways.ndim == 2 else 0
        wanted = ((count, numbers), (count, TAPS), (3,))
        if not 0 < count <= MOST_WAYS or (ways.shape, kernels.shape, strengths.shape) != wanted:
            raise ValueError(f"ways {ways.shape}, kernels {kernels.shape}, strengths {strengths.shape}")
        if not all(np.isfinite(array).all() for array in (ways, kernels, strengths)):
            raise ValueError("not finite")
        return cls(ways, kernels, strengths)

    def spread(self) -> FloatArray:
        """(D,) standard deviation while they speak."""
        variance = np.square(self.kernels).sum(1)
        return np.asarray(np.sqrt(variance @ np.square(self.ways)), np.float32)


class Wander:
    """One way through a manner. Of a seed and of what was said alone: any rate of pictures shows the same."""

    def __init__(self, manner: Manner, seed: int, strength: Callable[[int], float]) -> None:
        """strength: of the noise at each row of the sound, see `Manner.strengths`."""
        self._manner, self._seed, self._strength = manner, seed, strength
        self._blocks: dict[int, FloatArray] = {}
        self._strengths: dict[int, float] = {}
        self._known: dict[int, FloatArray] = {}

    def at(self, row: float) -> FloatArray:
        """(D,) float32, at a time in rows of the sound."""
        low = int(np.floor(row))
        share = np.float32(row - low)
        return np.asarray((1 - share) * self._of_row(low) + share * self._of_row(low + 1), np.float32)

    def _of_row(self, row: int) -> FloatArray:
        if row not in self._known:
            if len(self._known) > 2 * TAPS:
                self._known.clear()
                self._strengths = {at: value for at, value in self._strengths.items() if 0 <= row - at < TAPS}
            before = range(row, row - TAPS, -1)
            noise = np.stack([self._block(at // _BLOCK)[at % _BLOCK] for at in before], 1)
            strengths = np.array([self._strength_at(at) for at in before], np.float32)
            self._known[row] = (self._manner.kernels * noise) @ strengths @ self._manner.ways
        return self._known[row]

    def _strength_at(self, row: int) -> float:
        if row not in self._strengths:
            self._strengths[row] = self._strength(row)
        return self._strengths[row]

    def _block(self, number: int) -> FloatArray:
        if number not in self._blocks:
            if len(self._blocks) > 4:
                self._blocks.clear()
            random = np.random.default_rng([self._seed, number % 2**32])
            self._blocks[number] = random.standard_normal((_BLOCK, len(self._manner.ways)), np.float32)
        return self._blocks[number]


def fit_manner(
    codes: FloatArray, spoken: FloatArray, loudness: FloatArray, seen: NDArray[np.bool_] | None = None
) -> Manner | None:
    """None where less than LEAST_S is spoken with a face, or the face never moves.

    codes: (n, D) of a film at each row of its sound; spoken: (n,) 0..1, see `engine.voice.gate`; loudness:
    (n,), see `engine.voice.features`; seen: (n,) where the face was found.
    """
    there = np.ones(len(codes), bool) if seen is None else np.asarray(seen, bool)
    talks = there & (spoken > 0.5)
    if talks.sum() < LEAST_S * ROWS_HZ:
        return None
    quick = codes.astype(np.float64) - _slow(codes, there)
    if quick[talks].var(0).sum() < _STILL:
        return None
    ways = _ways(quick[talks])
    along = quick @ ways.T
    near = np.convolve(talks, np.ones(ROWS_HZ), "same") > 0  # pauses between words belong to speech
    kernels = np.stack([_kernel(column, near & there) for column in along.T])
    return Manner(
        ways.astype(np.float32),
        kernels.astype(np.float32),
        _strengths(along, there, spoken, loudness),
    )


def strength_at(manner: Manner, said: Said, row: int) -> float:
    """Of the noise in a row of the sound."""
    quiet, soft, loud = manner.strengths.tolist()
    spoken, louder = said(row + AFTER)
    share = min(max(0.5 + louder / _LOUDER, 0.0), 1.0)
    quiet = _PAUSE * min(quiet, 1.0)  # film in which pauses are for moving is film of a script
    beat = _BEAT if any(_is_loud_syllable(said, row + by) for by in _BEAT_ROWS) else _BETWEEN
    return float(quiet + spoken * (beat * (soft + share * (loud - soft)) - quiet))


def _is_loud_syllable(said: Said, row: int) -> bool:
    """Whether a syllable that is louder than usual is loudest there."""
    (_, before), (spoken, now), (_, after) = said(row - 1), said(row), said(row + 1)
    return spoken > 0.5 and now > 0.0 and before < now >= after


def _slow(codes: FloatArray, there: NDArray[np.bool_]) -> DoubleArray:
    """(n, D) the codes' local mean over where they are known."""
    reach = 3 * _SLOW_ROWS
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SLOW_ROWS) ** 2)
    weight = np.convolve(there, window, "full")[reach:-reach] + 1e-9
    held = codes * there[:, None]
    return np.stack([np.convolve(column, window, "full")[reach:-reach] / weight for column in held.T], 1)


def _ways(moves: DoubleArray) -> DoubleArray:
    """(K, D) unit rows: principal components of the brows, then those of the head."""
    found = []
    for part in _PARTS:
        variance, axes = np.linalg.eigh(np.cov(moves[:, part].T))
        share = np.cumsum(variance[::-1]) / max(float(variance.sum()), 1e-12)
        for axis in axes[:, ::-1].T[: int(np.searchsorted(share, _SPREAD_KEPT)) + 1]:
            way = np.zeros(moves.shape[1])
            way[part] = axis
            found.append(way)
    return np.stack(found)


def _kernel(values: DoubleArray, there: NDArray[np.bool_]) -> DoubleArray:
    """(TAPS,) of white noise: a stable autoregressive filter by Burg's method, over pieces without a gap."""
    known = values - values[there].mean()
    ends = np.flatnonzero(np.diff(np.r_[False, there, False]))
    pieces = [known[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True) if b - a >= _LEAST_ROWS]
    ahead, behind, filter_ = [piece[1:] for piece in pieces], [piece[:-1] for piece in pieces], np.ones(1)
    for _ in range(_ORDER if pieces else 0):
        both = sum(float(f @ b) for f, b in zip(ahead, behind, strict=True))
        power = sum(float(f @ f + b @ b) for f, b in zip(ahead, behind, strict=True))
        by = -2.0 * both / max(power, 1e-30)
        filter_ = np.r_[filter_, 0.0] + by * np.r_[filter_, 0.0][::-1]
        left = [(f + by * b, b + by * f) for f, b in zip(ahead, behind, strict=True)]
        ahead, behind = [f[1:] for f, _ in left], [b[:-1] for _, b in left]
    kernel = np.zeros(TAPS)
    kernel[0] = 1.0
    for tap in range(1, TAPS):
        back = min(tap, len(filter_) - 1)
        kernel[tap] = -filter_[1 : back + 1] @ kernel[tap - back : tap][::-1]
    return np.asarray(kernel * np.sqrt(known[there].var() / np.square(kernel).sum()))


def _strengths(
    along: DoubleArray, there: NDArray[np.bool_], spoken: FloatArray, loudness: FloatArray
) -> FloatArray:
    """How quickly they move where it is quiet, soft and loud, beside all speech."""
    speed = np.zeros(len(along))
    speed[1:] = np.sqrt(np.square(np.diff(along, axis=0)).sum(1))
    known = there & np.r_[False, there[:-1]]
    talks = known & (spoken > 0.5)
    middle = float(np.median(loudness[talks]))
    usual = float(np.sqrt(np.square(speed[talks]).mean()))
    found = []
    for where in (known & (spoken <= 0.5), talks & (loudness < middle), talks & (loudness >= middle)):
        of_these = np.sqrt(np.square(speed[where]).mean()) / max(usual, 1e-12) if where.any() else 1.0
        found.append(of_these)
    return np.clip(found, *_STRENGTHS).astype(np.float32)
