"""How faithfully the avatar's output follows its driver: both are tracked, and their motion compared.

Correlation says whether it follows, gain how far; a driver in shuffled order is the control that must fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import topology as topo
from engine.geometry import rotation_to_euler_deg
from engine.landmarks import Landmarks
from engine.motion import VISIBLE, Neutral, build_neutral, motion_of

FloatArray = NDArray[np.float32]

SIGNALS = ("yaw", "pitch", "roll", "lip_aperture", "lid_aperture", "wrists", "fingers")
MIN_FRAMES = 20  # in which both show the part; fewer say nothing
MIN_SHARE = 0.1  # of the frames, likewise
SHUFFLE_SEED = 11


def compare_motion(driver: Sequence[Landmarks], output: Sequence[Landmarks]) -> dict[str, Any]:
    """`motion` and `motion_shuffled`: signal to {correlation, gain}, None where a part is not seen in both.

    driver, output: landmarks of the same frames, each in px of its own picture.
    """
    theirs, ours = _signals(driver, build_neutral(driver)), _signals(output, build_neutral(output))
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(driver))
    return {
        "motion": {name: _agreement(theirs[name], ours[name]) for name in SIGNALS},
        "motion_shuffled": {name: _agreement(theirs[name][order], ours[name]) for name in SIGNALS},
    }


def _signals(frames: Sequence[Landmarks], neutral: Neutral) -> dict[str, FloatArray]:
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
