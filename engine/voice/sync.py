"""How far a film's picture is from its sound: its lips are compared with what the sound would have them do.

Syncnet's question (Chung and Zisserman, ACCV 2016 workshops), asked of tracked lips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.arrays import FloatArray
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker, at_rows

SEARCH_MS = 500  # to both sides
STEP_MS = 20
AGREES_MS = 40  # a resampled estimate so near is the same
LEAST_S = 4.0  # of film; less says nothing
_WINDOW_ROWS = 50
_RESAMPLED = 200


@dataclass(frozen=True, slots=True)
class SyncEstimate:
    """What was found."""

    offset_ms: float  # to be added to the picture's times; above 0 the picture comes before its sound
    certainty: float  # 0..1, share of resampled stretches of the film that agree within AGREES_MS
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
    if (
        len(rows) < LEAST_S * 25
        or len(times_s) < 10
        or times_s[-1] - times_s[0] < LEAST_S
        or lips.std() < 1e-4
    ):
        return None
    windows = []
    for offset_ms in offsets_tried_ms():
        shown = at_rows(lips, times_s + offset_ms / 1000.0, len(rows))[:, 0]
        windows.append(_correlations(told, shown))
    table = np.stack(windows)  # (offsets, windows)
    best = int(table.mean(1).argmax())
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, table.shape[1], (_RESAMPLED, table.shape[1]))
    again = table[:, drawn].mean(2).argmax(0)
    agrees = np.abs(again - best) * STEP_MS <= AGREES_MS
    return SyncEstimate(
        float(offsets_tried_ms()[best]), float(agrees.mean()), table.mean(1).astype(np.float32)
    )


def _correlations(told: FloatArray, shown: FloatArray) -> FloatArray:
    """Of each window of 2 s, half overlapping; 0 where one of them does not move."""
    found = []
    for start in range(0, max(1, len(told) - _WINDOW_ROWS + 1), _WINDOW_ROWS // 2):
        a, b = told[start : start + _WINDOW_ROWS], shown[start : start + _WINDOW_ROWS]
        a, b = a - a.mean(), b - b.mean()
        size = float(np.sqrt((a @ a) * (b @ b)))
        found.append(float(a @ b) / size if size > 1e-9 else 0.0)
    return np.array(found, np.float32)
