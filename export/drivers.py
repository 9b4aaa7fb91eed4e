"""What drives an avatar offline: a film, recorded motion, a voice, or a voice with one of the others.

All of them give the same: landmarks and times of each frame, from which one `engine.person.motion.Motion` a
frame is measured. A still picture is a film of one frame that shows no rest (`export.stills`). What a voice,
an emotion or a listener does goes onto that motion, by region and as surely as each is known
(`engine.person.blend`, `engine.pipeline.Companion` and `Adjustment`): no driver knows of another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import repeat
from math import ceil
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.avatar.motion_file import RecordedMotion, load_motion
from engine.errors import VideoError
from engine.media.frame_size import sized_alike
from engine.media.sound import read_sound
from engine.media.video import probe, read_frames
from engine.person.landmarks import Landmarks
from engine.voice.features import ROWS_HZ
from engine.voice.mel import SAMPLE_RATE_HZ
from export.progress import Bars

_CLIPPED, _CLIPPED_SHARE = 0.99, 0.001  # of full scale; of the samples, from where on it is said
_UNSEEN = np.zeros((1, 1, 3), np.uint8)


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
        return repeat(_UNSEEN, len(self._motion.landmarks))


class SoundDriver:
    """A voice, and with it what moves all but the lips, where there is that. As long as the sound."""

    def __init__(self, voice: Path, beside: Driver | None = None) -> None:
        """voice: any sound, or a film with one. Raises VideoError."""
        sound = read_sound(voice, SAMPLE_RATE_HZ)
        if sound is None:
            raise VideoError(
                f"{voice}: no sound in it; give a file with a voice, such as WAV, MP3, M4A or Opus"
            )
        self.samples: FloatArray = sound.from_picture()  # (n,) float32, 16 kHz
        if not len(self.samples):
            raise VideoError(f"{voice}: its sound has no length; record or copy it again")
        self.name, self.sound = str(voice), voice
        self.seconds = len(self.samples) / SAMPLE_RATE_HZ
        self.picture_px = (1, 1) if beside is None else beside.picture_px
        self.note = self._noted(beside)
        self._beside = beside

    def motion(self, tracker: FrameTracker, track_ms: list[float]) -> RecordedMotion:
        """What goes with it, to the end of the sound: beyond its own end, and without it, nobody is seen."""
        if self._beside is None:
            seen = RecordedMotion([], [], Fraction(ROWS_HZ))
        else:
            seen = self._beside.motion(tracker, track_ms)
        times_s = [time_s for time_s in seen.times_s if time_s < self.seconds]
        begins_s = times_s[-1] + float(1 / seen.rate) if times_s else 0.0
        missing = max(0, ceil(round((self.seconds - begins_s) * float(seen.rate), 6)))
        nobody = Landmarks(*self.picture_px)
        return RecordedMotion(
            [*seen.landmarks[: len(times_s)], *[nobody] * missing],
            [*times_s, *(begins_s + index / float(seen.rate) for index in range(missing))],
            seen.rate,
        )

    def pictures(self) -> Iterator[U8Image]:
        """Without end: the last one stays."""
        if self._beside is None:
            return repeat(_UNSEEN)
        return _lasting(self._beside.pictures())

    def _noted(self, beside: Driver | None) -> str:
        """What of the sound, and of what goes with it, is worth a word."""
        notes = [] if beside is None or not beside.note else [beside.note]
        clipped = float((np.abs(self.samples) >= _CLIPPED).mean())
        if clipped > _CLIPPED_SHARE:
            notes.append(f"{clipped:.1%} of the sound is clipped: lips may be off; record it less loud")
        return "; ".join(notes)


def _lasting(pictures: Iterator[U8Image]) -> Iterator[U8Image]:
    last = _UNSEEN
    for last in pictures:
        yield last
    while True:
        yield last


def frame_rate(times_s: Sequence[float], stated_fps: float) -> Fraction:
    """The rate as a fraction that encoders like: 30000/1001 stays what it is."""
    measured = (len(times_s) - 1) / times_s[-1] if times_s[-1] > 0 else stated_fps
    # A stated rate that the frames do not keep (phones) would change the length.
    if abs(measured - stated_fps) <= 0.01 * stated_fps:
        return Fraction(stated_fps).limit_denominator(1001)
    return Fraction(measured).limit_denominator(1001)
