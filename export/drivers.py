"""What drives an avatar offline: a film, or motion that was recorded before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.arrays import U8Image
from engine.avatar.motion_file import RecordedMotion, load_motion
from engine.media.frame_size import sized_alike
from engine.media.video import probe, read_frames
from engine.person.landmarks import Landmarks
from export.progress import Bars


class FrameTracker(Protocol):
    """The part of engine/tracking/tracker.py that a film needs."""

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks: ...


class Driver(Protocol):
    """Where motion comes from."""

    @property
    def name(self) -> str:
        """As errors say it."""

    @property
    def sound(self) -> Path | None:
        """The file whose sound goes with it."""

    @property
    def picture_px(self) -> tuple[int, int]:
        """(width, height) of the pictures that its landmarks lie in."""

    @property
    def note(self) -> str:
        """One line about what was chosen in it, where there was a choice."""

    def motion(self, tracker: FrameTracker, track_ms: list[float]) -> RecordedMotion:
        """All of it. track_ms: gets how long each frame took. Raises VideoError."""

    def pictures(self) -> Iterator[U8Image]:
        """As many as there are frames, (H, W, 3) uint8 RGB each."""


class FilmDriver:
    """A film of a person. mirror: the avatar moves as in a mirror."""

    def __init__(self, film: Path, mirror: bool = False) -> None:
        """Raises VideoError."""
        info = probe(film)
        self.note = info.note
        self.name = str(film)
        self.sound: Path | None = film
        self.picture_px = (info.width, info.height)
        self._film, self._info, self._mirror = film, info, mirror

    def motion(self, tracker: FrameTracker, track_ms: list[float]) -> RecordedMotion:
        """Of every frame; the film is tracked."""
        landmarks: list[Landmarks] = []
        times_s: list[float] = []
        with Bars(disable=None) as bars:
            for frame in read_frames(self._film):
                picture = self._seen(frame.rgb)
                begun_ns = time.perf_counter_ns()
                landmarks.append(tracker.track(picture, int(frame.time_s * 1e9)))
                track_ms.append((time.perf_counter_ns() - begun_ns) * 1e-6)
                times_s.append(frame.time_s)
                bars.show("tracking", len(times_s), self._info.frames)
        return RecordedMotion(landmarks, times_s, frame_rate(times_s, self._info.fps))

    def pictures(self) -> Iterator[U8Image]:
        """Decoded again."""
        return (self._seen(frame.rgb) for frame in read_frames(self._film))

    def _seen(self, rgb: U8Image) -> U8Image:
        """The frame, as large as the first, flipped if the avatar shall move as in a mirror."""
        rgb = sized_alike(rgb, *self.picture_px)
        return np.ascontiguousarray(rgb[:, ::-1]) if self._mirror else rgb


class MotionDriver:
    """A `.motion` file."""

    sound: Path | None = None
    note = ""

    def __init__(self, path: Path) -> None:
        """Raises PackageError, FileError."""
        self.name = str(path)
        self._motion = load_motion(path)
        first = self._motion.landmarks[0]
        self.picture_px = (first.width, first.height)

    def motion(self, tracker: FrameTracker, track_ms: list[float]) -> RecordedMotion:
        """As it was recorded; nothing is tracked."""
        return self._motion

    def pictures(self) -> Iterator[U8Image]:
        """There are none: one black pixel each."""
        return repeat(np.zeros((1, 1, 3), np.uint8), len(self._motion.landmarks))


def frame_rate(times_s: Sequence[float], stated_fps: float) -> Fraction:
    """The rate as a fraction that encoders like: 30000/1001 stays what it is."""
    measured = (len(times_s) - 1) / times_s[-1] if times_s[-1] > 0 else stated_fps
    # A stated rate that the frames do not keep (phones) would change the length.
    if abs(measured - stated_fps) <= 0.01 * stated_fps:
        return Fraction(stated_fps).limit_denominator(1001)
    return Fraction(measured).limit_denominator(1001)
