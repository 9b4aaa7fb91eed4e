"""Composes the performance: speech, tracked clips, written motion and idle life, as the script says.

    python -m benchmarks.synthetic.presenter.motion --data DATA --work WORK [--out performance.npz]

What happens when is written in `script.py`, gestures and expressions in `gestures.py`. The sounds of speech
are found by `speech.py`, which may run before in an environment of its own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from benchmarks.synthetic.presenter.gestures import (
    EXPRESSIONS,
    GESTURES,
    HANGING,
    RESTING,
    blink_curve,
    face_weights,
    sample_keys,
    smooth_step,
    viseme_weights,
    window,
)
from benchmarks.synthetic.presenter.idle import blink_starts, breathing, look, saccades, wander
from benchmarks.synthetic.presenter.performance import (
    ARKIT_NAMES,
    FRAME_RATE_HZ,
    PERFORMANCE_FILE,
    VISEMES,
    Array,
    Performance,
    save_performances,
)
from benchmarks.synthetic.presenter.script import SCRIPTS, Act, Hands, Talk
from benchmarks.synthetic.presenter.speech import load_phones
from benchmarks.synthetic.presenter.tracking import Track, smooth, track_clip, unit
from export.voice.articulation import Phone, articulate

HAND_RAMP_S = 0.8
MOUTH_RAMP_S = 0.26
NEUTRAL_S = 1.0  # the footage starts with the resting face, for enrolment
TALK_CLIPS = {"tshirt": "footage/man_tshirt_hands_20s.mp4", "sweater": "footage/man_sweater_hands_20s.mp4"}
CROPS = {"tshirt": (40, 420, 1000)}  # x, y, side of the speaker in the tall picture
SIGN_FOLDER = "drivers/asl_gestures"
SIGNS = ("again", "night")  # sign clips whose hands are tracked well
TRACKED_BOX = ((0.2, 0.42), (-0.3, 0.05), (0.76, 0.95))  # where tracked wrists may be, as HandKey.wrist
TRACKED_DEPTHS = (0.99, 0.77)  # left, right, where both are near each other: 8 cm between the wrists
HEAD_GAIN = 0.8
NOD_DEG, LIFTED_BROW = 1.6, 0.22  # what loud syllables do to head and brows
# An open jaw alone shows the lower teeth: the upper lip rises and the lower one covers them.
OPEN_MOUTH = {"jawOpen": 1.0, "mouthUpperUpLeft": 1.1, "mouthUpperUpRight": 1.1,
              "mouthLowerDownLeft": -0.9, "mouthLowerDownRight": -0.9}  # fmt: skip
EYES_ON_CAMERA = 0.8  # share of a small head movement that the eyes make up for
PLACE_SPREAD = (0.025, 0.025, 0.02)  # shoulder widths: no gesture is made twice at the same place
HAND_SWAY = 0.008  # shoulder widths
HAND_TURN_SPAN = 1.6  # frames, Gaussian sigma of the hand rotations
TRACKED_TURN_SPAN = 4.0  # of tracked ones, which jump
HEAD_SIZES = tuple(np.radians([1.6, 1.0, 0.8]))
TORSO_SIZES = tuple(np.radians([1.6, 0.7, 0.8]))
SHIFT_SIZES = (0.004, 0.0015, 0.004)


class Composer:
    """Turns a script into frames, given the tracks by clip and the phones by recording."""

    def __init__(self, tracks: dict[str, Track], phones: dict[str, list[Phone]]) -> None:
        self._tracks = tracks
        self._phones = phones

    def compose(self, act: Act, seed: int) -> Performance:
        """A clip as long as the act; the same seed gives the same idle motion."""
        random = np.random.default_rng(seed)
        times = np.arange(round(act.length_s * FRAME_RATE_HZ)) / FRAME_RATE_HZ
        awake = smooth_step((times - NEUTRAL_S) / 0.8)[:, None]
        bend, lift = breathing(times)
        clip = Performance(
            face=np.tile(face_weights(RESTING), (len(times), 1)),
            viseme=np.zeros((len(times), len(VISEMES))),
            head=awake * wander(random, len(times), HEAD_SIZES, 0.8),
            torso=awake * wander(random, len(times), TORSO_SIZES, 1.5),
            shift=awake * wander(random, len(times), SHIFT_SIZES, 1.5),
            **self._hands(random, times, act),
        )
        clip.torso[:, 1] += bend
        clip.shift[:, 1] += lift
        for talk in act.talks:
            self._add_talk(clip, times, talk)
        add_expressions(clip, times, act)
        gaze = add_sweeps(clip, times, act)
        eyes = saccades(random, times, NEUTRAL_S + 0.6) - gaze[:, None] * clip.head[:, :2] * [1.0, -1.0]
        clip.face[:] += look(awake * eyes)
        add_blinks(clip, times, act, blink_starts(random, 1.3, times[-1]))
        return clip

    def _add_talk(self, clip: Performance, times: Array, talk: Talk) -> None:
        """Speech on the lips, brows and nods with its loudness, and the head of a filmed talk."""
        share = window(times, talk.start_s - 0.1, talk.start_s + talk.length_s + 0.1, 0.15)
        shown = np.flatnonzero(share > 0)
        delay = talk.start_s - talk.source_s
        phones = [
            replace(p, start_s=p.start_s + delay, end_s=p.end_s + delay) for p in self._phones[talk.speech]
        ]
        visemes, jaw = articulate(phones, times[shown])
        clip.viseme[shown] += share[shown, None] * visemes
        for name, gain in OPEN_MOUTH.items():
            clip.face[shown, ARKIT_NAMES.index(name)] += gain * share[shown] * jaw
        stress = gaussian_filter1d(share * loudness(phones, times), 2.0)
        stress = np.maximum(stress - np.median(stress[shown]), 0.0)
        clip.head[:, 1] += np.radians(NOD_DEG) * np.minimum(stress, 1.5)
        for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
            clip.face[:, ARKIT_NAMES.index(name)] += LIFTED_BROW * np.minimum(np.roll(stress, -1), 1.0)
        track = self._tracks[talk.clip]
        row = np.round((talk.clip_s + times[shown] - talk.start_s) * FRAME_RATE_HZ).astype(int)
        row = np.clip(row, 0, len(track.head) - 1)
        side = np.array([-1.0, 1.0, -1.0]) if talk.is_mirrored else np.ones(3)
        nod = gaussian_filter1d(track.head[row] - np.median(track.head[row], axis=0), 0.8, axis=0)
        settle = window(times, talk.start_s - 0.1, talk.start_s + talk.length_s + 0.1, 0.5)[shown, None]
        clip.head[shown] += settle * HEAD_GAIN * side * bounded(nod, np.radians([9.0, 7.0, 6.0]))

    def _hands(self, random: np.random.Generator, times: Array, act: Act) -> dict[str, Array]:
        sides = [sample_keys([HANGING], times, side) for side in (0, 1)]
        wrist, forward, palm, fingers = (np.stack([s[k] for s in sides], axis=1) for k in range(4))
        raised, tracked = np.zeros((len(times), 2)), np.zeros((len(times), 2))
        for hands in act.hands:
            place = random.normal(0, PLACE_SPREAD)
            for side in (0, 1) if hands.side == 2 else (hands.side,):
                moved, share = self._moved_hand(times, act, hands, side)
                moved[0][:] += place * np.array([1.0 if side == 0 else -1.0, 1.0, 0.5])
                for target, source in zip((wrist, forward, palm, fingers), moved, strict=True):
                    weight = share.reshape(-1, *([1] * (source.ndim - 1)))
                    target[:, side] += weight * (source - target[:, side])
                # Hanging and raised hands point opposite ways: pass through "towards the camera" between.
                forward[:, side, 2] += 1.2 * share * (1 - share)
                raised[:, side] = np.maximum(raised[:, side], share)
                if hands.kind not in GESTURES:
                    tracked[:, side] = np.maximum(tracked[:, side], share)
        for side in (0, 1):
            wrist[:, side] += raised[:, side, None] * wander(random, len(times), (HAND_SWAY,) * 3, 0.4)
        wrist = part_wrists(smooth(wrist, 0.34, FRAME_RATE_HZ), tracked.min(axis=1))
        turned = [smooth_turns(forward[:, side], palm[:, side], tracked[:, side]) for side in (0, 1)]
        forward, palm = (np.stack([pair[k] for pair in turned], axis=1) for k in (0, 1))
        fingers = gaussian_filter1d(fingers, 1.2, axis=0, mode="nearest")
        return {"wrist": wrist, "forward": forward, "palm": palm, "fingers": fingers}

    def _moved_hand(
        self, times: Array, act: Act, hands: Hands, side: int
    ) -> tuple[tuple[Array, Array, Array, Array], Array]:
        """Wrist, forward, palm, fingers of one gesture over all times, and how far it is raised (T,) 0..1."""
        local = np.clip(times - hands.start_s, 0, hands.length_s)
        share = window(times, hands.start_s, hands.start_s + hands.length_s, HAND_RAMP_S)
        if hands.kind in GESTURES:
            return sample_keys(GESTURES[hands.kind](hands.length_s), local, side), share
        clip, begin = hands.kind, 0.0
        if clip == "talk":
            talk = min(act.talks, key=lambda t: abs(t.start_s - hands.start_s))
            clip, begin = talk.clip, talk.clip_s + hands.start_s - talk.start_s
        found = tracked_hand(self._tracks[clip], begin + local, side)
        return found, share


def bounded(values: Array, limit: Array) -> Array:
    """The same for small values, never beyond the limit."""
    return np.asarray(limit * np.tanh(values / limit))


def loudness(phones: list[Phone], times: Array) -> Array:
    """(T,) level of the phone that is heard, of the median phone's; 0 in silence."""
    level = np.zeros(len(times))
    for phone in phones:
        if phone.name != "SIL":
            level[(times >= phone.start_s) & (times < phone.end_s)] = phone.loudness
    return level


def add_expressions(clip: Performance, times: Array, act: Act) -> None:
    for start, length, names in act.expressions:
        named = {key: value for name in names.split("+") for key, value in EXPRESSIONS[name].items()}
        is_smile = "mouthSmileLeft" in named
        kept = {key: value for key, value in RESTING.items() if is_smile or "mouthSmile" not in key}
        share = window(times, start, start + length, MOUTH_RAMP_S)[:, None]
        if is_smile:  # also while speaking
            wanted = np.maximum(clip.face, face_weights(kept | named))
        else:
            wanted = np.tile(face_weights(kept | named), (len(times), 1))
        clip.face[:] += share * (wanted - clip.face)
        clip.viseme[:] += share * viseme_weights(named)
    np.clip(clip.viseme, 0, 1, out=clip.viseme)


def add_sweeps(clip: Performance, times: Array, act: Act) -> Array:
    """Adds the head movements; returns (T,) the share of them that the eyes make up for."""
    gaze = np.full(len(times), EYES_ON_CAMERA)
    for sweep in act.sweeps:
        phase = np.clip((times - sweep.start_s) / sweep.length_s, 0, 1)
        wave = np.sin(2 * np.pi * phase) if sweep.both_ways else np.sin(np.pi * phase) ** 2
        turn = (wave * smooth_step(np.minimum(4 * phase, 4 - 4 * phase)))[:, None] * np.radians(
            sweep.peak_deg
        )
        inside = window(times, sweep.start_s - 0.2, sweep.start_s + sweep.length_s + 0.2, 0.4)
        # A small movement is made in a still head: what sways and nods elsewhere would only jerk the sweep.
        clip.head[:] *= 1 - 0.6 * inside[:, None]
        clip.head[:] += turn
        clip.torso[:, 0] += 0.2 * turn[:, 0]
        gaze += inside * (sweep.gaze - gaze)
    return gaze


def add_blinks(clip: Performance, times: Array, act: Act, starts: Array) -> None:
    for start, length, names in act.expressions:
        if "wink" in names:  # a blink would hide it
            starts = starts[(starts < start - 0.4) | (starts > start + length)]
    closed = blink_curve(times, starts)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        column = ARKIT_NAMES.index(name)
        clip.face[:, column] = np.maximum(clip.face[:, column], closed)
    for name in ("eyeWideLeft", "eyeWideRight", "eyeLookDownLeft", "eyeLookDownRight"):
        clip.face[:, ARKIT_NAMES.index(name)] *= 1 - closed


def tracked_hand(track: Track, at_s: Array, side: int) -> tuple[Array, Array, Array, Array]:
    """Hand of a clip at at_s: (T,), placed into the picture: wrist, forward, palm, fingers."""
    row = np.clip(np.round(at_s * FRAME_RATE_HZ), 0, len(track.face) - 1).astype(int)
    shown = np.unique(row)
    outward = np.array([1.0 if side == 0 else -1.0, 1.0, 1.0])
    source = gaussian_filter1d(track.wrist[:, side], 2.0, axis=0, mode="nearest") * outward
    low, high = np.array(TRACKED_BOX).T
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    wrist = middle + half * np.tanh((source - np.median(source[shown], axis=0)) / (2 * half))
    fingers = np.clip(track.fingers[:, side], [-0.1, -0.45, 0.0], [1.4, 0.8, 1.7])
    fingers = gaussian_filter1d(fingers, 1.5, axis=0, mode="nearest")
    return wrist[row] * outward, track.forward[row, side], track.palm[row, side], fingers[row]


def smooth_turns(forward: Array, palm: Array, tracked: Array) -> tuple[Array, Array]:
    """forward, palm: (T, 3) -> unit, square to each other and low-passed as rotations.

    tracked: (T,) 0..1, where the stronger filter counts.
    """
    forward, palm = unit(forward), unit(palm)
    palm = unit(palm - forward * (forward * palm).sum(axis=1, keepdims=True))
    matrices = np.stack([forward, palm, np.cross(forward, palm)], axis=2)
    turns = Rotation.from_matrix(matrices).as_quat()
    signs = np.sign((turns[1:] * turns[:-1]).sum(axis=1))
    turns[1:] *= np.cumprod(np.where(signs == 0, 1.0, signs))[:, None]
    light, strong = (
        unit(gaussian_filter1d(turns, span, axis=0, mode="nearest"))
        for span in (HAND_TURN_SPAN, TRACKED_TURN_SPAN)
    )
    matrices = Rotation.from_quat(light + tracked[:, None] * (strong - light)).as_matrix()
    return matrices[:, :, 0], matrices[:, :, 1]


def part_wrists(wrist: Array, tracked: Array) -> Array:
    """wrist: (T, 2, 3) -> the same with two tracked hands that come near one behind the other.

    tracked: (T,) 0..1, how far both are tracked ones; those overlap where MediaPipe guessed their depth.
    """
    wrist = wrist.copy()
    near = smooth_step((1.1 - wrist[:, 0, 0] + wrist[:, 1, 0]) / 0.3)
    near = gaussian_filter1d(near, 5.0, mode="nearest") * tracked
    for side, depth in enumerate(TRACKED_DEPTHS):
        wrist[:, side, 2] += near * (depth - wrist[:, side, 2])
    lack = np.maximum(0.36 - (wrist[:, 0, 0] - wrist[:, 1, 0]), 0.0) * tracked
    wrist[:, 0, 0] += 0.5 * lack
    wrist[:, 1, 0] -= 0.5 * lack
    return wrist


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
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with footage/, drivers/, speech/, models/"
    )
    parser.add_argument("--work", type=Path, required=True, help="where tracks and phones are kept")
    parser.add_argument("--out", type=Path, default=PERFORMANCE_FILE)
    arguments = parser.parse_args()
    try:
        phones = load_phones(arguments.data, arguments.work)
        composer = Composer(load_tracks(arguments.data, arguments.work), phones)
    except (RuntimeError, OSError, ValueError) as error:
        parser.error(str(error))
    clips = {name: composer.compose(act, seed) for seed, (name, act) in enumerate(SCRIPTS.items(), start=7)}
    save_performances(arguments.out, clips)
    size_kb = arguments.out.stat().st_size // 1000
    frames = ", ".join(f"{name} {len(clip)}" for name, clip in clips.items())
    print(f"{arguments.out}: {frames} frames at {FRAME_RATE_HZ} fps, {size_kb} kB")


if __name__ == "__main__":
    main()
