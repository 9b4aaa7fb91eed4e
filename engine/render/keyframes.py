"""Key frames: real frames, and which of them knows best how each region of face and body looks right now.

Every region (head, mouth, each eye, torso, each hand) chooses for itself, so that a shut mouth need not come
with shut eyes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.geometry import rotation_to_euler_deg
from engine.person.landmarks import LEFT, RIGHT, VISIBLE, Landmarks
from engine.person.motion import Neutral, in_head_axes, lip_gap

REGIONS = ("head", "torso", "mouth", "eye_left", "eye_right", "hand_left", "hand_right")
HAND_SIDES = {"hand_left": LEFT, "hand_right": RIGHT}
BANK_SIZE = 128  # 40 score 0.3 dB less, 320 no more
KEEP_UNLESS = 0.8  # a region changes its key frame only for one that is at least a fifth nearer: no flicker
GHOST_HAND, MISSING_HAND = 3.0, 1.0  # cost of a hand that should not be there, and of one that should
BARED = 0.25  # of those costs are left where the key frames' arms are taken away
HANGING_ELBOW = 0.85  # shoulder distances below the shoulder: where elbows are that nobody sees
SAME_PLACE = 0.35  # shoulder distances within which two hands are in the same place
COVERED = 4.0  # cost of a part of the face with a hand over it: the hand would come along
COVER_REACH = 0.8  # distances between the eyes, from the part's middle to the nearest point of a hand
IRIS = 3.0  # a look that is off by six degrees is as visible as lids off by an eighth of a head unit
# Brows crease the forehead, lips the cheeks. Chosen on key frames and frames of training, of four people.
OWN_BROW, BROWS, LIPS = 2.0, 2.0, 0.7  # of an eye; of the head, both
# Before a smile's shape counts how far it is open: else an emotion opens and shuts the lips by itself.
LIP_GAP = 16.0
_UNUSABLE = np.float32(1e6)
_BROW_OF_EYE = (np.concatenate(topo.BROWS[:2]), np.concatenate(topo.BROWS[2:]))


def region_features(landmarks: Landmarks, neutral: Neutral) -> dict[str, FloatArray]:
    """Region to a feature vector; Euclidean distance tells how alike two frames look there.

    One unit is about what is clearly visible: ten degrees of the head, an eighth of a head unit of the lips.
    """
    face, rotation, scale, centre = neutral.face, neutral.rotation, float(neutral.scale), neutral.centre
    if landmarks.face_confidence > 0:  # else it is lost, and counts as resting
        face, rotation, scale, centre = in_head_axes(landmarks.face, neutral.face)
    angles = rotation_to_euler_deg(rotation @ neutral.rotation.T)
    place = (centre[:2] - neutral.centre) / neutral.scale
    turned = angles / 25.0
    features = {
        "head": np.concatenate(
            [
                angles / 10.0,
                0.75 * place,
                [8.0 * np.log(max(scale, 1e-3) / float(neutral.scale))],
                BROWS * _shape(face, neutral, np.concatenate(topo.BROWS)),
                LIPS * _shape(face, neutral, topo.LIPS_OUTER),
            ]
        ),
        "mouth": np.concatenate(
            [
                _shape(face, neutral, topo.LIPS_OUTER),
                _shape(face, neutral, topo.LIPS_INNER),
                [LIP_GAP * (lip_gap(face) - lip_gap(neutral.face))],
                turned,
            ]
        ),
        "torso": np.concatenate([_torso(landmarks, neutral), angles / 15.0, 2.0 * place]),
    }
    sides = zip(("eye_left", "eye_right"), topo.EYES, topo.IRISES, _BROW_OF_EYE, strict=True)
    for name, lids, iris, brow in sides:
        features[name] = np.concatenate(
            [
                1.5 * _shape(face, neutral, lids),
                IRIS * _shape(face, neutral, iris[:1]),
                OWN_BROW * _shape(face, neutral, brow),
                turned,
            ]
        )
    for name, side in HAND_SIDES.items():
        hand = landmarks.hands[side, :, :2]
        size = max(float(neutral.hand_size[side] * neutral.body_scale), 1.0)
        features[name] = np.append(
            (hand - hand[0]).ravel() / (3.0 * size), 0.5 * hand[0] / neutral.body_scale
        )
    return {name: value.astype(np.float32) for name, value in features.items()}


def _shape(face: FloatArray, neutral: Neutral, rows: NDArray[np.intp]) -> FloatArray:
    return np.asarray(
        (face[rows, :2] - neutral.face[rows, :2]).ravel() * (8.0 / np.sqrt(len(rows))), np.float32
    )


def _torso(landmarks: Landmarks, neutral: Neutral) -> FloatArray:
    """Shoulders, elbows and wrists in shoulder distances; unseen limbs count as resting."""
    shoulders = landmarks.pose[topo.SHOULDERS, :2]
    elbow_seen = np.clip(landmarks.pose_confidence[topo.ELBOWS] / VISIBLE, 0.0, 1.0)[:, None]
    hand_seen = (landmarks.hand_confidence > VISIBLE)[:, None]
    hanging = neutral.shoulders[:, :2] + np.array([0.0, HANGING_ELBOW * neutral.body_scale], np.float32)
    elbows = elbow_seen * landmarks.pose[topo.ELBOWS, :2] + (1.0 - elbow_seen) * hanging
    wrists = np.where(hand_seen, landmarks.hands[:, 0, :2], neutral.rest_wrists[:, :2])
    moved = 4.0 * (shoulders - neutral.shoulders[:, :2])
    limbs = [elbows - hanging, 1.5 * (wrists - neutral.rest_wrists[:, :2])]
    return np.asarray(np.concatenate([moved, *limbs]).ravel() / neutral.body_scale, np.float32)


def _usable(landmarks: Landmarks, region: str) -> bool:
    if region in HAND_SIDES:
        return bool(landmarks.hand_confidence[HAND_SIDES[region]] > VISIBLE)
    return landmarks.face_confidence > 0


def _cost(landmarks: Landmarks, region: str) -> float:
    """What using the key frame for the region costs, however alike it is."""
    if not _usable(landmarks, region):
        return float(_UNUSABLE)
    return COVERED * _is_covered(landmarks, region)


def _is_covered(landmarks: Landmarks, region: str) -> bool:
    parts = {"mouth": topo.LIPS_OUTER, "eye_left": topo.EYE_LEFT, "eye_right": topo.EYE_RIGHT}
    shown = landmarks.hands[landmarks.hand_confidence > VISIBLE][..., :2].reshape(-1, 2)
    if region == "head":
        return any(_is_covered(landmarks, part) for part in parts)
    if region not in parts or not len(shown):
        return False
    face = landmarks.face[:, :2]
    (right, left) = (face[rows].mean(0) for rows in (topo.EYE_RIGHT, topo.EYE_LEFT))
    nearest = np.linalg.norm(shown - face[parts[region]].mean(0), axis=1).min()
    return bool(nearest < COVER_REACH * np.linalg.norm(left - right))


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """One real frame of the footage, on the avatar's canvas."""

    rgba: U8Image  # (S, S, 4), alpha 255 is the person; every picture drawn of the avatar shares it
    landmarks: Landmarks  # canvas px

    @classmethod
    def of(cls, rgb: U8Image, matte: U8Image, landmarks: Landmarks) -> KeyFrame:
        """rgb: (S, S, 3); matte: (S, S), 255 is the person."""
        return cls(np.dstack([rgb, matte]), landmarks)

    @property
    def rgb(self) -> U8Image:
        """(S, S, 3), a view."""
        return self.rgba[..., :3]

    @property
    def matte(self) -> U8Image:
        """(S, S), a view."""
        return self.rgba[..., 3]


class KeyFrameChooser:
    """Says for every region which key frame to use; keeps to its last choice while that is good enough."""

    def __init__(
        self,
        bank: Sequence[Landmarks],
        neutral: Neutral,
        arms_come_along: bool = True,
        stray: FloatArray | None = None,
    ) -> None:
        """arms_come_along: a torso brings the arms of its key frame along, so those cost more.

        stray: (K,) 1 for a key frame with an arm that its landmarks lack, see `engine.render.stray_arms`.
        """
        self._neutral = neutral
        self._hand_cost = 1.0 if arms_come_along else BARED
        features = [region_features(landmarks, neutral) for landmarks in bank]
        self._table = {region: np.stack([f[region] for f in features]) for region in REGIONS}
        self._penalty = {r: np.array([_cost(m, r) for m in bank], np.float32) for r in REGIONS}
        if stray is not None:
            self._penalty["torso"] += GHOST_HAND * stray
        self._hand_shown = np.stack([m.hand_confidence > VISIBLE for m in bank])
        self._wrists = np.stack([m.hands[:, 0, :2] for m in bank]) / neutral.body_scale
        self._last: dict[str, int] = {}

    @property
    def chosen(self) -> dict[str, int]:
        """The last choice, region to key-frame index; a copy."""
        return dict(self._last)

    def forget(self) -> None:
        """Starts afresh, as after a cut."""
        self._last.clear()

    def choose(self, target: Landmarks, forbidden: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Region to key-frame index; hands only where the target shows them.

        forbidden: (K,) bool, for training.
        """
        features = region_features(target, self._neutral)
        choice = {}
        for region in REGIONS:
            if not _usable(target, region):
                self._last.pop(region, None)
                continue
            distances = self._distances(region, features, forbidden)
            if region == "torso":
                distances = distances + self._wrong_hands(target)
            index = self._keep(region, distances)
            if distances[index] < _UNUSABLE:
                choice[region] = index
        return choice

    def _distances(
        self, region: str, features: Mapping[str, FloatArray], forbidden: NDArray[np.bool_] | None
    ) -> FloatArray:
        apart = self._table[region] - features[region]
        distances = np.sqrt(np.einsum("kd,kd->k", apart, apart)) + self._penalty[region]
        if forbidden is not None:
            distances = distances + np.where(forbidden, _UNUSABLE, np.float32(0))
        return np.asarray(distances, np.float32)

    def _wrong_hands(self, target: Landmarks) -> FloatArray:
        """(K,) what each key frame's own hands would spoil: they come along with its torso."""
        away = np.linalg.norm(self._wrists - target.hands[:, 0, :2] / self._neutral.body_scale, axis=2)
        shown = target.hand_confidence > VISIBLE
        ghosts = self._hand_shown * np.where(shown, np.clip(away / SAME_PLACE, 0.0, 1.0), 1.0)
        missing = ~self._hand_shown & shown
        return np.asarray(self._hand_cost * (GHOST_HAND * ghosts + MISSING_HAND * missing).sum(1), np.float32)

    def _keep(self, region: str, distances: FloatArray) -> int:
        best = int(distances.argmin())
        last = self._last.get(region, best)
        if distances[best] > KEEP_UNLESS * distances[last]:
            best = last
        self._last[region] = best
        return best


def select_bank(frames: Sequence[Landmarks], neutral: Neutral, size: int = BANK_SIZE) -> list[int]:
    """Indices of the `size` frames that together stand nearest to all frames, over all regions.

    Greedy facility location (Nemhauser, Wolsey, Fisher, Math. Programming 1978). The first is the frame
    nearest to the neutral. Frames without a face are never chosen.
    """
    usable = [index for index, frame in enumerate(frames) if frame.face_confidence > 0]
    step = max(1, len(usable) // 320)  # distances are all-to-all
    candidates = usable[::step]
    features = [region_features(frames[index], neutral) for index in candidates]
    tables = []
    for region in REGIONS:
        shown = np.array([_usable(frames[index], region) for index in candidates])
        if not shown.any():
            continue
        points = np.stack([f[region] for f in features])
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        # Rows: frames to serve; columns: candidates. Who does not show the region neither asks nor serves.
        distances[:, ~shown] = distances.max()
        distances[~shown] = 0.0
        tables.append(distances / max(float(distances[shown].mean()), 1e-6))
    first = int(np.argmin([np.linalg.norm(f["head"]) + np.linalg.norm(f["mouth"]) for f in features]))
    chosen = [first]
    served = [table[:, first].copy() for table in tables]
    while len(chosen) < min(size, len(candidates)):
        gain = sum(
            np.maximum(near[:, None] - table, 0).sum(0) for near, table in zip(served, tables, strict=True)
        )
        best = int(np.argmax(gain))
        if best in chosen:
            break
        chosen.append(best)
        served = [np.minimum(near, table[:, best]) for near, table in zip(served, tables, strict=True)]
    return [candidates[index] for index in chosen]
