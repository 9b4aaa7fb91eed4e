"""The script: what the presenter does when. Pure data; `motion.py` performs it.

Every act holds speech, mouth shapes, head sweeps, gestures of one and of both hands and rests, so the last
acts (the tail to evaluate on) show nothing of a new kind. The driver's gestures and speech occur nowhere
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ACT_S = 13.0
DRIVER_S = 10.0


@dataclass(frozen=True)
class Talk:
    """A stretch of speech: recording, where it starts there, when and how long it is heard.

    The head moves as in a filmed talk: its clip, where it starts there, and whether sides are changed over.
    """

    speech: str
    source_s: float
    length_s: float
    clip: str
    clip_s: float
    is_mirrored: bool = False
    start_s: float = 0.0


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
    """A hand in view: `kind` is a sign clip, "talk" (the hands of the talk's clip) or a written gesture.

    side: 0 left, 1 right, 2 both.
    """

    kind: str
    start_s: float
    length_s: float
    side: int = 2


@dataclass(frozen=True)
class Act:
    """A stretch of a clip; times count from its start, or from the clip's once joined."""

    length_s: float
    talks: tuple[Talk, ...]
    expressions: tuple[tuple[float, float, str], ...]  # start, length, names joined by +
    sweeps: tuple[Sweep, ...]
    hands: tuple[Hands, ...]


def make_act(
    talks: tuple[Talk, Talk],
    mouths: Sequence[str],
    ending: str,
    hands: Sequence[tuple[str, int]],
    sign: float,
    *,
    turns_talking: bool,
) -> Act:
    """Lays out one act of ACT_S seconds: speech, mouth shapes, speech, each with a gesture.

    mouths: four names, shown between the talks; hands: three (kind, side), or two kinds joined by +,
    the left hand's first; sign mirrors the sweeps; turns_talking: the large turn comes with the second talk.
    """
    first, second = replace(talks[0], start_s=1.25), replace(talks[1], start_s=8.35)
    slots = [(4.85 + 0.88 * number, 0.86) for number in range(4)]
    turn = Sweep(
        8.4 if turns_talking else 4.9, 3.4, (36.5 * sign, 5.0 * sign, -3.0), gaze=0.75 if sign > 0 else 0.3
    )
    nod = Sweep(5.0 if turns_talking else 8.7, 3.2, (3.0 * sign, 17.0, 11.0 * sign), gaze=0.7)
    gestures = [(1.45, 2.75), (4.9, 2.45), (8.7, 2.7)] if sign > 0 else [(1.6, 2.7), (5.6, 2.45), (9.1, 2.7)]
    return Act(
        ACT_S,
        (first, second),
        (
            *((start, length, name) for (start, length), name in zip(slots, mouths, strict=True)),
            (11.9, 0.95, ending),
        ),
        (turn, nod),
        tuple(
            Hands(part, start, length, number if "+" in kind else side)
            for (start, length), (kind, side) in zip(gestures, hands, strict=True)
            for number, part in enumerate(kind.split("+"))
        ),
    )


ACTS: tuple[Act, ...] = (
    make_act(
        (Talk("kennedy", 0.15, 2.3, "tshirt", 0.3), Talk("speaker", 1.4, 3.2, "tshirt", 3.4)),
        ["jaw", "pucker", "teeth", "mmm"], "smile",
        [("palm", 2), ("count", 1), ("push", 0)], 1, turns_talking=False,
    ),
    make_act(
        (Talk("reader", 0.0, 2.8, "tshirt", 9.3), Talk("speaker", 7.25, 2.5, "sweater", 2.9)),
        ["aa", "mouthL", "ee", "puff"], "winkL",
        [("talk", 2), ("point", 0), ("lower+upper", 2)], -1, turns_talking=True,
    ),
    make_act(
        (Talk("kennedy", 5.25, 2.6, "tshirt", 12.3), Talk("speaker", 9.6, 4.0, "sweater", 5.6)),
        ["ii", "jaw", "oh", "ff"], "amazed",
        [("chin", 1), ("present", 2), ("wave", 0)], 1, turns_talking=True,
    ),
    make_act(
        (Talk("speaker", 11.65, 3.2, "tshirt", 15.4), Talk("reader", 3.15, 3.2, "sweater", 9.8)),
        ["funnel", "uu", "mouthR", "th"], "winkR",
        [("again", 2), ("okay", 1), ("steeple", 2)], -1, turns_talking=False,
    ),
    make_act(
        (Talk("speaker", 15.7, 3.5, "tshirt", 0.4, True), Talk("kennedy", 3.1, 1.4, "sweater", 11.9)),
        ["teeth", "aa", "mmm", "pucker"], "brows",
        [("temple", 0), ("talk", 2), ("thumb", 1)], 1, turns_talking=False,
    ),
    make_act(
        (Talk("reader", 6.55, 3.45, "tshirt", 9.4, True), Talk("speaker", 19.15, 2.6, "tshirt", 4.4, True)),
        ["ee", "jaw", "uu", "th"], "winkL",
        [("night", 2), ("collar", 1), ("wave", 1)], -1, turns_talking=True,
    ),
    make_act(
        (Talk("kennedy", 8.0, 2.6, "sweater", 3.3, True), Talk("speaker", 21.75, 3.6, "tshirt", 13.5, True)),
        ["jaw", "oh", "teeth", "pucker"], "smile",
        [("present", 2), ("count", 0), ("palm", 1)], 1, turns_talking=False,
    ),
)  # fmt: skip

DRIVER = Act(
    DRIVER_S,
    (
        Talk("speaker", 4.5, 1.95, "sweater", 14.0, start_s=1.1),
        Talk("speaker", 25.45, 2.3, "sweater", 17.0, start_s=6.4),
    ),
    ((3.3, 1.2, "smile"), (9.0, 0.9, "smile")),
    (
        Sweep(3.3, 2.2, (26.0, 4.0, 3.0), both_ways=False, gaze=0.7),
        Sweep(6.0, 2.2, (-24.0, -6.0, -4.0), both_ways=False, gaze=0.4),
    ),
    (Hands("size", 1.2, 2.7, 2), Hands("so_so", 6.2, 2.6, 1)),
)


def joined(acts: Sequence[Act]) -> Act:
    """The acts one after the other, with times from the start of the first."""
    begins = [sum(act.length_s for act in acts[:number]) for number in range(len(acts))]
    pairs = list(zip(begins, acts, strict=True))
    return Act(
        sum(act.length_s for act in acts),
        tuple(replace(x, start_s=begin + x.start_s) for begin, act in pairs for x in act.talks),
        tuple(
            (begin + start, length, name) for begin, act in pairs for start, length, name in act.expressions
        ),
        tuple(replace(x, start_s=begin + x.start_s) for begin, act in pairs for x in act.sweeps),
        tuple(replace(x, start_s=begin + x.start_s) for begin, act in pairs for x in act.hands),
    )


SCRIPTS = {"performance": joined(ACTS), "driver": DRIVER}
