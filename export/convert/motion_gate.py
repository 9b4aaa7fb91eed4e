"""The gate's second half: a converted network must move the face as far as the one that it replaces.

PSNR hardly sees a mouth that opens less: one distilled network passed it and took a tenth off small lip
movements. So both networks render the same small movements of lips and lids, and the held-out frames' nods;
the face is tracked in what comes out, and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import DoubleArray
from engine.avatar.avatar import Avatar
from engine.errors import RunnerError
from engine.network.contract import Runner
from engine.person.landmarks import Landmarks
from engine.person.motion import Motion, Neutral, motion_of
from export.evaluate.faithfulness import signals
from export.evaluate.replay import replay
from export.evaluate.retrack import MakeTracker, Retracker, face_tracker

MOUTHS = (0.06, 0.12, 0.2)  # gaps of the lips in head units: of speech; key frames near to them are faded in
MIN_MOUTH, MAX_SHUT = 0.04, 0.6  # a smaller gap is not an open mouth; lids this share of their rest are shut
WAVE = 16  # frames from rest to the expression and back
MAX_GAIN_LOSS = 0.04  # of a movement's size; INT8 lost at most 0.01, the network that passed wrongly 0.08
MAX_CORRELATION_LOSS = 0.1
MAX_ERROR = 0.05  # standard error of a gain; one less sure is not judged
MAX_FACES_LOST = 0.1  # share of the frames
_CERTAIN = 1.0  # standard errors beyond the bound


@dataclass(frozen=True, slots=True)
class Part:
    """One movement: its size after over that before, and how well each follows what was asked for."""

    gain: float
    error: float  # of the gain, standard error
    correlation_before: float
    correlation_after: float

    @property
    def judged(self) -> bool:
        """Whether the gain is known well enough."""
        return self.error <= MAX_ERROR


@dataclass(frozen=True, slots=True)
class MotionReport:
    """What was compared; None is a movement that the avatar's frames do not have."""

    frames: int
    faces_lost: float  # share of the frames with a face before that have none after
    parts: dict[str, Part | None]  # lip_aperture, lid_aperture, pitch
    note: str = ""  # why nothing was judged

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def judge_motion(
    avatar: Avatar,
    before: Runner,
    after: Runner,
    held_out: Sequence[Landmarks],
    make_tracker: MakeTracker = face_tracker,
) -> MotionReport:
    """Renders movements with both networks and tracks them. held_out: canvas px, of frames in a row."""
    moves = [*probe(avatar), *(("pitch", landmarks) for landmarks in held_out)]
    frames = [landmarks for _, landmarks in moves]
    seen = _tracked(avatar, before, frames, make_tracker, give_up=True)
    if not seen:
        return _unjudged("LiteRT is not installed, so no face was tracked")
    found_before = _has_face(seen)
    if found_before.mean() < 1 - MAX_FACES_LOST:
        return _unjudged(f"a face was found in only {found_before.mean():.0%} of the pictures before")
    other = _tracked(avatar, after, frames, make_tracker)
    found_after = _has_face(other)
    lost = float((found_before & ~found_after).sum() / found_before.sum())
    parts: dict[str, Part | None] = {}
    neutral = avatar.neutral
    asked, old, new = (signals(side, neutral) for side in (frames, seen, other))
    for name in ("lip_aperture", "lid_aperture", "pitch"):
        rows = np.array([part == name for part, _ in moves]) & found_before & found_after
        values = (side[name][rows, 0].astype(np.float64) for side in (asked, old, new))
        parts[name] = compare(*values) if rows.sum() >= WAVE else None
    return MotionReport(len(frames), round(lost, 3), parts)


def require_motion(report: MotionReport) -> None:
    """Raises RunnerError where a movement has become smaller, or the face is lost."""
    if report.faces_lost > MAX_FACES_LOST:
        raise RunnerError(
            f"with the new network no face is found in {report.faces_lost:.0%} of {report.frames} pictures "
            f"that showed one; wanted at most {MAX_FACES_LOST:.0%}: nothing was changed"
        )
    for name, part in report.parts.items():
        if part is None or not part.judged:
            continue
        lost = 1 - part.gain
        if lost > MAX_GAIN_LOSS + _CERTAIN * part.error:
            raise RunnerError(
                f"with the new network {name} moves {part.gain:.2f} (+-{part.error:.2f}) times as far as "
                f"before; wanted {1 - MAX_GAIN_LOSS:.2f}: nothing was changed; keep the variant you have"
            )
        if part.correlation_after < part.correlation_before - MAX_CORRELATION_LOSS:
            raise RunnerError(
                f"with the new network {name} follows with correlation {part.correlation_after:.2f} instead "
                f"of {part.correlation_before:.2f}; wanted a loss of {MAX_CORRELATION_LOSS} at most: nothing "
                "was changed; keep the variant you have"
            )


def compare(asked: DoubleArray, before: DoubleArray, after: DoubleArray) -> Part | None:
    """Gain of `after` over `before`, each regressed on what was asked for, (N,) each; None without movement.

    Both regressions share their regressor, so noise of the tracker in `before` does not look like a gain, as
    it would if `after` were regressed on it (an instrumental variable).
    """
    asked, before, after = (side - side.mean() for side in (asked, before, after))
    power, slope_before, slope_after = asked @ asked, asked @ before, asked @ after
    if power <= 0 or slope_before <= 0 or after @ after <= 0:
        return None
    gain = slope_after / slope_before
    rest = after - gain * before
    error = np.sqrt(rest @ rest / (len(asked) - 2) * power) / slope_before
    return Part(
        round(float(gain), 3),
        round(float(error), 3),
        round(float(slope_before / np.sqrt(power * (before @ before))), 3),
        round(float(slope_after / np.sqrt(power * (after @ after))), 3),
    )


def probe(avatar: Avatar) -> list[tuple[str, Landmarks]]:
    """The person's head at rest, with what key frames show faded in and out: (signal that moves, landmarks).

    Mouths of the sizes of speech, one after the other, then a blink twice; left out is what no key frame has.
    """
    neutral = avatar.neutral
    keys = [key.landmarks for key in avatar.keyframes if key.landmarks.face_confidence > 0]
    motions = [motion_of(key, neutral) for key in keys]
    rest = min(range(len(keys)), key=lambda index: _unrest(motions[index], neutral))
    gaps = np.array([motion.lip_gap for motion in motions])
    lids = np.array([motion.lid_gap.mean() for motion in motions])
    mouths = sorted({int(np.abs(gaps - size).argmin()) for size in MOUTHS}, key=lambda index: gaps[index])
    shown = [("lip_aperture", index) for index in mouths if gaps[index] >= MIN_MOUTH]
    if lids.min() < MAX_SHUT * neutral.lid_open.mean():
        shown += [("lid_aperture", int(lids.argmin()))] * 2
    shares = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WAVE) / WAVE)
    return [
        (part, _mixed(keys[rest], motions[rest], motions[index], float(share), neutral))
        for part, index in shown
        for share in shares
    ]


def _unrest(motion: Motion, neutral: Neutral) -> float:
    """0 for the face at rest, looking as it usually does."""
    turned = float(np.arccos(np.clip((np.trace(motion.rotation @ neutral.rotation.T) - 1) / 2, -1, 1)))
    shut = float(np.abs(motion.lid_gap - neutral.lid_open).mean())
    return turned + 2 * abs(motion.lip_gap - float(neutral.lip_closed)) + 4 * shut


def _mixed(rest: Landmarks, own: Motion, other: Motion, share: float, neutral: Neutral) -> Landmarks:
    """The landmarks at rest with that share of another frame's expression, (0..1)."""
    expression = (1 - share) * own.expression + share * other.expression
    turned = (neutral.face + expression) @ own.rotation.T * own.scale
    centre = (rest.face - (neutral.face + own.expression) @ own.rotation.T * own.scale).mean(0)
    return replace(rest, face=(turned + centre).astype(np.float32))


def _tracked(
    avatar: Avatar,
    runner: Runner,
    frames: Sequence[Landmarks],
    make_tracker: MakeTracker,
    give_up: bool = False,
) -> list[Landmarks]:
    """What the tracker makes of the avatar's pictures; nothing without a tracker.

    give_up: where the first pictures show no face, the rest is not rendered.
    """
    with Retracker(make_tracker) as tracker:
        if not tracker.there:
            return []
        for index, picture in enumerate(replay(avatar, runner, frames)):
            tracker.add(picture.rgb, round(index / avatar.fps * 1e9))
            if give_up and index == WAVE and not tracker.saw_a_face:
                break
    return tracker.landmarks


def _has_face(frames: Sequence[Landmarks]) -> NDArray[np.bool_]:
    return np.array([frame.face_confidence > 0 for frame in frames])


def _unjudged(note: str) -> MotionReport:
    return MotionReport(0, 0.0, {}, note)
