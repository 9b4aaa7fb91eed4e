"""The script: what the presenter does when. Pure data; `motion.py` performs it.

Every act holds talking, expressions, head sweeps with closed and with talking mouth, tracked and written
hand gestures and a rest, so the last act (the evaluation tail) shows nothing of a new kind. No stretch of a
talking clip is used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ACT_S = 12.6
DRIVER_S = 7.0


@dataclass(frozen=True)
class Talk:
    """A stretch of tracked talking: source clip, where it starts there, when and how long it is shown."""

    clip: str
    source_s: float
    start_s: float
    length_s: float


@dataclass(frozen=True)
class Sweep:
    """A head movement there and back: peak angles in degrees (yaw, pitch, roll) within start..start+length.

    gaze: how much the eyes stay on the camera meanwhile, 0..1.
    """

    start_s: float
    length_s: float
    peak_deg: tuple[float, float, float]
    both_ways: bool = True
    gaze: float = 0.0


@dataclass(frozen=True)
class Hands:
    """Hands in view: `kind` is a sign clip, "talk" (the hands of the talk shown) or a written gesture.

    side: 0 left, 1 right, 2 both.
    """

    kind: str
    start_s: float
    length_s: float
    side: int = 2


@dataclass(frozen=True)
class Act:
    """One interleaved stretch of the performance, times from its own start."""

    length_s: float
    talks: tuple[Talk, ...]
    expressions: tuple[tuple[float, float, str], ...]  # start, length, names joined by +
    sweeps: tuple[Sweep, ...]
    hands: tuple[Hands, ...]
    lean: tuple[float, float, float]  # turn, bend, lean in degrees, reached in the middle of the act
    shift_m: tuple[float, float, float]


def make_act(
    talks: Sequence[tuple[str, float]],
    expressions: Sequence[str],
    hands: Sequence[tuple[str, int]],
    sign: float,
) -> Act:
    """Lays out one act of ACT_S seconds.

    talks: two (clip, source start); expressions: seven names; hands: four (kind, side);
    sign mirrors the sweeps.
    """
    slots = [(4.9, 0.75), (5.6, 0.75), (6.3, 0.75), (7.0, 0.75), (0.45, 0.8), (11.2, 0.7), (11.85, 0.7)]
    return Act(
        ACT_S,
        (Talk(*talks[0], 1.2, 3.7), Talk(*talks[1], 8.7, 2.5)),
        tuple((start, length, name) for (start, length), name in zip(slots, expressions, strict=True)),
        (
            Sweep(1.7, 2.8, (6 * sign, 17.0, 3 * sign), gaze=0.5),
            Sweep(4.9, 2.4, (8 * sign, 0.0, 12.5 * sign)),
            Sweep(7.1, 2.2, (33.0 * sign, -4.0, 0.0), gaze=0.3 if sign > 0 else 0.8),
            Sweep(9.2, 2.4, (28.0 * sign, 9.0 * sign, -7.0), gaze=0.6 if sign > 0 else 0.0),
        ),
        (
            Hands(hands[0][0], 1.3, 3.3, hands[0][1]),
            Hands(hands[1][0], 5.2, 1.9, hands[1][1]),
            Hands(hands[2][0], 7.7, 2.2, hands[2][1]),
            Hands(hands[3][0], 10.0, 1.9, hands[3][1]),
        ),
        (6.0 * sign, 5.0, 4.0 * sign),
        (0.02 * sign, 0.0, 0.05),
    )


ACTS: tuple[Act, ...] = (
    make_act(
        [("tshirt", 0.2), ("tshirt", 4.0)],
        ["jaw", "pucker", "teeth+lookL", "mmm", "smile", "winkL", "brows"],
        [("talk", 2), ("count", 1), ("help", 2), ("wave", 0)],
        1,
    ),
    make_act(
        [("tshirt", 9.2), ("tshirt", 6.5)],
        ["oh", "amazed", "mmm+lookD", "ee", "closed", "frown", "smile+lookR"],
        [("talk", 2), ("point", 0), ("present", 2), ("student", 2)],
        -1,
    ),
    make_act(
        [("sweater", 2.8), ("tshirt", 13.0)],
        ["teeth", "puff", "winkR", "jaw+lookU", "mouthL", "pucker+lookL", "mmm"],
        [("walk", 2), ("okay", 1), ("push", 2), ("fist", 0)],
        1,
    ),
    make_act(
        [("sweater", 6.6), ("tshirt", 15.5)],
        ["ff", "jaw+closed", "brows+lookR", "pucker", "mmm+lookU", "mouthR", "winkL"],
        [("sister", 2), ("wave", 1), ("learn", 2), ("count", 0)],
        -1,
    ),
    make_act(
        [("sweater", 10.4), ("tshirt", 18.0)],
        ["teeth", "oh", "winkR+lookL", "jaw", "mmm", "pucker+closed", "amazed"],
        [("again", 2), ("point", 1), ("present", 2), ("wave", 0)],
        1,
    ),
)

DRIVER = Act(
    DRIVER_S,
    (Talk("sweater", 14.2, 0.6, 3.2), Talk("sweater", 17.6, 5.0, 1.7)),
    ((3.7, 0.8, "smile"), (4.3, 0.8, "jaw+brows"), (0.3, 0.4, "mmm")),
    (Sweep(1.0, 2.6, (24.0, 5.0, 4.0), gaze=0.6), Sweep(4.4, 2.2, (-18.0, -10.0, 8.0))),
    (Hands("want", 1.6, 1.7, 2), Hands("wave", 4.4, 2.2, 1)),
    (-4.0, 4.0, -3.0),
    (-0.015, 0.0, 0.04),
)
