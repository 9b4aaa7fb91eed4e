"""Composes the performance: tracked clips and written motion, interleaved into acts of the same make-up.

    python -m benchmarks.presenter.motion --data DATA --work WORK [--out performance.npz]

What happens when is written in `script.py`, gestures and expressions in `gestures.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from benchmarks.presenter.gestures import (
    EXPRESSIONS,
    GESTURES,
    HANGING,
    RESTING,
    blink_curve,
    face_weights,
    sample_keys,
    window,
)
from benchmarks.presenter.performance import ARKIT_NAMES, FRAME_RATE_HZ, Array, Performance, save_performances
from benchmarks.presenter.script import ACTS, DRIVER, Act, Hands, Talk
from benchmarks.presenter.tracking import Track, smooth, track_clip, unit

HAND_RAMP_S = 0.5
NEUTRAL_S = 1.0  # the footage starts with the resting face, for enrolment
TALK_CLIPS = {"tshirt": "footage/man_tshirt_hands_20s.mp4", "sweater": "footage/man_sweater_hands_20s.mp4"}
CROPS = {"tshirt": (40, 420, 1000)}  # x, y, side of the speaker in the tall picture
SIGN_FOLDER = "drivers/asl_gestures"
# Sign clips whose hands are tracked well; the driver's are used nowhere else.
SIGNS = (
    "again",
    "help",
    "book",
    "student",
    "walk",
    "learn",
    "want",
    "sister",
    "school",
    "night",
    "sorry",
    "please",
)
MOUTH_GAIN = {"tshirt": 1.5, "sweater": 2.0}  # the trackers see less than the lips do
JAW_GAIN = {"tshirt": 2.2, "sweater": 3.5}
HAND_TURN_SPAN = 1.4  # frames, Gaussian sigma of the hand rotations
EYES_AND_BROWS = ("eye", "brow")


class Composer:
    """Turns one act into frames, given the tracks by clip name."""

    def __init__(self, tracks: dict[str, Track], seed: int) -> None:
        self._tracks = tracks
        self._random = np.random.default_rng(seed)

    def compose(self, act: Act, is_first: bool) -> Performance:
        times = np.arange(round(act.length_s * FRAME_RATE_HZ)) / FRAME_RATE_HZ
        face = np.tile(face_weights(RESTING), (len(times), 1))
        head = np.zeros((len(times), 3))
        torso = np.zeros((len(times), 3))
        for talk in act.talks:
            self._add_talk(face, head, torso, times, talk)
        self._add_expressions(face, times, act, NEUTRAL_S if is_first else 0.0)
        self._add_sweeps(face, head, torso, times, act)
        self._add_blinks(face, times, act, NEUTRAL_S if is_first else 0.3)
        middle = window(times, 0.8, act.length_s - 0.3, 0.45 * act.length_s)[:, None]
        torso += middle * np.radians(act.lean)
        shift = middle * np.array(act.shift_m)
        wrist, forward, palm, fingers = self._hands(times, act)
        return Performance(face, head, torso, shift, wrist, forward, palm, fingers)

    def _source(self, talk: Talk) -> slice:
        first = round(talk.source_s * FRAME_RATE_HZ)
        return slice(first, first + round(talk.length_s * FRAME_RATE_HZ))

    def _add_talk(self, face: Array, head: Array, torso: Array, times: Array, talk: Talk) -> None:
        track, source = self._tracks[talk.clip], self._source(talk)
        first = round(talk.start_s * FRAME_RATE_HZ)
        shown = slice(first, first + len(track.face[source]))
        share = window(times, talk.start_s, talk.start_s + len(track.face[source]) / FRAME_RATE_HZ, 0.2)[
            shown, None
        ]
        face[shown] += share * (
            talking_face(track, MOUTH_GAIN[talk.clip], JAW_GAIN[talk.clip])[source] - face[shown]
        )
        nod = track.head[source] - np.median(track.head, axis=0)
        head[shown] += share * 1.2 * nod
        torso[shown, 2] += share[:, 0] * 0.5 * (track.lean[source] - np.median(track.lean, axis=0))[:, 0]

    @staticmethod
    def _add_expressions(face: Array, times: Array, act: Act, neutral_s: float) -> None:
        for start, length, names in act.expressions:
            if start < neutral_s:
                continue
            row = face_weights(RESTING)
            for name in names.split("+"):
                row = np.where(face_weights(EXPRESSIONS[name]) > 0, face_weights(EXPRESSIONS[name]), row)
            if "mouthSmileLeft" not in EXPRESSIONS[names.split("+")[0]]:
                row[[ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]] = 0.05
            share = window(times, start, start + length, 0.22)[:, None]
            face += share * (row - face)

    def _add_sweeps(self, face: Array, head: Array, torso: Array, times: Array, act: Act) -> None:
        for sweep in act.sweeps:
            phase = np.clip((times - sweep.start_s) / sweep.length_s, 0, 1)
            # One full turn to each side; the square root flattens the peaks so that extremes last.
            wave = np.sin(2 * np.pi * phase) if sweep.both_ways else np.sin(np.pi * phase) ** 2
            wave = np.sign(wave) * np.abs(wave) ** 0.8
            turn = wave[:, None] * np.radians(sweep.peak_deg)
            head += turn
            torso[:, 0] += 0.2 * turn[:, 0]
            face += sweep.gaze * counter_gaze(turn)
        clip = np.radians([36, 20, 15])
        head[:] = clip * np.tanh(head / clip * 1.05)

    def _add_blinks(self, face: Array, times: Array, act: Act, first_s: float) -> None:
        starts = first_s + 0.4 + np.cumsum(self._random.uniform(1.7, 3.0, size=12))
        starts = np.concatenate([[first_s + 0.3], starts])
        for start, length, names in act.expressions:
            if "wink" in names:  # a blink would hide it
                starts = starts[(starts < start - 0.35) | (starts > start + length)]
        closed = blink_curve(times, starts[starts < times[-1] - 0.4])
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            column = ARKIT_NAMES.index(name)
            face[:, column] = np.maximum(face[:, column], closed)
        for name in ("eyeWideLeft", "eyeWideRight", "eyeLookDownLeft", "eyeLookDownRight"):
            face[:, ARKIT_NAMES.index(name)] *= 1 - closed

    def _hands(self, times: Array, act: Act) -> tuple[Array, Array, Array, Array]:
        sides = [sample_keys([HANGING], times, side) for side in (0, 1)]
        wrist, forward, palm, fingers = (np.stack([s[k] for s in sides], axis=1) for k in range(4))
        for hands in act.hands:
            for side in (0, 1) if hands.side == 2 else (hands.side,):
                self._add_hand(wrist, forward, palm, fingers, times, act, hands, side)
        wrist = smooth(wrist, 0.34, FRAME_RATE_HZ)
        turned = [smooth_turns(unit(forward[:, side]), unit(palm[:, side])) for side in (0, 1)]
        forward, palm = (np.stack([pair[k] for pair in turned], axis=1) for k in (0, 1))
        fingers = gaussian_filter1d(fingers, 0.8, axis=0, mode="nearest")
        return part_wrists(wrist), forward, palm, fingers

    def _add_hand(
        self,
        wrist: Array,
        forward: Array,
        palm: Array,
        fingers: Array,
        times: Array,
        act: Act,
        hands: Hands,
        side: int,
    ) -> None:
        local = times - hands.start_s
        if hands.kind in GESTURES:
            moved = sample_keys(GESTURES[hands.kind](hands.length_s), np.clip(local, 0, hands.length_s), side)
            share = window(times, hands.start_s, hands.start_s + hands.length_s, HAND_RAMP_S)
        else:
            clip, begin = hands.kind, 0.0
            if clip == "talk":
                clip, begin = act.talks[0].clip, act.talks[0].source_s + hands.start_s - act.talks[0].start_s
            found = tracked_hand(self._tracks[clip], begin, local, hands.length_s, side)
            moved, seen = found[:4], found[4]
            share = window(times, hands.start_s, hands.start_s + hands.length_s, HAND_RAMP_S) * seen
        for target, source in zip((wrist, forward, palm, fingers), moved, strict=True):
            weight = share.reshape(-1, *([1] * (source.ndim - 1)))
            target[:, side] += weight * (source - target[:, side])
        # Hanging and raised hands point opposite ways: pass through "towards the camera" in between.
        forward[:, side, 2] += 1.2 * share * (1 - share)


def talking_face(track: Track, mouth_gain: float, jaw_gain: float) -> Array:
    """(T, 52) weights for the mesh from tracked ones: offsets removed, mouth amplified, eyes wide awake."""
    rest = np.percentile(track.face, 8, axis=0)
    face = np.maximum(track.face - rest, 0.0)
    for column, name in enumerate(ARKIT_NAMES):
        if name.startswith("eyeBlink"):
            face[:, column] = np.clip((track.face[:, column] - 0.4) / 0.3, 0, 1)
        elif name.startswith("eyeLook"):
            face[:, column] = 0.6 * np.maximum(track.face[:, column] - np.median(track.face[:, column]), 0)
        elif name.startswith("browDown"):
            face[:, column] = 0.35 * face[:, column] - 0.35
        elif name.startswith("mouthSmile"):
            face[:, column] = 0.12 + 0.6 * face[:, column]
        elif name == "jawOpen":
            face[:, column] *= jaw_gain
        elif name.startswith(("mouthUpperUp", "mouthShrug")):
            face[:, column] *= 0.7
        elif not name.startswith(EYES_AND_BROWS):
            face[:, column] *= mouth_gain
    # Teeth must not show through lips that the jaw keeps together.
    lips = ARKIT_NAMES.index("mouthClose")
    face[:, lips] = np.minimum(face[:, lips], face[:, ARKIT_NAMES.index("jawOpen")])
    return np.asarray(np.clip(face, -0.35, 1.0))


def counter_gaze(turn: Array) -> Array:
    """turn: (T, 3) radians of head movement -> (T, 52) eye weights that keep looking at the camera."""
    full = np.radians(32)
    face = np.zeros((len(turn), len(ARKIT_NAMES)))
    right, left = np.clip(turn[:, 0] / full, 0, 1), np.clip(-turn[:, 0] / full, 0, 1)
    up, down = np.clip(turn[:, 1] / full, 0, 1), np.clip(-turn[:, 1] / full, 0, 1)
    for name, value in {
        "eyeLookInLeft": right, "eyeLookOutRight": right, "eyeLookOutLeft": left, "eyeLookInRight": left,
        "eyeLookUpLeft": up, "eyeLookUpRight": up, "eyeLookDownLeft": down, "eyeLookDownRight": down,
    }.items():  # fmt: skip
        face[:, ARKIT_NAMES.index(name)] = value
    return face


def tracked_hand(
    track: Track, begin_s: float, local_s: Array, length_s: float, side: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Hand of a clip, placed into the picture: wrist, forward, palm, fingers and share seen 0..1 (T,)."""
    at = np.clip(np.round((begin_s + np.clip(local_s, 0, length_s)) * FRAME_RATE_HZ), 0, len(track.face) - 1)
    row = at.astype(int)
    found = track.seen > 0.5
    heights = track.wrist[..., 1][found & (track.wrist[..., 1] > -1.1)]
    raise_by = -0.2 - float(np.median(heights)) if len(heights) else 0.0
    wrist = track.wrist[row, side].copy()
    raised = wrist[:, 1] > -1.15
    wrist[:, 1] = np.clip(wrist[:, 1] + raise_by, -0.5, 0.25)
    wrist[:, 0] = 0.48 * np.tanh(wrist[:, 0] / 0.6)
    wrist[:, 2] = np.clip(wrist[:, 2], 0.55, 0.9)
    seen = ((track.seen[row, side] > 0.5) & raised).astype(float)
    seen = np.clip(
        smooth(np.convolve(np.pad(seen, 4, mode="edge"), np.ones(9) / 9, "valid"), 0.6, FRAME_RATE_HZ), 0, 1
    )
    level = np.clip((seen - 0.35) / 0.4, 0, 1)
    fingers = np.clip(track.fingers[row, side], [-0.3, -0.6, 0.0], [1.5, 1.0, 1.8])
    return wrist, track.forward[row, side], track.palm[row, side], fingers, level * level * (3 - 2 * level)


def smooth_turns(forward: Array, palm: Array) -> tuple[Array, Array]:
    """forward, palm: (T, 3) unit -> the same, square to each other and low-passed as rotations."""
    palm = unit(palm - forward * (forward * palm).sum(axis=1, keepdims=True))
    matrices = np.stack([forward, palm, np.cross(forward, palm)], axis=2)
    turns = Rotation.from_matrix(matrices).as_quat()
    signs = np.sign((turns[1:] * turns[:-1]).sum(axis=1))
    turns[1:] *= np.cumprod(np.where(signs == 0, 1.0, signs))[:, None]
    turns = gaussian_filter1d(turns, HAND_TURN_SPAN, axis=0, mode="nearest")
    matrices = Rotation.from_quat(turns).as_matrix()
    return matrices[:, :, 0], matrices[:, :, 1]


def part_wrists(wrist: Array) -> Array:
    """wrist: (T, 2, 3) -> the same with hands that would pass through each other moved apart sideways."""
    wrist = wrist.copy()
    near = np.clip(1.2 - np.abs(wrist[:, 0, 1] - wrist[:, 1, 1]) / 0.4, 0, 1)
    lack = np.maximum(0.42 - (wrist[:, 0, 0] - wrist[:, 1, 0]), 0.0) * near
    wrist[:, 0, 0] += 0.5 * lack
    wrist[:, 1, 0] -= 0.5 * lack
    return wrist


def join(parts: list[Performance]) -> Performance:
    """Acts one after the other."""
    names = Performance.__dataclass_fields__
    return Performance(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def load_tracks(data: Path, work: Path) -> dict[str, Track]:
    """Tracks every source clip, or reads the tracks of an earlier run from `work`."""
    work.mkdir(parents=True, exist_ok=True)
    clips = {name: data / relative for name, relative in TALK_CLIPS.items()}
    clips |= {name: data / SIGN_FOLDER / f"{name}.mkv" for name in SIGNS}
    tracks = {}
    for name, clip in clips.items():
        stored = work / f"{name}.npz"
        if not stored.is_file():
            model = data / "models/face_landmarker.task"
            track_clip(clip, model, FRAME_RATE_HZ, CROPS.get(name)).save(stored)
        tracks[name] = Track.load(stored)
    return tracks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with footage/, drivers/ and models/")
    parser.add_argument("--work", type=Path, required=True, help="where the tracks of the clips are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("performance.npz"))
    arguments = parser.parse_args()
    tracks = load_tracks(arguments.data, arguments.work)
    composer = Composer(tracks, seed=7)
    performance = join([composer.compose(act, is_first=number == 0) for number, act in enumerate(ACTS)])
    driver = composer.compose(DRIVER, is_first=False)
    save_performances(arguments.out, {"performance": performance, "driver": driver})
    size_kb = arguments.out.stat().st_size // 1000
    print(f"{arguments.out}: {len(performance)} + {len(driver)} frames at {FRAME_RATE_HZ} fps, {size_kb} kB")


if __name__ == "__main__":
    main()
