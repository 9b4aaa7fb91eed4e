"""What an avatar knows of how its person speaks and rests: numbers fitted to their film, no sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.gaze import EYEBALL
from engine.person.geometry import rotation_to_euler_deg
from engine.person.motion import Motion, Neutral
from engine.voice.idle import Habits
from engine.voice.manner import MANNERS, Manner
from engine.voice.speaker import SpeakerFit
from engine.voice.voice_print import NUMBERS

HABITS, NODS = 8, 2  # numbers; older avatars know nothing of nods
MOST_OFTEN = 120.0  # a minute, and degrees: more of anything is no habit
_SHUT, _OPEN = 0.35, 0.6  # of the lids' range: a blink goes below the one, and is over above the other
_LONGEST_BLINK_S = 0.6  # what lasts longer are eyes held shut
_RATE = (4.0, 40.0)  # blinks a minute that are believed
_NOD_DEG, _NOD_S = 2.0, (0.2, 1.0)  # down and back up by so much, within such a time
_NODS_PER_MIN = (4.0, 16.0)  # a minute; one who reads aloud may not nod at all, and still listens
_NOD_DEPTH_DEG = (2.0, 6.0)
_SLOW_S = 2.0  # of the head's motion, what is slower is a pose that was asked for
# Standard deviations, of what people do at rest: a film in which one looks about on purpose shows more.
_TURN_DEG, _SHIFT, _GLANCE_DEG = (0.5, 2.5), (0.005, 0.03), (1.0, 5.0)


@dataclass(frozen=True, slots=True)
class OwnVoice:
    """Of one person."""

    habits: Habits
    fit: SpeakerFit | None = None  # None: too little of them was heard
    manner: Manner | None = None  # the same
    print: FloatArray | None = (
        None  # of their voice, see engine.voice.voice_print; None: nobody agreed to one
    )


def habits_of(motions: Sequence[Motion], neutral: Neutral, seconds: float) -> Habits:
    """From `seconds` of film of them, all of whose frames are in `motions`, in order."""
    seen = [motion for motion in motions if motion.face_confidence > 0]
    if len(seen) < 2 or seconds <= 0:
        return Habits()
    usual = Habits()
    step_s = seconds / len(motions)
    open_range = np.maximum(neutral.lid_open - neutral.lid_closed, 1e-3)
    lids = np.array([((motion.lid_gap - neutral.lid_closed) / open_range).mean() for motion in seen])
    per_min = _blinks(lids, step_s) * 60.0 / (len(seen) * step_s)
    turns = np.array([rotation_to_euler_deg(motion.rotation @ neutral.rotation.T) for motion in seen])
    shifts = np.array([(motion.centre - neutral.centre) / neutral.scale for motion in seen])
    eyes = np.array([motion.expression[np.concatenate(topo.IRISES), 0].mean() for motion in seen])
    window = max(3, round(_SLOW_S / step_s))
    turn, shift = _each(turns, window, _TURN_DEG), _each(shifts, window, _SHIFT)
    nods = _nods(turns[:, 1], step_s)
    nods_per_min = len(nods) * 60.0 / (len(seen) * step_s)
    return Habits(
        blinks_per_min=float(np.clip(per_min, *_RATE)),
        breaths_per_min=usual.breaths_per_min,  # a chest that is tracked for half a minute tells no rate
        glance_deg=float(np.clip(np.degrees(_quick(eyes, window) / EYEBALL), *_GLANCE_DEG)),
        turn_deg=(turn[0], turn[1], turn[2]),
        shift=(shift[0], shift[1]),
        nods_per_min=float(np.clip(nods_per_min, *_NODS_PER_MIN)),
        nod_deg=float(np.clip(np.median(nods), *_NOD_DEPTH_DEG)) if nods else usual.nod_deg,
    )


def _nods(pitch_deg: NDArray[np.float64], step_s: float) -> list[float]:
    """How deep each was: a way down and one back up, each by _NOD_DEG, within _NOD_S."""
    depths: list[float] = []
    top_at = bottom_at = 0
    for at, deg in enumerate(pitch_deg):
        if deg >= pitch_deg[bottom_at]:  # positive is down
            bottom_at = at
        down = float(pitch_deg[bottom_at] - pitch_deg[top_at])
        up = float(pitch_deg[bottom_at] - deg)
        if down >= _NOD_DEG and up >= _NOD_DEG:
            if _NOD_S[0] <= (at - top_at) * step_s <= _NOD_S[1]:
                depths.append(min(down, up))
            top_at = bottom_at = at
        elif deg <= pitch_deg[top_at] or (at - top_at) * step_s > _NOD_S[1]:
            top_at = bottom_at = at
    return depths


def _blinks(lids: NDArray[np.float64], step_s: float) -> int:
    """How often both shut and open again within the time of a blink."""
    count, shut_for = 0, 0
    for openness in lids:
        if openness < _SHUT or (shut_for and openness < _OPEN):
            shut_for += 1
        else:
            count += 0 < shut_for * step_s <= _LONGEST_BLINK_S
            shut_for = 0
    return count


def _each(values: NDArray[np.float64], window: int, limits: tuple[float, float]) -> list[float]:
    return [float(np.clip(_quick(column, window), *limits)) for column in values.T]


def _quick(values: NDArray[np.float64], window: int) -> float:
    """Median over windows of the standard deviation within each: poses that are held do not count."""
    pieces = [values[at : at + window] for at in range(0, max(1, len(values) - window + 1), window)]
    return float(np.median([piece.std() for piece in pieces]))


def voice_arrays(voice: OwnVoice) -> dict[str, FloatArray]:
    """As an avatar keeps them."""
    habits = voice.habits
    rates = [
        habits.blinks_per_min,
        habits.breaths_per_min,
        habits.glance_deg,
        *habits.turn_deg,
        *habits.shift,
    ]
    nods = [habits.nods_per_min, habits.nod_deg]
    fit = {} if voice.fit is None else voice.fit.arrays()
    manner = {} if voice.manner is None else voice.manner.arrays()
    return {
        "habits": np.array(rates, np.float32),
        "nods": np.array(nods, np.float32),
        **{f"fit_{name}": value for name, value in fit.items()},
        **{f"manner_{name}": value for name, value in manner.items()},
        **({} if voice.print is None else {"print": voice.print}),
    }


def voice_of(arrays: Mapping[str, FloatArray]) -> OwnVoice:
    """Inverse of `voice_arrays`. Raises ValueError where something is missing, or of another shape.

    A fit of an earlier version, to what this one does not hear any more, is left out.
    """
    if "habits" not in arrays:
        raise ValueError("array habits is missing")
    for name, count in (("habits", HABITS), ("nods", NODS), ("print", NUMBERS)):
        if name in arrays and (found := arrays[name].shape) != (count,):
            raise ValueError(f"array {name} is {found}; wanted {(count,)}")
    rates, nods = arrays["habits"].tolist(), arrays["nods"].tolist() if "nods" in arrays else []
    habits = Habits(rates[0], rates[1], rates[2], (rates[3], rates[4], rates[5]), (rates[6], rates[7]), *nods)
    fit, manner = (
        {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
        for prefix in ("fit_", "manner_")
    )
    known = SpeakerFit.of(fit) if "hearing" in fit else None
    return OwnVoice(
        habits,
        known if known is not None and known.is_of_now else None,
        Manner.of(manner, len(MANNERS)) if manner else None,
        arrays.get("print"),
    )
