"""What one person's lips do for what is heard: the base, and a closed-form fit to their own film.

The mean of three that are wrong in different ways: the base, a ridge regression (Hoerl and Kennedy, 1970) on
the shapes that it hears, and one on the rows around. Then the gap of the lips is brought to the distribution
that the film shows, so that lips which shut there shut here, and narrows by the person's own measure where B,
M or P is heard. No sound is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.arrays import DoubleArray, FloatArray
from engine.errors import FootageError
from engine.voice.base import (
    AFTER,
    AROUND,
    BEFORE,
    LIP_NUMBERS,
    LOOK_AHEAD_S,
    PRESSED,
    SHAPES,
    Base,
    around,
    base,
    edged,
    parted,
    times,
)
from engine.voice.features import ROW, ROWS_HZ
from engine.voice.motion_code import LIP_GAP

__all__ = ["LOOK_AHEAD_S", "Speaker", "SpeakerFit", "SpeakerStream", "at_rows", "fit_speaker"]

LEAST_S = 4.0  # of film with a face; less says nothing of a person's way
_SHAPES_PENALTY, _ROWS_PENALTY = 30.0, 1000.0  # of the ridges
_BLOCKS = 5  # of the film, each foretold from the others, to see how much a fit moves
_QUANTILES = np.linspace(0.0, 1.0, 21)
_GAIN = (0.6, 2.0)  # limits of what the fit's motion is multiplied with
_WIDE = 18  # of the quantiles: how far they open, in 9 of 10 rows
_PRESSES = (
    1.0  # of that, for each unit of lips pressed on each other: chosen on films of others, see benchmarks
)
_SPREAD = 0.9  # of the film's own spread, to which it is brought


@dataclass(frozen=True, slots=True)
class SpeakerFit:
    """One person's way of speaking. D = LIP_NUMBERS."""

    hearing: FloatArray  # (2,) of the base that it goes with, see Base.mark
    scale: FloatArray  # (D,) of the base's lips
    shapes: FloatArray  # (SHAPES, D)
    rows: FloatArray  # (AROUND, D)
    offset: FloatArray  # (D,)
    middle: FloatArray  # (D,) of the person's codes
    gain: FloatArray  # (D,) of what is foretold, about the middle
    gaps: FloatArray  # (2, 21) head units: quantiles of the foretold gap, and of the film's
    with_gap: FloatArray  # (D,) how the other numbers go with the gap

    @property
    def is_of_now(self) -> bool:
        """Whether it was fitted to what the base that comes with avatarcast hears."""
        return np.array_equal(self.hearing, base().mark)

    def arrays(self) -> dict[str, FloatArray]:
        """As an avatar keeps them, about 50 kB."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, FloatArray]) -> SpeakerFit:
        """Inverse of `arrays`. Raises ValueError with the name of what is missing or of another shape."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("scale", "offset", "middle", "gain", "with_gap"), (LIP_NUMBERS,)
        )
        shapes |= {"hearing": (2,), "shapes": (SHAPES, LIP_NUMBERS), "rows": (AROUND, LIP_NUMBERS)}
        shapes["gaps"] = (2, len(_QUANTILES))
        given = {}
        for name, shape in shapes.items():
            if name not in arrays:
                raise ValueError(f"no {name}")
            value = np.asarray(arrays[name], np.float32)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"{name} is {value.shape}; wanted finite {shape}")
            given[name] = value
        return cls(**given)


class Speaker:
    """Lips for rows, of one person or, without a fit, of nobody in particular."""

    def __init__(self, fit: SpeakerFit | None = None, base_network: Base | None = None) -> None:
        """base_network: the one that comes with avatarcast by default."""
        self._fit = fit
        self._base = base() if base_network is None else base_network

    def predict(self, rows: FloatArray) -> FloatArray:
        """(n, 22) float32, LIPS of the motion code at each row's time. rows: (n, ROW) of a whole sound."""
        if not len(rows):
            return np.zeros((0, LIP_NUMBERS), np.float32)
        return self.lips(around(edged(rows)))

    def lips(self, heard: FloatArray) -> FloatArray:
        """The same of rows that stand with those around them, (n, AROUND)."""
        told, shapes = self._base(heard)
        if self._fit is None:
            told[:, LIP_GAP] *= parted(shapes)
        else:
            told = _shaped(self._fit, _foretold(self._fit, told, shapes, heard), shapes)
        told[:, LIP_GAP] = np.maximum(told[:, LIP_GAP], 0.0)
        return told

    def stream(self) -> SpeakerStream:
        """For rows that come in one after the other."""
        return SpeakerStream(self)


class SpeakerStream:
    """Gives what `Speaker.predict` gives, AFTER rows later."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._rows = np.zeros((0, ROW), np.float32)

    def push(self, rows: FloatArray) -> FloatArray:
        """rows: (n, ROW), the next ones. (k, 22): the lips that are now known, in order."""
        if not len(self._rows) and len(rows):
            self._rows = rows[:1].repeat(BEFORE, 0)
        self._rows = np.concatenate([self._rows, rows])
        return self._known()

    def finish(self) -> FloatArray:
        """The lips of the last AFTER rows: nothing more will come."""
        if not len(self._rows):
            return np.zeros((0, LIP_NUMBERS), np.float32)
        self._rows = np.concatenate([self._rows, self._rows[-1:].repeat(AFTER, 0)])
        return self._known()

    def _known(self) -> FloatArray:
        if len(self._rows) <= BEFORE + AFTER:
            return np.zeros((0, LIP_NUMBERS), np.float32)
        known = self._speaker.lips(around(self._rows))
        self._rows = self._rows[-BEFORE - AFTER :]
        return known


def at_rows(codes: FloatArray, times_s: FloatArray, count: int) -> FloatArray:
    """(count, D): codes (n, D), at times_s (n,) ascending, as they were at each row's time."""
    at = np.arange(count) / ROWS_HZ
    return np.stack([np.interp(at, times_s, column) for column in codes.T], 1).astype(np.float32)


def fit_speaker(
    rows: FloatArray,
    codes: FloatArray,
    seen: NDArray[np.bool_] | None = None,
    base_network: Base | None = None,
) -> SpeakerFit:
    """How a person's lips go with their sound.

    rows: (n, ROW) of their film's sound; codes: (n, 22 or CODE) of its picture at the same times, its offset
    mended (`engine.voice.sync`); seen: (n,) bool, where the face was found. FootageError below LEAST_S.
    """
    heard, lips = around(edged(rows)), codes[:, :LIP_NUMBERS]
    if seen is not None:
        heard, lips = heard[seen], lips[seen]
    if len(heard) < LEAST_S * ROWS_HZ:
        raise FootageError(
            f"{len(heard) / ROWS_HZ:.1f} s of speech with a face: at least {LEAST_S:.0f} s are wanted"
        )
    network = base() if base_network is None else base_network
    told, shapes = network(heard)
    plain = _plain(told, shapes, heard, lips)
    foretold = np.empty_like(lips)
    edges = np.linspace(0, len(heard), _BLOCKS + 1).astype(int)
    for start, end in pairwise(edges):
        others = np.r_[0 : max(0, start - ROWS_HZ // 2), min(len(heard), end + ROWS_HZ // 2) : len(heard)]
        part = _plain(told[others], shapes[others], heard[others], lips[others])
        foretold[start:end] = _foretold(part, told[start:end], shapes[start:end], heard[start:end])
    gain = np.clip(_SPREAD * lips.std(0) / np.maximum(foretold.std(0), 1e-4), *_GAIN)
    gap = plain.middle[LIP_GAP] + gain[LIP_GAP] * (foretold[:, LIP_GAP] - plain.middle[LIP_GAP])
    gaps = np.stack([np.quantile(gap, _QUANTILES), np.quantile(lips[:, LIP_GAP], _QUANTILES)])
    open_by = lips[:, LIP_GAP] - lips[:, LIP_GAP].mean()
    with_gap = open_by @ (lips - lips.mean(0)) / max(float(open_by @ open_by), 1e-9)
    return replace(
        plain,
        hearing=network.mark,
        gain=gain.astype(np.float32),
        gaps=gaps.astype(np.float32),
        with_gap=with_gap.astype(np.float32),
    )


def _plain(told: FloatArray, shapes: FloatArray, heard: FloatArray, lips: FloatArray) -> SpeakerFit:
    """The fit without its shaping. told, shapes: what the base says of `heard`."""
    mean, own_mean = told.mean(0), lips.mean(0)
    slope = ((told - mean) * (lips - own_mean)).mean(0) / np.maximum(((told - mean) ** 2).mean(0), 1e-9)
    slope = np.maximum(slope, 0.0)
    by_shapes = _ridge(shapes, lips, _SHAPES_PENALTY)
    by_rows = _ridge(heard, lips, _ROWS_PENALTY)
    third = np.float32(1.0 / 3.0)
    offset = own_mean - third * (slope * mean + shapes.mean(0) @ by_shapes + heard.mean(0) @ by_rows)
    none = np.zeros(LIP_NUMBERS, np.float32)
    return SpeakerFit(
        hearing=np.zeros(2, np.float32),
        scale=np.asarray(third * slope, np.float32),
        shapes=np.asarray(third * by_shapes, np.float32),
        rows=np.asarray(third * by_rows, np.float32),
        offset=np.asarray(offset, np.float32),
        middle=own_mean.astype(np.float32),
        gain=none + 1.0,
        gaps=np.zeros((2, len(_QUANTILES)), np.float32),
        with_gap=none,
    )


def _ridge(given: FloatArray, lips: FloatArray, penalty: float) -> DoubleArray:
    """(given's columns, D) about the means of both. Solved in the smaller of its two forms."""
    rows, wanted = (given - given.mean(0)).astype(np.float64), lips - lips.mean(0)
    if rows.shape[0] < rows.shape[1]:
        gram = rows @ rows.T + penalty * np.eye(len(rows))
        return np.asarray(rows.T @ np.linalg.solve(gram, wanted.astype(np.float64)))
    gram = rows.T @ rows + penalty * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(gram, rows.T @ wanted))


def _foretold(fit: SpeakerFit, told: FloatArray, shapes: FloatArray, heard: FloatArray) -> FloatArray:
    found = told * fit.scale + times(shapes, fit.shapes) + times(heard, fit.rows) + fit.offset
    return np.asarray(found, np.float32)


def _shaped(fit: SpeakerFit, foretold: FloatArray, shapes: FloatArray) -> FloatArray:
    """Moved as much as the film moves, with its distribution of gaps; lips pressed on each other meet."""
    lips = fit.middle + fit.gain * (foretold - fit.middle)
    gap = np.interp(lips[:, LIP_GAP], fit.gaps[0], fit.gaps[1]).astype(np.float32)
    gap = np.maximum(gap - _PRESSES * fit.gaps[1, _WIDE] * np.maximum(shapes[:, PRESSED], 0.0), 0.0)
    change = (gap - lips[:, LIP_GAP])[:, None] * fit.with_gap
    return np.asarray(lips + change, np.float32)
