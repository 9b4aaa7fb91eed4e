"""How faithfully the avatar's output follows its driver: both are tracked, and their motion compared.

Correlation says whether it follows, gain how far; a driver in shuffled order is the control that must fail.
Where both stand on one canvas, as the held-out frames do, hands are compared in px too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import Neutral, build_neutral, motion_of

SIGNALS = ("yaw", "pitch", "roll", "lip_aperture", "lid_aperture", "wrists", "fingers")
HAND_SIGNALS = ("wrists", "fingers")
MIN_FRAMES = 20  # in which both show the part; fewer say nothing
MIN_SHARE = 0.1  # of the frames, likewise
SHUFFLE_SEED = 11
HAND_FIGURES = ("hands_found", "wrist_px", "fingertip_px")
MOTION_FIGURES = ("motion", "motion_shuffled", *HAND_FIGURES, "hands_shuffled")  # of one canvas


def compare_motion(driver: Sequence[Landmarks], output: Sequence[Landmarks]) -> dict[str, Any]:
    """`motion` and `motion_shuffled`: signal to {correlation, gain}, None where a part is not seen in both.

    driver, output: landmarks of the same frames, each in px of its own picture. Raises FootageError where one
    of them never shows a face.
    """
    theirs, ours = signals(driver, build_neutral(driver)), signals(output, build_neutral(output))
    order = _shuffled(len(driver))
    return {
        "motion": {name: _agreement(theirs[name], ours[name]) for name in SIGNALS},
        "motion_shuffled": {name: _agreement(theirs[name][order], ours[name]) for name in SIGNALS},
    }


def visible_shares(frames: Sequence[Landmarks]) -> dict[str, float]:
    """Signal to the share of frames, 0..1, that show its part; of wrists and fingers, any hand."""
    faces = float(np.mean([frame.face_confidence > 0 for frame in frames]))
    hands = float(np.mean([(frame.hand_confidence > VISIBLE).any() for frame in frames]))
    return {name: round(hands if name in HAND_SIGNALS else faces, 3) for name in SIGNALS}


def compare_hands(truth: Sequence[Landmarks], output: Sequence[Landmarks]) -> dict[str, Any]:
    """`hands_found`, `wrist_px`, `fingertip_px`, and `hands_shuffled` with the same of shuffled truth.

    hands_found: share of the truth's hands that the output shows too; the others: median distance in px of
    wrists and fingertips where both show the hand. None where there is no hand. truth, output: landmarks of
    the same frames on the same canvas, px.
    """
    mixed = [truth[index] for index in _shuffled(len(truth))]
    return {**_hand_errors(truth, output), "hands_shuffled": _hand_errors(mixed, output)}


def lip_apertures(frames: Sequence[Landmarks]) -> FloatArray:
    """(N,) gap of the lips in head units, NaN without a face."""
    return signals(frames, build_neutral(frames))["lip_aperture"][:, 0]


def hand_distances(
    truth: Sequence[Landmarks], output: Sequence[Landmarks]
) -> tuple[FloatArray, float | None]:
    """(hands, 21) px between the points of every hand that both show; the share of the truth's that both do.

    None where the truth shows no hand. truth, output: landmarks of the same frames on the same canvas, px.
    """
    theirs, ours = (np.stack([frame.hands[..., :2] for frame in side]) for side in (truth, output))
    shown, found = (np.stack([frame.hand_confidence > VISIBLE for frame in side]) for side in (truth, output))
    both = shown & found
    apart = np.linalg.norm(theirs - ours, axis=-1)[both]
    return apart, float(both.sum() / shown.sum()) if shown.any() else None


def _hand_errors(truth: Sequence[Landmarks], output: Sequence[Landmarks]) -> dict[str, float | None]:
    apart, found = hand_distances(truth, output)
    values = (
        found,
        np.median(apart[:, 0]) if len(apart) else None,
        np.median(apart[:, topo.FINGERTIPS]) if len(apart) else None,
    )
    return {
        name: None if value is None else round(float(value), 3)
        for name, value in zip(HAND_FIGURES, values, strict=True)
    }


def _shuffled(count: int) -> NDArray[np.intp]:
    return np.random.default_rng(SHUFFLE_SEED).permutation(count)


def signals(frames: Sequence[Landmarks], neutral: Neutral) -> dict[str, FloatArray]:
    """Signal to (N, D) values, NaN where the part is not seen."""
    rows: dict[str, list[FloatArray]] = {name: [] for name in SIGNALS}
    for frame in frames:
        motion = motion_of(frame, neutral)
        lost = np.float32(np.nan if frame.face_confidence <= 0 else 0.0)
        angles = rotation_to_euler_deg(motion.rotation @ neutral.rotation.T) + lost
        for name, value in zip(("yaw", "pitch", "roll"), angles, strict=True):
            rows[name].append(np.array([value], np.float32))
        rows["lip_aperture"].append(np.array([motion.lip_gap + lost], np.float32))
        rows["lid_aperture"].append(np.array([motion.lid_gap.mean() + lost], np.float32))
        seen = np.where(motion.hand_confidence > VISIBLE, 0.0, np.nan)[:, None]
        shoulders = frame.pose[topo.SHOULDERS, :2].mean(0)
        wrists = (frame.hands[:, 0, :2] - shoulders) / neutral.body_scale + seen
        tips = motion.hands[:, topo.FINGERTIPS, :2] / neutral.body_scale + seen[:, :, None]
        rows["wrists"].append(wrists.astype(np.float32).ravel())
        rows["fingers"].append(tips.astype(np.float32).ravel())
    return {name: np.stack(values) for name, values in rows.items()}


def _agreement(driver: FloatArray, output: FloatArray) -> dict[str, float] | None:
    """Correlation and least-squares gain over all columns, each about its mean; None if too little shows."""
    both = np.isfinite(driver) & np.isfinite(output)
    needed = max(MIN_FRAMES, int(MIN_SHARE * len(driver)))
    columns = [column for column in range(driver.shape[1]) if both[:, column].sum() >= needed]
    if not columns:
        return None
    x = np.concatenate([_centred(driver[both[:, c], c]) for c in columns])
    y = np.concatenate([_centred(output[both[:, c], c]) for c in columns])
    power = float((x * x).sum() * (y * y).sum())
    if power <= 0:
        return None
    shared = float((x * y).sum())
    return {"correlation": round(shared / power**0.5, 3), "gain": round(shared / float((x * x).sum()), 3)}


def _centred(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean(), np.float64)
