"""Chooses from footage that is too long to track what to learn from: the stretches that show most.

Looks at single pictures all over the films, takes those that together stand nearest to all of them (as key
frames are chosen), and the seconds around each: motion is learnt from frames that follow each other. What is
kept in memory does not grow with the films.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import FootageError
from engine.media.video import Span, VideoFrame, VideoInfo, sampled_frames
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral
from engine.render.keyframes import select_bank
from export.footage.checks import FrameStats, usable

KEPT_S = 60.0  # of all films together: what one avatar is trained from
_STRETCH_S = 4.0
_LOOKS = 600  # pictures, of all films together
_LEAST_STEP_S = 1.0  # between two of them
_SHARP = 0.5  # of the median sharpness; below, a picture is blurred
_SCALE = 1000.0  # longer side of every picture while they are compared, px

LookAt = Callable[[VideoFrame], tuple[Landmarks, FrameStats]]  # at a picture that follows no other


@dataclass(frozen=True, slots=True)
class Survey:
    """The stretches to learn from, of each film; empty where nothing of a film is."""

    spans: tuple[tuple[Span, ...], ...]
    looks: int

    @property
    def kept_s(self) -> float:
        """Of all stretches."""
        return sum(map(_total, self.spans))


def survey(
    files: Sequence[Path],
    infos: Sequence[VideoInfo],
    look_at: LookAt,
    tell: Callable[[int, int], None] | None = None,
) -> Survey:
    """tell: is called with the looks done and those in all.

    Raises VideoError, or FootageError where no picture is any good.
    """
    length_s = sum(info.duration_s for info in infos)
    shares = [max(1, round(_LOOKS * info.duration_s / length_s)) for info in infos]
    total = round(min(_LOOKS, length_s / _LEAST_STEP_S))
    places: list[tuple[int, float]] = []  # film, s
    landmarks: list[Landmarks] = []
    stats: list[FrameStats] = []
    for film, (path, most) in enumerate(zip(files, shares, strict=True)):
        for frame in sampled_frames(path, most, _LEAST_STEP_S):
            found, stat = look_at(frame)
            places.append((film, frame.time_s))
            landmarks.append(found)
            stats.append(stat)
            if tell:
                tell(len(places), max(len(places), total))
    good = _good(landmarks, stats)
    if not good:
        raise FootageError(
            f"the face, uncovered and alone, is in none of {len(places)} pictures looked at in "
            f"{length_s / 60:.0f} minutes of footage: give a film of you, facing the camera"
        )
    alike = [_one_size(landmarks[index]) for index in good]
    order = select_bank(alike, build_neutral(alike), len(alike))
    chosen = _stretches([places[good[index]] for index in order], len(files))
    return Survey(chosen, len(places))


def _good(landmarks: Sequence[Landmarks], stats: Sequence[FrameStats]) -> list[int]:
    """The pictures to learn from: usable, and not blurred by the standard of the others."""
    shown = np.flatnonzero(usable(landmarks, stats))
    if not len(shown):
        return []
    sharp = np.nan_to_num([stats[index].sharpness for index in shown])
    return [int(index) for index in shown[sharp >= _SHARP * np.median(sharp)]]


def _one_size(landmarks: Landmarks) -> Landmarks:
    """As of a picture of one size, whatever film it is from."""
    scale = _SCALE / max(landmarks.width, landmarks.height)
    size = (round(landmarks.width * scale), round(landmarks.height * scale))
    return landmarks.transformed(scale, 0.0, 0.0, *size)


def _stretches(places: Sequence[tuple[int, float]], films: int) -> tuple[tuple[Span, ...], ...]:
    """The seconds around the places, the first ones first, up to KEPT_S in all."""
    taken: list[list[Span]] = [[] for _ in range(films)]
    for film, time_s in places:
        if any(begin_s <= time_s < end_s for begin_s, end_s in taken[film]):
            continue
        begin_s = max(0.0, time_s - _STRETCH_S / 2)
        taken[film] = _merged([*taken[film], (begin_s, begin_s + _STRETCH_S)])
        if sum(map(_total, taken)) >= KEPT_S:
            break
    return tuple(tuple(spans) for spans in taken)


def _total(spans: Sequence[Span]) -> float:
    return sum(end_s - begin_s for begin_s, end_s in spans)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """In order, those that touch joined."""
    joined: list[Span] = []
    for begin_s, end_s in sorted(spans):
        if joined and begin_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        else:
            joined.append((begin_s, end_s))
    return joined
