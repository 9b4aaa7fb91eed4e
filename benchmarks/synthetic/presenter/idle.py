"""What a living person never stops doing: breathing, swaying, looking about, blinking. Knows only numpy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from benchmarks.synthetic.presenter.performance import ARKIT_NAMES, FRAME_RATE_HZ, FULL_LOOK, Array

BREATH_HZ = 0.25
BREATH_BEND_DEG = 0.5
BREATH_LIFT_M = 0.002
LOOK_LIMIT = 0.9


def breathing(times_s: Array) -> tuple[Array, Array]:
    """(T,) forward bend of the chest in radians and (T,) lift of the shoulders in metres."""
    wave = np.sin(2 * np.pi * BREATH_HZ * times_s)
    return -np.radians(BREATH_BEND_DEG) * wave, BREATH_LIFT_M * wave


def wander(random: np.random.Generator, count: int, sizes: tuple[float, ...], seconds: float) -> Array:
    """(count, len(sizes)) band-limited noise with the given standard deviations.

    seconds: Gaussian sigma of the smoothing; 0.7 leaves next to nothing above 0.5 Hz.
    """
    noise = gaussian_filter1d(
        random.normal(size=(count, len(sizes))), seconds * FRAME_RATE_HZ, axis=0, mode="reflect"
    )
    return np.asarray(noise / (noise.std(axis=0) + 1e-9) * np.asarray(sizes))


def saccades(random: np.random.Generator, times_s: Array, first_s: float) -> Array:
    """(T, 2) radians, left and up: looks aside of 3 to 12 degrees every 1 to 3 s, else at the camera."""
    looks = np.zeros((len(times_s), 2))
    at = first_s
    while at < times_s[-1]:
        length = float(random.uniform(0.4, 1.1))
        angle, size = random.uniform(0, 2 * np.pi), np.radians(random.uniform(3, 12))
        level = np.clip(np.minimum(times_s - at, at + length - times_s) / 0.08, 0, 1)
        looks += level[:, None] * size * np.array([np.cos(angle), 0.6 * np.sin(angle)])
        at += length + float(random.uniform(1.0, 2.4))
    return looks


def look(eyes: Array) -> Array:
    """eyes: (T, 2) radians against the head, to the left and up -> (T, 52) eye weights."""
    left, up = (eyes / FULL_LOOK).T
    return eye_weights(left, up, LOOK_LIMIT)


def eye_weights(left: Array, up: Array, limit: float) -> Array:
    """left, up: (T,) how far the eyes look there, 1 as far as they can -> (T, 52), each at most `limit`."""
    face = np.zeros((len(left), len(ARKIT_NAMES)))
    for names, value in (
        (("eyeLookOutLeft", "eyeLookInRight"), left), (("eyeLookInLeft", "eyeLookOutRight"), -left),
        (("eyeLookUpLeft", "eyeLookUpRight"), up), (("eyeLookDownLeft", "eyeLookDownRight"), -up),
    ):  # fmt: skip
        for name in names:
            face[:, ARKIT_NAMES.index(name)] = np.clip(value, 0, limit)
    return face


def blink_starts(random: np.random.Generator, first_s: float, end_s: float) -> Array:
    """(N,) times of blinks, 2 to 5 s apart."""
    starts = first_s + np.cumsum(random.uniform(2.0, 5.0, size=int(end_s)))
    return np.asarray(starts[starts < end_s - 0.4])
