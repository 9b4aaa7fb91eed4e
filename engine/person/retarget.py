"""Retargeting: the driver's motion on the avatar's own face and bones.

The result is landmarks of the avatar's shape on its canvas, so that the denoiser always sees what it was
trained on. A motion retargeted onto the neutral it was measured against gives back the landmarks it came
from, save the shoulders: those follow the tracked chest and the learnt torso model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.geometry import euler_deg_to_rotation, rotation_to_euler_deg
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import Motion, Neutral, lid_gaps, lip_gap
from engine.person.torso import TorsoModel

SUPPORT_PERCENTILE = 1.0  # the extreme hundredth of the footage is as likely a tracking error as a pose
BEYOND = 0.35  # how far past the footage a pose may go, as a share of the footage's own range
MIN_MARGIN = np.array([3.0, 3.0, 3.0, 0.04, 0.04, 0.02], np.float32)  # degrees x3, head units x2, scale ratio

BONES_DIFFER = 1.25  # ratio; more is an arm that was never seen stretched
HAND_INSIDE = 0.2  # share of a hand's points on the canvas; a hand of which less shows is out of the picture


@dataclass(frozen=True, slots=True)
class Support:
    """The poses that the footage shows, relative to the neutral; beyond them the avatar is held back."""

    low: FloatArray  # (6,) yaw, pitch, roll in degrees; x, y in head units; scale ratio
    high: FloatArray  # (6,)
    hand_seen: FloatArray  # (2,) share of the frames that show the left and the right hand

    def held(self, pose: FloatArray) -> FloatArray:
        """pose: (6,) as in `low`. Inside the footage's range unchanged, beyond it eased to a stop."""
        margin = np.maximum(BEYOND * (self.high - self.low), MIN_MARGIN)
        over, under = np.maximum(pose - self.high, 0.0), np.maximum(self.low - pose, 0.0)
        inside = np.clip(pose, self.low, self.high)
        return np.asarray(
            inside + margin * np.tanh(over / margin) - margin * np.tanh(under / margin), np.float32
        )


def head_pose(motion: Motion, neutral: Neutral) -> FloatArray:
    """(6,) yaw, pitch, roll in degrees; x, y in head units; scale ratio; all relative to the neutral."""
    angles = rotation_to_euler_deg(motion.rotation @ neutral.rotation.T)
    shift = (motion.centre - neutral.centre) / neutral.scale
    return np.concatenate([angles, shift, [motion.scale / float(neutral.scale)]]).astype(np.float32)


def shoulder_shift(motion: Motion, neutral: Neutral) -> FloatArray:
    """(2,) how far the middle of the tracked shoulders is from its neutral place, in shoulder distances."""
    moved = motion.shoulders[:, :2].mean(0) - neutral.shoulders[:, :2].mean(0)
    return np.asarray(np.clip(moved / neutral.body_scale, -0.5, 0.5), np.float32)


def chest_shift(motion: Motion, neutral: Neutral) -> FloatArray:
    """(2,) how far the tracked chest is from its neutral place, in shoulder distances."""
    return np.asarray((motion.chest - neutral.chest) / neutral.body_scale, np.float32)


def chest_bend(motion: Motion, neutral: Neutral) -> FloatArray:
    """(2, 2) how the chest's picture is stretched and sheared against its neutral one, 0 for not at all."""
    return np.asarray(motion.chest_confidence * (motion.chest_shape - neutral.chest_shape), np.float32)


def torso_points(neutral: Neutral, shift: FloatArray, bend: FloatArray) -> FloatArray:
    """(4, 2) px: shoulders and hips, left and right, moved with the chest.

    shift: (2,) shoulder distances; bend: (2, 2) as in `chest_bend`. The hips are so far below as the
    shoulders are apart: places on the trunk that carry the warp, not joints.
    """
    shoulders = neutral.shoulders[:, :2]
    across = shoulders[0] - shoulders[1]
    hips = shoulders + np.array([-across[1], across[0]], np.float32)
    points = np.concatenate([shoulders, hips])
    moved = points + shift * neutral.body_scale + (points - neutral.chest_middle) @ bend.T
    return np.asarray(moved, np.float32)


def support_of(motions: Sequence[Motion], neutral: Neutral) -> Support:
    """What the footage supports, from the motion of its frames (at least one with a face)."""
    poses = np.stack([head_pose(motion, neutral) for motion in motions if motion.face_confidence > 0])
    low, high = np.percentile(poses, [SUPPORT_PERCENTILE, 100.0 - SUPPORT_PERCENTILE], axis=0)
    hands = np.stack([motion.hand_confidence > VISIBLE for motion in motions])
    return Support(low.astype(np.float32), high.astype(np.float32), hands.mean(0).astype(np.float32))


class Retargeter:
    """Carries motion from a driver to one avatar. `driver` may be replaced at any time (calibration)."""

    def __init__(
        self,
        avatar: Neutral,
        support: Support,
        torso: TorsoModel,
        canvas_px: int,
        filmed: Sequence[Landmarks] = (),
    ) -> None:
        """filmed: frames of the avatar's footage, for those who ask what its face has shown."""
        self.avatar = avatar
        self.filmed = filmed
        self.support = support
        self.torso = torso
        self.canvas_px = canvas_px
        self.driver = avatar

    def target(self, motion: Motion) -> Landmarks:
        """The avatar's landmarks, in canvas pixels, for the driver's motion."""
        pose = self._pose(motion)
        centre = self.avatar.centre + pose[3:5] * self.avatar.scale
        scale = float(self.avatar.scale * pose[5])
        rotation = self._rotation(pose)
        face = scale * self._face(motion) @ rotation.T
        face[:, :2] += centre
        points, confidence = self._body(motion, pose)
        hands, hand_confidence = self._hands(motion, points)
        return Landmarks(
            width=self.canvas_px,
            height=self.canvas_px,
            face=face.astype(np.float32),
            face_confidence=1.0,
            pose=points,
            pose_confidence=confidence,
            hands=hands,
            hand_confidence=hand_confidence,
        )

    def shown_rotation(self, motion: Motion) -> FloatArray:
        """(3, 3) of the avatar's head relative to the camera, for the driver's motion."""
        return self._rotation(self._pose(motion))

    def _pose(self, motion: Motion) -> FloatArray:
        """(6,) as `head_pose`, held back where the footage never went."""
        return self.support.held(head_pose(motion, self.driver))

    def _rotation(self, pose: FloatArray) -> FloatArray:
        return np.asarray(euler_deg_to_rotation(pose[:3]) @ self.avatar.rotation, np.float32)

    def _face(self, motion: Motion) -> FloatArray:
        """(478, 3) head units: the avatar's face with the driver's expression and as open lips and lids."""
        avatar, driver = self.avatar, self.driver
        face = avatar.face + motion.expression
        # Offsets alone leave a shut mouth ajar when the two neutrals differ; what is shut must be shut.
        mouth = _width(avatar.face, topo.MOUTH_CORNERS) / _width(driver.face, topo.MOUTH_CORNERS)
        wanted = float(avatar.lip_closed) + (motion.lip_gap - float(driver.lip_closed)) * mouth
        _shift_lips(face, max(wanted, float(avatar.lip_closed)) - lip_gap(face))
        openness = (motion.lid_gap - driver.lid_closed) / np.maximum(
            driver.lid_open - driver.lid_closed, 1e-3
        )
        lids = avatar.lid_closed + openness * (avatar.lid_open - avatar.lid_closed)
        for eye, change in enumerate(np.maximum(lids, 0.0) - lid_gaps(face)):
            face[topo.LID_UPPER[eye], 1] -= 0.8 * change  # the upper lid does most of the work
            face[topo.LID_LOWER[eye], 1] += 0.2 * change
        return np.asarray(face, np.float32)

    def _body(self, motion: Motion, held_pose: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pose points (33, 3) px with shoulders, elbows and wrists set, and their confidence (33,)."""
        avatar, driver = self.avatar, self.driver
        ratio = float(avatar.body_scale / driver.body_scale)
        seen = motion.shoulder_confidence
        trunk = torso_points(avatar, self._chest_shift(motion, held_pose), self._chest_bend(motion))
        shoulders = avatar.shoulders.copy()
        shoulders[:, :2] = trunk[:2]
        elbow_seen = motion.elbow_confidence * (seen > VISIBLE)
        wrist_seen = np.minimum(motion.wrist_confidence, elbow_seen)
        # Arms were measured from the tracked shoulders; hung from there, the shoulders' error cancels.
        hung = avatar.shoulders + ratio * (motion.shoulders - driver.shoulders)
        elbows = hung + ratio * _bone_ratio(avatar, driver, 0) * motion.elbows
        wrists = elbows + ratio * _bone_ratio(avatar, driver, 1) * motion.wrists
        # An arm that is lost sinks to where it rests; it is never left hanging in the air. A hand that shows
        # says where its wrist is, even with the elbow out of the picture.
        placed = np.maximum(wrist_seen, motion.hand_confidence)
        known = np.clip(placed / VISIBLE, 0.0, 1.0)[:, None]
        wrists = known * wrists + (1.0 - known) * (avatar.rest_wrists + shoulders - avatar.shoulders)
        points, confidence = np.zeros((33, 3), np.float32), np.zeros(33, np.float32)
        for rows, value in ((topo.SHOULDERS, shoulders), (topo.ELBOWS, elbows), (topo.WRISTS, wrists)):
            points[rows] = value
        points[topo.HIPS, :2] = trunk[2:]
        confidence[topo.SHOULDERS] = confidence[topo.HIPS] = 1.0
        # Off the canvas no arm was ever seen in training: drawn as seen, it would call up hands at the edge.
        confidence[topo.ELBOWS] = np.where(self._on_canvas(elbows), elbow_seen, 0.0)
        confidence[topo.WRISTS] = np.where(self._on_canvas(wrists), wrist_seen, 0.0)
        return points, confidence

    def _on_canvas(self, points: FloatArray) -> NDArray[np.bool_]:
        """points: (..., 3) px."""
        return np.asarray(((points[..., :2] >= 0) & (points[..., :2] < self.canvas_px)).all(axis=-1))

    def _chest_shift(self, motion: Motion, held_pose: FloatArray) -> FloatArray:
        """(2,) shoulder distances: as tracked, but no further from the head's pull than the footage shows."""
        shoulders = shoulder_shift(motion, self.driver) if motion.shoulder_confidence > VISIBLE else None
        expected = self.torso.shift(held_pose, shoulders)
        tracked = chest_shift(motion, self.driver)
        beyond = np.clip(tracked - expected, -self.torso.slack, self.torso.slack)
        return np.asarray(expected + motion.chest_confidence * beyond, np.float32)

    def _chest_bend(self, motion: Motion) -> FloatArray:
        """(2, 2): as tracked, but no more than the footage shows."""
        bend = chest_bend(motion, self.driver)
        return np.asarray(np.clip(bend, -self.torso.bend, self.torso.bend), np.float32)

    def _hands(self, motion: Motion, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hands (2, 21, 3) px on the retargeted wrists; a hand that the footage never shows stays hidden."""
        avatar, driver = self.avatar, self.driver
        known = (avatar.hand_size > 0) & (driver.hand_size > 0)
        size = np.where(known, avatar.hand_size / np.maximum(driver.hand_size, 1e-6), 1.0)
        ratio = (size * float(avatar.body_scale / driver.body_scale)).astype(np.float32)
        hands = points[topo.WRISTS][:, None] + ratio[:, None, None] * motion.hands
        # The pose's depth is measured from the hips, the hand's from its own wrist: keep the hand's.
        hands[..., 2] = ratio[:, None] * motion.hands[..., 2]
        inside = self._on_canvas(hands).mean(axis=1)
        shown = np.where((avatar.hand_size > 0) & (inside > HAND_INSIDE), motion.hand_confidence, 0.0)
        return hands.astype(np.float32), shown.astype(np.float32)


def _width(face: FloatArray, ends: NDArray[np.intp]) -> float:
    return float(np.linalg.norm(face[ends[0]] - face[ends[1]]))


def _shift_lips(face: FloatArray, change: float) -> None:
    """Opens the inner lips by `change` head units, the outer ones along with them; the corners stay."""
    for inner, outer, share in (
        (topo.LIPS_UPPER_INNER, topo.LIPS_UPPER_OUTER, -0.35),
        (topo.LIPS_LOWER_INNER, topo.LIPS_LOWER_OUTER, 0.65),
    ):
        face[inner, 1] += share * change
        face[outer, 1] += share * change


def _bone_ratio(avatar: Neutral, driver: Neutral, bone: int) -> FloatArray:
    """(2, 1) avatar's bone over driver's, 1 where either was never seen, within what people differ by."""
    a, d = avatar.arm_bones[:, bone], driver.arm_bones[:, bone]
    ratio = np.where((a > 0) & (d > 0), a / np.maximum(d, 1e-6), 1.0)
    return np.clip(ratio, 1 / BONES_DIFFER, BONES_DIFFER).astype(np.float32)[:, None]
