"""A `.motion` file: how somebody moved, frame by frame, to be replayed on any avatar; no picture, no sound.

One .npz of float32 arrays, without pickles, that NumPy reads and writes: the landmarks of N frames, px, as
`engine.person.landmarks` has them (`face` (N, 478, 3), `hands` (N, 2, 21, 3), ...), and

    size   (2,)    width and height of the picture that they were found in, px
    rate   (2,)    frames per second, as numerator and denominator
    times  (N, 2)  of each frame: whole seconds, and microseconds beyond
    person (N,)    another number: another person is followed from here on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from engine.avatar.avatar import MAX_FPS
from engine.avatar.members import encode_arrays, landmarks_of, read_arrays, stack_landmarks
from engine.errors import FileError, PackageError
from engine.files import write_file
from engine.person.landmarks import Landmarks

SUFFIX = ".motion"
MAX_BYTES = 256 * 1024 * 1024  # of the file, and unpacked: about ten minutes at 60 frames a second
MAX_SIDE_PX = 16384
_MICRO = 1_000_000
_OWN = ("size", "rate", "times", "person")
_MEMBER = "motion"  # what errors name
_CURE = "save it again with render --save-motion"


@dataclass(frozen=True, slots=True)
class RecordedMotion:
    """The landmarks of N frames of a driver."""

    landmarks: Sequence[Landmarks]
    times_s: Sequence[float]  # to the microsecond, growing
    rate: Fraction  # frames per second


def save_motion(path: Path, motion: RecordedMotion) -> None:
    """Writes the file, all or nothing. Raises FileError."""
    first = motion.landmarks[0]
    times_us = [round(time_s * _MICRO) for time_s in motion.times_s]
    rate = motion.rate.limit_denominator(10_000)
    arrays = {
        **stack_landmarks(motion.landmarks),
        "size": np.array([first.width, first.height], np.float32),
        "rate": np.array([rate.numerator, rate.denominator], np.float32),
        "person": np.array([frame.person for frame in motion.landmarks], np.float32),
        "times": np.array([divmod(time_us, _MICRO) for time_us in times_us], np.float32),
    }
    write_file(path, encode_arrays(arrays))


def load_motion(path: Path) -> RecordedMotion:
    """Inverse of `save_motion`. Raises PackageError, FileError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PackageError(f"{path}: {path.stat().st_size} bytes; wanted at most {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    try:
        return _decoded(path, data)
    except PackageError as error:
        raise PackageError(str(error).removesuffix(": enrol again") + f": {_CURE}") from error


def _decoded(path: Path, data: bytes) -> RecordedMotion:
    arrays = read_arrays(path, _MEMBER, data, MAX_BYTES)
    for name in _OWN:
        if name not in arrays:
            raise PackageError(f"{path}: array {name} is missing")
    size, rate, times, person = (arrays.pop(name) for name in _OWN)
    if size.shape != (2,) or not ((size >= 1) & (size <= MAX_SIDE_PX)).all():
        raise PackageError(f"{path}: array size is {size!s:.60}; wanted two sides, 1 to {MAX_SIDE_PX} px")
    if rate.shape != (2,) or not (rate >= 1).all() or not 1 <= rate[0] / rate[1] <= MAX_FPS:
        raise PackageError(f"{path}: array rate is {rate!s:.60}; wanted 1 to {MAX_FPS:g} frames a second")
    if times.ndim != 2 or times.shape[1] != 2 or not len(times):
        raise PackageError(f"{path}: array times is {times.shape}; wanted (N, 2) of at least one frame")
    if person.shape != (len(times),) or (np.abs(person) > _MICRO).any():
        raise PackageError(f"{path}: array person is {person.shape}; wanted ({len(times)},)")
    times_us = [round(float(whole)) * _MICRO + round(float(micro)) for whole, micro in times]
    if times_us[0] < 0 or any(later <= time for time, later in pairwise(times_us)):
        raise PackageError(f"{path}: array times does not grow from frame to frame")
    width, height = (round(float(side)) for side in size)
    frames = landmarks_of(path, _MEMBER, arrays, len(times), max(width, height))
    return RecordedMotion(
        [
            replace(frame, width=width, height=height, person=round(float(number)))
            for frame, number in zip(frames, person, strict=True)
        ],
        [time_us / _MICRO for time_us in times_us],
        Fraction(round(float(rate[0])), round(float(rate[1]))),
    )
