"""Written motion: hand shapes, gestures, facial expressions and blinks over time. Knows only numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.synthetic.presenter.performance import ARKIT_NAMES, VISEMES, Array

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
    # outwards, up, forwards from the middle of the shoulders, in shoulder widths
    wrist: tuple[float, float, float]
    forward: tuple[float, float, float]  # outwards, up, to the camera
    palm: tuple[float, float, float]
    shape: Array  # (5, 3)


HANGING = HandKey(0.0, (0.66, -1.38, 0.03), (0.05, -1.0, 0.12), (-1.0, 0.0, -0.25), RELAXED)


Key = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float], Array]


def evenly(duration_s: float, *places: Key) -> list[HandKey]:
    """Keys at even times from 0 to duration_s."""
    return [
        HandKey(float(t), *place)
        for t, place in zip(np.linspace(0, duration_s, len(places)), places, strict=True)
    ]


def wave(duration_s: float) -> list[HandKey]:
    """Open palm beside the face, swinging gently."""
    places: list[Key] = [
        ((0.42 + 0.03 * s, -0.02, 0.72), (0.2 * s, 1.0, 0.1), (-0.05, 0.0, 1.0), OPEN)
        for s in (0, 1, -0.8, 1, -0.8, 0)
    ]
    return evenly(duration_s, *places)


def point(duration_s: float) -> list[HandKey]:
    """Index finger up, then a little towards the camera, then up."""
    finger = extended((1,))
    up = ((0.4, -0.14, 0.76), (-0.15, 1.0, 0.15), (-0.2, 0.0, 1.0), finger)
    out = ((0.39, -0.12, 0.8), (-0.35, 0.85, 0.4), (-0.45, -0.3, 0.8), finger)
    return evenly(duration_s, up, up, out, up)


def count(duration_s: float) -> list[HandKey]:
    """One, two, three and five fingers, palm to the camera."""
    shapes = [extended(f) for f in ((1,), (1, 2), (1, 2, 3), (0, 1, 2, 3, 4))]
    places: list[Key] = [
        ((0.4, -0.12, 0.76), (0.0, 1.0, 0.1), (-0.15, 0.0, 1.0), shape) for shape in shapes for _ in range(2)
    ]
    return evenly(duration_s, *places)


def thumb_up(duration_s: float) -> list[HandKey]:
    """Thumb up in front of the chest, the fist's side to the camera."""
    shape = extended((0,))
    shape[0] = (0.0, 1.1, 0.1)
    place = (0.4, -0.08, 0.78), (-0.75, 0.2, 0.6), (-0.6, 0.0, -0.75), shape
    return evenly(duration_s, place, place)


def okay(duration_s: float) -> list[HandKey]:
    """Thumb and index closed to a ring, palm to the camera."""
    place = (0.4, -0.12, 0.76), (0.0, 1.0, 0.15), (-0.25, 0.0, 1.0)
    return evenly(duration_s, (*place, OPEN), (*place, pinched()), (*place, pinched()))


def present(duration_s: float) -> list[HandKey]:
    """Palm up and outwards, opening and closing."""
    near = ((0.3, -0.14, 0.82), (0.05, 0.6, 0.75), (-0.35, 0.8, -0.3), CUPPED)
    wide = ((0.36, -0.1, 0.8), (0.2, 0.75, 0.6), (-0.1, 0.7, -0.5), OPEN)
    return evenly(duration_s, near, wide, wide, near)


def push(duration_s: float) -> list[HandKey]:
    """Flat palm to the camera, a little in and out."""
    near = ((0.38, -0.13, 0.76), (-0.05, 1.0, 0.05), (0.0, -0.05, 1.0), FLAT)
    far = ((0.37, -0.1, 0.92), (-0.05, 1.0, 0.05), (0.0, -0.05, 1.0), FLAT)
    return evenly(duration_s, near, far, near)


def open_palm(duration_s: float) -> list[HandKey]:
    """A relaxed open palm that explains: turns from the chest to the camera and back."""
    inwards = ((0.32, -0.16, 0.8), (-0.35, 0.85, 0.3), (-0.5, 0.1, -0.6), RELAXED)
    outwards = ((0.42, -0.1, 0.8), (0.1, 0.95, 0.3), (-0.75, 0.2, 0.55), OPEN)
    return evenly(duration_s, inwards, outwards, inwards)


def upper(duration_s: float) -> list[HandKey]:
    """The hand that lies in front where both rest over each other at the chest; `lower` is behind it."""
    place = (0.2, -0.2, 0.98), (-0.9, 0.4, 0.05), (-0.05, -0.1, -1.0), FLAT
    return evenly(duration_s, place, place)


def lower(duration_s: float) -> list[HandKey]:
    """The hand nearer to the chest, see `upper`: about 3 cm are between the two."""
    place = (0.2, -0.22, 0.79), (-0.9, 0.4, 0.05), (-0.05, -0.1, -1.0), FLAT
    return evenly(duration_s, place, place)


def steeple(duration_s: float) -> list[HandKey]:
    """Palm towards the other palm, some centimetres apart, fingers up: both hands together at the chest."""
    apart = ((0.22, -0.2, 0.82), (-0.02, 0.9, 0.4), (-1.0, 0.0, 0.05), FLAT)
    near = ((0.14, -0.2, 0.82), (-0.02, 0.9, 0.4), (-1.0, 0.0, 0.05), FLAT)
    return evenly(duration_s, apart, near, near, apart)


def chin(duration_s: float) -> list[HandKey]:
    """Fingers at the chin for a moment, a few centimetres in front of it."""
    away = ((0.3, -0.25, 0.78), (-0.35, 0.9, 0.1), (-0.5, 0.1, -0.85), RELAXED)
    near = ((0.17, -0.05, 0.7), (-0.38, 0.92, -0.05), (-0.35, -0.1, -0.9), RELAXED)
    return evenly(duration_s, away, near, near, away)


def temple(duration_s: float) -> list[HandKey]:
    """Index finger at the temple, beside the face."""
    finger = extended((1,))
    away = ((0.45, -0.1, 0.7), (-0.2, 0.95, 0.1), (-0.8, 0.0, -0.3), finger)
    near = ((0.5, 0.24, 0.6), (-0.35, 0.85, -0.35), (-0.9, -0.3, 0.1), finger)
    return evenly(duration_s, away, near, near, away)


def collar(duration_s: float) -> list[HandKey]:
    """Adjusts the collar: a half-closed hand before the breastbone, moving up and down a little."""
    high = ((0.22, -0.16, 0.76), (-0.6, 0.75, -0.15), (-0.45, -0.1, -0.9), CUPPED)
    low = ((0.24, -0.22, 0.78), (-0.6, 0.75, -0.1), (-0.45, -0.1, -0.9), CUPPED)
    return evenly(duration_s, low, high, low, high)


def size(duration_s: float) -> list[HandKey]:
    """Palms that face each other and move apart and together, with both hands: "this large"."""
    near = ((0.22, -0.14, 0.82), (0.0, 0.75, 0.65), (-1.0, 0.0, 0.0), OPEN)
    wide = ((0.46, -0.12, 0.8), (0.1, 0.75, 0.65), (-1.0, 0.1, 0.0), OPEN)
    return evenly(duration_s, near, wide, near, wide)


def so_so(duration_s: float) -> list[HandKey]:
    """A flat hand, palm down, that rocks."""
    places: list[Key] = [
        ((0.36, -0.1, 0.84), (-0.35, 0.55, 0.75), (0.35 * s, -0.75, 0.5), FLAT) for s in (0, 1, -1, 1, -1, 0)
    ]
    return evenly(duration_s, *places)


GESTURES = {
    "wave": wave, "point": point, "count": count, "thumb": thumb_up, "okay": okay, "present": present,
    "push": push, "palm": open_palm, "upper": upper, "lower": lower, "steeple": steeple, "chin": chin,
    "temple": temple, "collar": collar, "size": size, "so_so": so_so,
}  # fmt: skip

# Weights of face targets by name; what is not named keeps the resting face.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "jaw": {"jawOpen": 0.75, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6, "mouthLowerDownLeft": -0.3,
            "mouthLowerDownRight": -0.3, "browInnerUp": 0.3,
            "browOuterUpLeft": 0.25, "browOuterUpRight": 0.25},
    "aa": {"viseme_aa": 1.0, "jawOpen": 0.12, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5,
           "mouthLowerDownLeft": -0.3, "mouthLowerDownRight": -0.3},
    "ee": {"viseme_E": 1.0}, "ii": {"viseme_I": 1.0},
    "oh": {"viseme_O": 1.0, "jawOpen": 0.12}, "uu": {"viseme_U": 1.0},
    "mmm": {"mouthPressLeft": 0.55, "mouthPressRight": 0.55, "mouthRollLower": 0.45, "mouthRollUpper": 0.4},
    "pucker": {"mouthPucker": 0.9},
    "funnel": {"mouthFunnel": 0.75, "jawOpen": 0.2},
    "teeth": {"mouthSmileLeft": 0.75, "mouthSmileRight": 0.75, "mouthUpperUpLeft": 0.4,
              "mouthUpperUpRight": 0.4, "mouthLowerDownLeft": 0.15, "mouthLowerDownRight": 0.15,
              "jawOpen": 0.06, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    "smile": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    "winkL": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.5, "mouthSmileLeft": 0.55, "mouthSmileRight": 0.5},
    "winkR": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.5, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.55},
    "amazed": {"eyeWideLeft": 0.6, "eyeWideRight": 0.6, "browInnerUp": 0.6, "browOuterUpLeft": 0.6,
               "browOuterUpRight": 0.6, "mouthSmileLeft": 0.4, "mouthSmileRight": 0.4, "jawOpen": 0.12,
               "mouthUpperUpLeft": 0.2, "mouthUpperUpRight": 0.2},
    "brows": {"browInnerUp": 0.55, "browOuterUpLeft": 0.6, "browOuterUpRight": 0.6, "mouthSmileLeft": 0.35,
              "mouthSmileRight": 0.35},
    "frown": {"browDownLeft": 0.5, "browDownRight": 0.5, "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3,
              "mouthFrownLeft": 0.3, "mouthFrownRight": 0.3},
    "puff": {"cheekPuff": 0.7, "mouthPressLeft": 0.3, "mouthPressRight": 0.3},
    "mouthL": {"mouthLeft": 0.45}, "mouthR": {"mouthRight": 0.45},
    "closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "ff": {"viseme_FF": 1.0}, "th": {"viseme_TH": 1.0},
}  # fmt: skip

# The face at rest, friendly: without it the mesh looks sullen.
RESTING = {"mouthSmileLeft": 0.42, "mouthSmileRight": 0.42, "browInnerUp": 0.15, "browDownLeft": -0.35,
           "browDownRight": -0.35, "browOuterUpLeft": 0.08, "browOuterUpRight": 0.08,
           "cheekSquintLeft": 0.15, "cheekSquintRight": 0.15, "eyeWideLeft": 0.12,
           "eyeWideRight": 0.12}  # fmt: skip


def face_weights(named: dict[str, float]) -> Array:
    """Weights by target name -> (52,) those of the ARKit targets."""
    return np.array([named.get(name, 0.0) for name in ARKIT_NAMES])


def viseme_weights(named: dict[str, float]) -> Array:
    """Weights by target name -> (15,) those of the viseme targets."""
    return np.array([named.get(f"viseme_{name}", 0.0) for name in VISEMES])


def smooth_step(level: Array) -> Array:
    """0 below 0, 1 above 1, smooth between."""
    level = np.clip(level, 0, 1)
    return np.asarray(level * level * (3 - 2 * level))


def window(times_s: Array, start_s: float, end_s: float, ramp_s: float) -> Array:
    """(T,) 0 outside start..end, 1 inside, with smooth ramps inside the window."""
    return smooth_step(np.minimum(times_s - start_s, end_s - times_s) / ramp_s)


def blink_curve(times_s: Array, starts_s: Array) -> Array:
    """(T,) eyelid closure: shut within 0.1 s, held, open again after 0.31 s."""
    shape_t, shape_v = np.array([0.0, 0.1, 0.17, 0.31]), np.array([0.0, 1.0, 1.0, 0.0])
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
    level = smooth_step((times_s - key_times[at]) / np.maximum(key_times[following] - key_times[at], 1e-6))

    def mix(values: Array) -> Array:
        share = level.reshape(-1, *([1] * (values.ndim - 1)))
        return np.asarray((1 - share) * values[at] + share * values[following])

    wrist, forward, palm = (
        mix(np.array([getattr(key, name) for key in keys]) * outward) for name in ("wrist", "forward", "palm")
    )
    return wrist, forward, palm, mix(np.stack([key.shape for key in keys]))
