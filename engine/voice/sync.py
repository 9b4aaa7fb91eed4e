"""How far a film's picture is from its sound: its lips are compared with what the sound would have them do.

Syncnet's question (Chung and Zisserman, ACCV 2016 workshops), asked of tracked lips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.arrays import FloatArray
from engine.voice.features import ROWS_HZ
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker, at_rows

SEARCH_MS = 500  # to both sides
STEP_MS = 20
AGREES_MS = 40  # a resampled estimate so near is the same
LEAST_S = 4.0  # of film; less says nothing
_WINDOW_ROWS = 50
_RESAMPLED = 200
_ROLLED, _APART_ROWS = 100, 40  # the same sound at other moments, at least 1.6 s apart


@dataclass(frozen=True, slots=True)
class SyncEstimate:
    """What was found."""

    offset_ms: float  # to be added to the picture's times; above 0 the picture comes before its sound
    certainty: float  # 0..1: that resampled stretches agree within AGREES_MS, and other sound agrees less
    agreement: (
        FloatArray  # (2 SEARCH_MS / STEP_MS + 1,) mean correlation at each offset tried, from -SEARCH_MS up
    )


def offsets_tried_ms() -> FloatArray:
    """(n,) as in SyncEstimate.agreement."""
    return np.arange(-SEARCH_MS, SEARCH_MS + 1, STEP_MS).astype(np.float32)


def estimate_offset(rows: FloatArray, codes: FloatArray, times_s: FloatArray) -> SyncEstimate | None:
    """rows: (n, ROW) of the sound; codes: (m, 22 or CODE) of the pictures with a face, at times_s (m,).

    times_s: ascending, on the sound's clock. None below LEAST_S of both, and for lips that never move.
    """
    told = Speaker().predict(rows)[:, LIP_GAP]
    lips = codes[:, LIP_GAP : LIP_GAP + 1]
    least = LEAST_S * ROWS_HZ
    if len(rows) < least or len(times_s) < 10 or times_s[-1] - times_s[0] < LEAST_S or lips.std() < 1e-4:
        return None
    offsets = offsets_tried_ms()
    shown = np.stack([_windows(at_rows(lips, times_s + by / 1000.0, len(rows))[:, 0]) for by in offsets])
    agreement = np.einsum("owt,wt->ow", shown, _windows(told))  # correlations
    mean = agreement.mean(1)
    best = int(mean.argmax())
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, agreement.shape[1], (_RESAMPLED, agreement.shape[1]))
    again = agreement[:, drawn].mean(2).argmax(0)
    agrees = np.abs(again - best) * STEP_MS <= AGREES_MS
    apart = rng.integers(_APART_ROWS, len(told) - _APART_ROWS, _ROLLED)
    chance = np.stack([_windows(np.roll(told, by)) for by in apart])
    beaten = np.einsum("owt,rwt->ro", shown, chance).max(1) / agreement.shape[1] < mean[best]
    certainty = float(agrees.mean() * beaten.mean())
    return SyncEstimate(float(offsets[best]), certainty, mean.astype(np.float32))


def _windows(curve: FloatArray) -> FloatArray:
    """(w, _WINDOW_ROWS): windows of 2 s, half overlapping, of mean 0 and norm 1; 0 where nothing moves."""
    starts = range(0, max(1, len(curve) - _WINDOW_ROWS + 1), _WINDOW_ROWS // 2)
    found = np.stack([curve[start : start + _WINDOW_ROWS] for start in starts])
    found = found - found.mean(1, keepdims=True)
    size = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.where(size > 1e-6, found / np.maximum(size, 1e-6), 0.0), np.float32)
