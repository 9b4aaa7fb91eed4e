"""How a person's torso follows their head: learnt from the footage, in place of guesses about the shoulders.

Pose trackers place shoulders poorly in close-ups: on a talking-head clip the tracked shoulders explained a
tenth to a third of the true motion of the chest, the head's pose two thirds. The model stands in where the
chest itself cannot be tracked, and holds it back where it can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray

_HEAD_UNITS = np.array(
    [10.0, 10.0, 10.0, 1.0, 1.0, 0.1], np.float32
)  # one unit of each is a large, ordinary change
_SHOULDER_UNIT = 0.1  # shoulder distances
RIDGE = 3.0
SLACK = 2.0  # times what the footage shows
MIN_SLACK = 0.05  # shoulder distances
BEND_SLACK = 1.5  # times what the footage shows


@dataclass(frozen=True, slots=True)
class TorsoModel:
    """Linear map from the head's pose, and from the tracked shoulders where seen, to the chest's shift."""

    from_head: FloatArray  # (7, 2) shoulder distances per head feature, last row the constant
    from_both: FloatArray  # (9, 2) the same with the shoulders' shift before the constant
    slack: FloatArray  # (2,) shoulder distances: how far the chest may be from where the model has it
    bend: FloatArray  # (2, 2) the most that the chest's picture is bent (see retarget.chest_bend)

    def shift(self, head_pose: FloatArray, shoulders: FloatArray | None) -> FloatArray:
        """Chest shift (2,) in shoulder distances.

        head_pose: (6,) of `retarget.head_pose`; shoulders: (2,) mean shift of the tracked shoulders in
        shoulder distances, None where unseen.
        """
        if shoulders is None:
            return np.asarray(_features(head_pose[None], None)[0] @ self.from_head, np.float32)
        return np.asarray(_features(head_pose[None], shoulders[None])[0] @ self.from_both, np.float32)


def fit_torso(
    head_poses: FloatArray,
    shoulders: FloatArray,
    seen: NDArray[np.bool_],
    shifts: FloatArray,
    bends: FloatArray,
) -> TorsoModel:
    """Ridge regression.

    head_poses (N, 6); shoulders (N, 2), seen (N,); shifts (N, 2), shoulder distances; bends (N, 2, 2).
    """
    from_head = _ridge(_features(head_poses, None), shifts)
    missed = np.abs(shifts - _features(head_poses, None) @ from_head)
    slack = np.maximum(SLACK * np.percentile(missed, 98, axis=0), MIN_SLACK).astype(np.float32)
    bend = (BEND_SLACK * np.percentile(np.abs(bends), 98, axis=0)).astype(np.float32)
    if seen.mean() < 0.5:
        return TorsoModel(from_head, np.insert(from_head, [6, 6], 0.0, axis=0), slack, bend)
    from_both = _ridge(_features(head_poses[seen], shoulders[seen]), shifts[seen])
    return TorsoModel(from_head, from_both, slack, bend)


def _features(head_poses: FloatArray, shoulders: FloatArray | None) -> FloatArray:
    level = head_poses - np.array([0, 0, 0, 0, 0, 1], np.float32)
    columns = [level / _HEAD_UNITS]
    if shoulders is not None:
        columns.append(shoulders / _SHOULDER_UNIT)
    ones = np.ones((len(head_poses), 1), np.float32)
    return np.asarray(np.concatenate([*columns, ones], axis=1), np.float32)


def _ridge(features: FloatArray, targets: FloatArray) -> FloatArray:
    penalty = RIDGE * np.eye(features.shape[1])
    penalty[-1, -1] = 1e-3
    return np.asarray(np.linalg.solve(features.T @ features + penalty, features.T @ targets), np.float32)
