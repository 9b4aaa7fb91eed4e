"""Written motion: hand shapes, gestures, facial expressions and blinks over time. Knows only numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.presenter.performance import ARKIT_NAMES, Array

# (5, 3) radians per hand shape: thumb, index, middle, ring, little x flexion, spread towards the thumb, curl
OPEN = np.array(
    [[0.4, 0.75, 0.25], [0.05, 0.14, 0.1], [0.0, 0.0, 0.1], [0.05, -0.16, 0.1], [0.1, -0.34, 0.12]]
)
FLAT = np.array(
    [[0.25, 0.4, 0.15], [0.08, 0.05, 0.1], [0.05, 0.0, 0.1], [0.08, -0.08, 0.1], [0.12, -0.16, 0.1]]
)
RELAXED = np.array(
    [[0.6, 0.5, 0.3], [0.3, 0.1, 0.45], [0.35, 0.0, 0.5], [0.4, -0.12, 0.55], [0.45, -0.25, 0.6]]
)
FIST = np.array([[1.0, 0.35, 0.8], [1.35, 0.06, 1.7], [1.4, 0.0, 1.7], [1.4, -0.06, 1.7], [1.35, -0.12, 1.6]])
CUPPED = np.array([[0.8, 0.5, 0.4], [0.55, 0.08, 0.75], [0.6, 0.0, 0.8], [0.65, -0.1, 0.8], [0.7, -0.2, 0.8]])


def extended(fingers: tuple[int, ...]) -> Array:
    """(5, 3) a fist with the given fingers (0 thumb .. 4 little) stretched out."""
    shape = FIST.copy()
    shape[list(fingers)] = OPEN[list(fingers)]
    return shape


def pinched() -> Array:
    """(5, 3) thumb and index tips together, the others open ("OK")."""
    shape = OPEN.copy()
    shape[0], shape[1] = (1.0, 0.3, 0.6), (0.85, 0.1, 1.05)
    return shape


@dataclass(frozen=True)
class HandKey:
    """One hand at one time, written for the left hand; `x` counts outwards, so it mirrors for the right."""

    time_s: float
    wrist: tuple[
        float, float, float
    ]  # outwards, up, forwards from the middle of the shoulders, shoulder widths
    forward: tuple[float, float, float]  # outwards, up, to the camera
    palm: tuple[float, float, float]
    shape: Array  # (5, 3)


HANGING = HandKey(0.0, (0.66, -1.38, 0.03), (0.05, -1.0, 0.12), (-1.0, 0.0, -0.25), RELAXED)


def wave(duration_s: float) -> list[HandKey]:
    """Open palm beside the face, swinging."""
    times = np.linspace(0, duration_s, 6)
    return [
        HandKey(t, (0.5 + 0.07 * s, -0.02, 0.62), (0.35 * s, 1.0, 0.1), (0.0, 0.0, 1.0), OPEN)
        for t, s in zip(times, (-0.5, 1, -1, 1, -1, 0.2), strict=True)
    ]


def point(duration_s: float) -> list[HandKey]:
    """Index finger up, then towards the camera, then up."""
    finger = extended((1,))
    up = ((0.42, -0.2, 0.75), (-0.15, 1.0, 0.15), (-0.2, 0.0, 1.0))
    out = ((0.4, -0.22, 0.8), (-0.45, 0.75, 0.5), (-0.6, -0.5, 0.5))
    places = (up, out, out, up)
    return [
        HandKey(t, *place, finger) for t, place in zip(np.linspace(0, duration_s, 4), places, strict=True)
    ]


def count(duration_s: float) -> list[HandKey]:
    """Fist, then one to five fingers, palm to the camera."""
    shapes = [FIST, *(extended(f) for f in ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (0, 1, 2, 3, 4)))]
    keys = []
    for number, shape in enumerate(shapes):
        start, step = number * duration_s / 6, duration_s / 6
        for t in (start, start + 0.6 * step):
            keys.append(HandKey(t, (0.44, -0.16, 0.7), (0.0, 1.0, 0.1), (-0.15, 0.0, 1.0), shape))
    return keys


def fist_pump(duration_s: float) -> list[HandKey]:
    """A fist in front of the chest, beating time."""
    heights = (0.0, -0.1, 0.02, -0.1, 0.0)
    return [
        HandKey(t, (0.36, -0.22 + h, 0.75), (-0.3, 0.9, 0.35), (-0.8, -0.1, -0.4), FIST)
        for t, h in zip(np.linspace(0, duration_s, 5), heights, strict=True)
    ]


def thumb_up(duration_s: float) -> list[HandKey]:
    """Thumb up in front of the chest."""
    shape = extended((0,))
    shape[0] = (0.0, 1.1, 0.1)
    place = (0.42, -0.16, 0.75), (-0.75, 0.2, 0.6), (-0.6, 0.0, -0.75)
    return [HandKey(t, *place, shape) for t in (0.0, duration_s)]


def okay(duration_s: float) -> list[HandKey]:
    """Thumb and index closed to a ring, palm to the camera."""
    place = (0.44, -0.16, 0.7), (0.0, 1.0, 0.15), (-0.25, 0.0, 1.0)
    return [
        HandKey(t, *place, shape)
        for t, shape in ((0, OPEN), (0.4 * duration_s, pinched()), (duration_s, pinched()))
    ]


def present(duration_s: float) -> list[HandKey]:
    """Palm up and outwards, opening and closing."""
    near = ((0.32, -0.28, 0.75), (0.05, 0.45, 0.85), (-0.35, 0.85, -0.3), CUPPED)
    wide = ((0.48, -0.22, 0.7), (0.35, 0.6, 0.7), (-0.1, 0.75, -0.5), OPEN)
    return [
        HandKey(t, *place)
        for t, place in zip(np.linspace(0, duration_s, 4), (near, wide, near, wide), strict=True)
    ]


def push(duration_s: float) -> list[HandKey]:
    """Flat palm to the camera, in and out."""
    depths = (0.6, 0.9, 0.62, 0.88)
    return [
        HandKey(t, (0.4, -0.2, depth), (-0.05, 1.0, 0.05), (0.0, -0.05, 1.0), FLAT)
        for t, depth in zip(np.linspace(0, duration_s, 4), depths, strict=True)
    ]


GESTURES = {
    "wave": wave, "point": point, "count": count, "fist": fist_pump, "thumb": thumb_up, "okay": okay,
    "present": present, "push": push,
}  # fmt: skip

EXPRESSIONS: dict[str, dict[str, float]] = {
    "jaw": {"jawOpen": 0.85, "mouthLowerDownLeft": 0.3, "mouthLowerDownRight": 0.3, "mouthUpperUpLeft": 0.3,
            "mouthUpperUpRight": 0.3, "browInnerUp": 0.3},
    "mmm": {"mouthPressLeft": 0.7, "mouthPressRight": 0.7, "mouthRollLower": 0.6, "mouthRollUpper": 0.5},
    "pucker": {"mouthPucker": 0.95},
    "oh": {"mouthFunnel": 0.8, "jawOpen": 0.35},
    "teeth": {"mouthSmileLeft": 0.85, "mouthSmileRight": 0.85, "mouthUpperUpLeft": 0.55,
              "mouthUpperUpRight": 0.55, "mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4,
              "jawOpen": 0.08, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "ee": {"mouthStretchLeft": 0.8, "mouthStretchRight": 0.8, "jawOpen": 0.12, "mouthLowerDownLeft": 0.5,
           "mouthLowerDownRight": 0.5, "mouthUpperUpLeft": 0.35, "mouthUpperUpRight": 0.35},
    "winkL": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.6},
    "winkR": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.6, "mouthSmileRight": 0.6},
    "amazed": {"eyeWideLeft": 1.0, "eyeWideRight": 1.0, "browInnerUp": 0.9, "browOuterUpLeft": 0.8,
               "browOuterUpRight": 0.8, "jawOpen": 0.3},
    "brows": {"browInnerUp": 0.8, "browOuterUpLeft": 0.9, "browOuterUpRight": 0.9},
    "frown": {"browDownLeft": 0.9, "browDownRight": 0.9, "eyeSquintLeft": 0.5, "eyeSquintRight": 0.5,
              "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7},
    "puff": {"cheekPuff": 0.8, "mouthPressLeft": 0.4, "mouthPressRight": 0.4},
    "mouthL": {"mouthLeft": 0.8}, "mouthR": {"mouthRight": 0.8},
    "closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "ff": {"mouthRollLower": 0.7, "mouthUpperUpLeft": 0.4, "mouthUpperUpRight": 0.4, "jawOpen": 0.05},
    "lookL": {"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9},
    "lookR": {"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9},
    "lookU": {"eyeLookUpLeft": 0.9, "eyeLookUpRight": 0.9},
    "lookD": {"eyeLookDownLeft": 0.8, "eyeLookDownRight": 0.8},
}  # fmt: skip

# The face at rest: without it the mesh looks sullen.
RESTING = {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.2, "browInnerUp": 0.2, "browDownLeft": -0.35,
           "browDownRight": -0.35}  # fmt: skip


def face_weights(named: dict[str, float]) -> Array:
    """Weights by ARKit name -> (52,)."""
    row = np.zeros(len(ARKIT_NAMES))
    for name, value in named.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


def window(times_s: Array, start_s: float, end_s: float, ramp_s: float) -> Array:
    """(T,) 0 outside start..end, 1 inside, with smooth ramps inside the window."""
    rise = np.clip((times_s - start_s) / ramp_s, 0, 1)
    fall = np.clip((end_s - times_s) / ramp_s, 0, 1)
    level = np.minimum(rise, fall)
    return np.asarray(level * level * (3 - 2 * level))


def blink_curve(times_s: Array, starts_s: Array) -> Array:
    """(T,) eyelid closure: shut within 0.1 s, held, open again after 0.33 s."""
    shape_t, shape_v = np.array([0.0, 0.1, 0.19, 0.33]), np.array([0.0, 1.0, 1.0, 0.0])
    closed = np.zeros(len(times_s))
    for start in starts_s:
        closed = np.maximum(closed, np.interp(times_s - start, shape_t, shape_v))
    return closed


def sample_keys(keys: list[HandKey], times_s: Array, side: int) -> tuple[Array, Array, Array, Array]:
    """Keys -> wrist, forward, palm (T, 3), fingers (T, 5, 3) of side 0 (left) or 1, smoothly joined."""
    outward = np.array([1.0 if side == 0 else -1.0, 1.0, 1.0])
    key_times = np.array([key.time_s for key in keys])
    at = np.clip(np.searchsorted(key_times, times_s, side="right") - 1, 0, max(len(keys) - 2, 0))
    following = np.minimum(at + 1, len(keys) - 1)
    level = np.clip((times_s - key_times[at]) / np.maximum(key_times[following] - key_times[at], 1e-6), 0, 1)
    level = level * level * (3 - 2 * level)

    def mix(values: Array) -> Array:
        share = level.reshape(-1, *([1] * (values.ndim - 1)))
        return np.asarray((1 - share) * values[at] + share * values[following])

    wrist, forward, palm = (
        mix(np.array([getattr(key, name) for key in keys]) * outward) for name in ("wrist", "forward", "palm")
    )
    return wrist, forward, palm, mix(np.stack([key.shape for key in keys]))
