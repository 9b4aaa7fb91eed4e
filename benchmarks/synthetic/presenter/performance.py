"""The performance: one row of numbers per frame of footage, and its file. Knows only numpy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.voice.articulation import VISEMES as VISEMES

Array = npt.NDArray[np.float64]

FRAME_RATE_HZ = 15
CLIPS = ("driver", "performance")
FULL_LOOK = np.radians(28)  # eye turn at weight 1
PERFORMANCE_FILE = Path(__file__).with_name("performance.npz")

ARKIT_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip


@dataclass(frozen=True)
class Performance:
    """Motion of one clip at FRAME_RATE_HZ; sides are the person's left, right; angles are radians."""

    face: Array  # (T, 52) weights of the ARKit targets; slightly below 0 relaxes a feature
    viseme: Array  # (T, 15) weights of the viseme targets in the order of VISEMES, 0..1
    head: Array  # (T, 3) yaw to the left, pitch down, roll to the left, against the chest
    torso: Array  # (T, 3) turn to the left, bend forwards, lean to the left
    shift: Array  # (T, 3) metres, of the whole person
    wrist: Array  # (T, 2, 3) from the middle of the shoulders, in shoulder widths
    forward: Array  # (T, 2, 3) unit vector from wrist to middle knuckle
    palm: Array  # (T, 2, 3) unit vector out of the palm
    fingers: Array  # (T, 2, 5, 3) flexion, spread towards the thumb, curl

    def __len__(self) -> int:
        return len(self.face)

    def face_weights(self, frame: int) -> dict[str, float]:
        """Weights of all face targets of one frame by the target's name, visemes as `viseme_aa`."""
        weights = dict(zip(ARKIT_NAMES, map(float, self.face[frame]), strict=True))
        spoken = zip(VISEMES, map(float, self.viseme[frame]), strict=True)
        return weights | {f"viseme_{name}": value for name, value in spoken}


def save_performances(path: Path, clips: dict[str, Performance]) -> None:
    """Writes clips by name; half precision keeps the file small enough to commit."""
    arrays = {
        f"{name}.{f.name}": getattr(clip, f.name).astype(np.float16)
        for name, clip in clips.items()
        for f in fields(Performance)
    }
    np.savez_compressed(path, **arrays)


def load_performance(path: Path, clip: str) -> Performance:
    """Reads one clip ("driver" or "performance") as float64."""
    if clip not in CLIPS:
        raise ValueError(f"clip {clip!r}: must be one of {', '.join(CLIPS)}")
    with np.load(path) as stored:
        return Performance(
            **{f.name: stored[f"{clip}.{f.name}"].astype(np.float64) for f in fields(Performance)}
        )
