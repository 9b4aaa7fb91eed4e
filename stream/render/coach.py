"""Watches a person who films themselves for an avatar: which states were really seen, and what to do better.

`look_at` measures one frame, `Coach` adds the frames up. Left and right are the person's own. What it asks
for is what enrolment warns of, see engine/person/face_measures.py.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.face_measures import (
    BLINK,
    CLOSED_LIPS,
    GOOD_BLINKS,
    GOOD_FACE_PX,
    GOOD_LUMA,
    ONE_SIDED,
    SMILE,
    SWING,
    face_crop,
    lid_openness,
    lip_openness,
    one_sidedness,
    yaw_deg,
)
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import LEFT, RIGHT, VISIBLE, Landmarks
from engine.person.motion import canonical_reference, in_head_axes

# --- when a state counts as seen

TURNED_DEG = 12.0  # to either side of the usual; GOOD_YAW_DEG is wanted between both sides
NODDED_DEG = 8.0
TILTED_DEG = 9.0
STRAIGHT_DEG = 7.0  # from the usual, at rest
SETTLE_S = 0.25  # a state counts from here on: passing through is not holding
LONGEST_STEP_S = 0.5  # between two frames; what lies in a longer gap was not seen
# In seconds, or in how often. That is enough for enrolment to have nothing to warn of.
NEEDED: dict[str, float] = {
    "rest": 1.5,
    "left": 0.6,
    "right": 0.6,
    "up": 0.5,
    "down": 0.5,
    "tilt": 0.6,
    "blink": GOOD_BLINKS,
    "smile": 0.8,
    "lips": 2.2,  # GOOD_CLOSED_SHARE of it
    "speak": 14,  # swings: a dozen syllables
    "left_hand": 1.0,  # GOOD_HAND_SHARE of it
    "right_hand": 1.0,
}

# --- when a hint is given

FAR_SHARE, NEAR_SHARE = 0.12, 0.42  # face width by picture height
OFF_CENTRE_SHARE = 0.2  # of the height, from the middle to either side
HIGH_SHARE, LOW_SHARE = 0.02, 0.66  # of the height: upper edge of the face, its centre
BACKLIT, BACKLIT_LUMA = 1.7, 110.0  # surroundings by face; mean grey of the face, below which it matters
BURNT, BURNT_SHARE = 250, 0.2  # grey, and the share of the face that may be above
_HINTS = {  # most important first
    "no_face": "No face is seen: look at the camera.",
    "dark": "Too dark: put a lamp or a window in front of you.",
    "backlit": "The light is behind you: turn around, or close the curtain behind you.",
    "one_sided": "One half of your face is in shadow: turn towards the light.",
    "burnt": "Too bright: move away from the lamp a little.",
    "near": "You are very close: move back until there is room for your hands.",
    "far": "You are far away: come closer.",
    "off_centre": "Move to the middle of the picture.",
    "high": "Your head leaves the picture: sit lower, or tilt the camera up.",
    "low": "You sit low in the picture: tilt the camera down.",
    "shoulders": "Both shoulders should be in the picture: move back a little.",
}
MAX_HINTS = 2
_HINT_LOOKS = 12  # of the newest; a hint is given where more than half call for it
_USUAL_LOOKS = 300  # what is usual is the median of these: 20 s at 15 a second
_LEAST_LOOKS = 10
_GREY_STEP_PX = 8  # of the surroundings one pixel in so many is looked at


@dataclass(frozen=True, slots=True)
class Face:
    """One face, measured; angles in degrees as engine.person.geometry has them, the rest without unit."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    lips: float  # gap by width of the mouth
    lids: float  # gap by width of the eyes
    smile: float  # width of the mouth by the distance between the eyes


@dataclass(frozen=True, slots=True)
class Look:
    """One frame, measured."""

    time_s: float
    face: Face | None
    hands: tuple[bool, bool]  # seen, left and right
    faults: frozenset[str]  # names of hints that this frame calls for


def look_at(rgb: U8Image, landmarks: Landmarks, time_s: float, recorded_lines: int) -> Look:
    """rgb: (H, W, 3) uint8 RGB, the picture that the landmarks are of, not mirrored.

    recorded_lines: height of what is recorded, px; it may be larger than the picture that is seen here.
    """
    left, right = (bool(landmarks.hand_confidence[side] >= VISIBLE) for side in (LEFT, RIGHT))
    if landmarks.face_confidence < VISIBLE:
        return Look(time_s, None, (left, right), frozenset({"no_face"}))
    faults = frozenset({*_framing(landmarks, recorded_lines), *_light(rgb, landmarks)})
    return Look(time_s, _measured(landmarks), (left, right), faults)


def _measured(landmarks: Landmarks) -> Face:
    points = landmarks.face
    _, rotation, *_ = in_head_axes(points, canonical_reference())
    _, pitch, roll = (float(angle) for angle in rotation_to_euler_deg(rotation))
    return Face(
        yaw_deg=float(yaw_deg(points)),
        pitch_deg=pitch,
        roll_deg=roll,
        lips=float(lip_openness(points)),
        lids=float(lid_openness(points)),
        smile=_between(points, *topo.MOUTH_OUTER_CORNERS)
        / max(_between(points, *topo.EYE_OUTER_CORNERS), 1e-3),
    )


def _between(points: FloatArray, start: int, end: int) -> float:
    """Distance of two points in space, so that a turned head does not change it."""
    return float(np.linalg.norm(points[start] - points[end]))


def _framing(landmarks: Landmarks, recorded_lines: int) -> Iterator[str]:
    width, height = landmarks.width, landmarks.height
    low, high = landmarks.face[:, :2].min(axis=0), landmarks.face[:, :2].max(axis=0)
    share, centre = float(high[0] - low[0]) / height, (low + high) / 2
    if share > NEAR_SHARE:
        yield "near"
    elif share < max(FAR_SHARE, GOOD_FACE_PX / recorded_lines):
        yield "far"
    if abs(float(centre[0]) - width / 2) > OFF_CENTRE_SHARE * height:
        yield "off_centre"
    if low[1] < HIGH_SHARE * height:
        yield "high"
    elif centre[1] > LOW_SHARE * height:
        yield "low"
    shoulders = landmarks.pose[topo.SHOULDERS, :2]
    inside = ((shoulders >= 0) & (shoulders < (width, height))).all()
    if not inside or landmarks.pose_confidence[topo.SHOULDERS].min() < VISIBLE:
        yield "shoulders"


def _light(rgb: U8Image, landmarks: Landmarks) -> Iterator[str]:
    grey = face_crop(rgb, landmarks)
    if grey is None:
        return
    face = float(grey.mean())
    around = float(rgb[::_GREY_STEP_PX, ::_GREY_STEP_PX].mean())
    if around > BACKLIT * face and face < BACKLIT_LUMA:
        yield "backlit"
    elif face < GOOD_LUMA:
        yield "dark"
    elif float((grey >= BURNT).mean()) > BURNT_SHARE:
        yield "burnt"
    if one_sidedness(grey) > ONE_SIDED:
        yield "one_sided"


class Coach:
    """Use: see() every frame's look, report() now and then, start_over() when the recording begins."""

    def __init__(self) -> None:
        self._usual: deque[Face] = deque(maxlen=_USUAL_LOOKS)
        self._faults: deque[frozenset[str]] = deque(maxlen=_HINT_LOOKS)
        self.start_over()

    def start_over(self) -> None:
        """Forget what was seen, but not what is usual of this person."""
        self._amount = dict.fromkeys(NEEDED, 0.0)
        self._held_s: dict[str, float] = {}
        self._time_s: float | None = None
        self._shut = False
        self._turning_point = 0.0  # of the lips' gap
        self._opening = False

    def see(self, look: Look) -> None:
        """One more frame, later than the one before."""
        step_s = 0.0 if self._time_s is None else look.time_s - self._time_s
        self._time_s = look.time_s
        self._faults.append(look.faults)
        states = {name for name, seen in zip(("left_hand", "right_hand"), look.hands, strict=True) if seen}
        if look.face is not None:
            self._usual.append(look.face)
            if len(self._usual) >= _LEAST_LOOKS:
                states |= self._states(look.face)
        # Between two frames lasts what both show: one frame alone may be the tracker's mistake.
        went_on = states & self._held_s.keys() if 0.0 < step_s <= LONGEST_STEP_S else set()
        self._held_s = {state: self._held_s[state] + step_s if state in went_on else 0.0 for state in states}
        for state in went_on:
            if self._held_s[state] > SETTLE_S:
                self._amount[state] += step_s

    def report(self) -> dict[str, Any]:
        """For the page: {"seen": how much of each state, 0..1, "hints": sentences, at most MAX_HINTS}."""
        seen = {name: round(min(self._amount[name] / needed, 1.0), 2) for name, needed in NEEDED.items()}
        return {"seen": seen, "hints": self.hints()}

    def hints(self) -> list[str]:
        """What to do better now, the most important first."""
        counts = Counter(fault for faults in self._faults for fault in faults)
        called = [text for name, text in _HINTS.items() if 2 * counts[name] > max(len(self._faults), 4)]
        return called[:MAX_HINTS]

    def _states(self, face: Face) -> set[str]:
        """Those that hold in this frame; blinks and speech are counted on the way."""
        usual = {
            name: float(np.median([getattr(one, name) for one in self._usual])) for name in Face.__slots__
        }
        yaw, pitch, roll = (
            getattr(face, name) - usual[name] for name in ("yaw_deg", "pitch_deg", "roll_deg")
        )
        shut = face.lids < BLINK * usual["lids"]
        self._count_blink(shut)
        self._count_swing(face.lips)
        closed = face.lips < CLOSED_LIPS
        holds = {
            "rest": max(abs(yaw), abs(pitch), abs(roll)) < STRAIGHT_DEG and closed and not shut,
            "left": yaw > TURNED_DEG,
            "right": yaw < -TURNED_DEG,
            "up": pitch < -NODDED_DEG,
            "down": pitch > NODDED_DEG,
            "tilt": abs(roll) > TILTED_DEG,
            "smile": face.smile > SMILE * usual["smile"],
            "lips": closed,
        }
        return {name for name, does in holds.items() if does}

    def _count_blink(self, shut: bool) -> None:
        """A blink is over when the lids are open again."""
        self._amount["blink"] += self._shut and not shut
        self._shut = shut

    def _count_swing(self, lips: float) -> None:
        """The lips' gap goes up and down by SWING and more as one speaks."""
        change = lips - self._turning_point
        if (change > 0) == self._opening:
            self._turning_point = lips
        elif abs(change) > SWING:
            self._turning_point, self._opening = lips, not self._opening
            self._amount["speak"] += 1
