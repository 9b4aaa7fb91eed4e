"""Poses the skeleton: a frame of the performance (angles, wrist places, finger angles) -> bone rotations.

Knows the joints of `mesh.Person`; nothing of rendering. Angles are radians, lengths metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.presenter.mesh import TWIST_SEGMENTS, Person, twist_bone
from benchmarks.synthetic.presenter.performance import Performance

Array = npt.NDArray[np.float64]

SIDES = ("Left", "Right")
FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")
NECK_SHARE = 0.45  # part of a head turn that the neck takes
FAR_JOINT_SHARE = 0.65  # the last finger joint bends with the middle one
MAX_WRIST_BEND = np.radians(62)
MAX_FOREARM_TWIST = np.radians(125)
TORSO_FRONT, TORSO_HALF_WIDTH = 0.17, 0.2  # wrists stay out of this box in front of the shoulder joints


@dataclass(frozen=True)
class BodyPose:
    """One frame. Sides are left, right; vectors are in the person's axes (see mesh)."""

    head: Array  # (3,) yaw to the left, pitch down, roll to the left
    torso: Array  # (3,) turn to the left, bend forwards, lean to the left
    wrist: Array  # (2, 3) from the middle of the shoulders, in shoulder widths
    forward: Array  # (2, 3) wrist to middle knuckle
    palm: Array  # (2, 3) out of the palm
    fingers: Array  # (2, 5, 3) flexion, spread towards the thumb, curl


def frame_pose(motion: Performance, frame: int) -> BodyPose:
    return BodyPose(
        motion.head[frame], motion.torso[frame], motion.wrist[frame],
        motion.forward[frame], motion.palm[frame], motion.fingers[frame],
    )  # fmt: skip


def unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def turn(axis: Array, angle: float) -> Array:
    """(3, 3) rotation about a unit axis by the right-hand rule."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def swing(source: Array, target: Array) -> Array:
    """(3, 3) shortest rotation that takes unit vector source to unit vector target."""
    axis = np.cross(source, target)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3)
    return turn(axis / sine, float(np.arctan2(sine, source @ target)))


def euler(yaw: float, pitch: float, roll: float) -> Array:
    """(3, 3) yaw to the left, then pitch down, then roll to the left, about the person's axes."""
    return (
        turn(np.array([0.0, 1, 0]), yaw)
        @ turn(np.array([1.0, 0, 0]), pitch)
        @ turn(np.array([0, 0, -1.0]), roll)
    )


def twist_angle(rotation: Array, axis: Array) -> float:
    """Angle of the part of `rotation` that turns about unit `axis`, in -pi..pi."""
    vector = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    cosine_half_2 = max(0.0, 1 + float(np.trace(rotation)))
    angle = 2 * np.arctan2(float(vector @ axis), 0.5 * cosine_half_2)
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def axes(first: Array, second: Array) -> Array:
    """(3, 3) orthonormal columns: first, second made square to it, their cross product."""
    second = unit(second - first * (first @ second))
    return np.stack([first, second, np.cross(first, second)], axis=1)


def bend_triangle(
    start: Array, target: Array, upper: float, lower: float, pole: Array
) -> tuple[Array, Array]:
    """Two-bone reach: (elbow, end) positions, the elbow towards `pole`; the end is kept within reach."""
    away = target - start
    reach = float(np.clip(np.linalg.norm(away), abs(upper - lower) + 0.05, 0.985 * (upper + lower)))
    along = unit(away)
    shift = (upper**2 - lower**2 + reach**2) / (2 * reach)
    aside = unit(pole - along * (pole @ along))
    elbow = start + along * shift + aside * np.sqrt(max(upper**2 - shift**2, 0.0))
    return elbow, start + along * reach


class Rig:
    """Solves poses for one person."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._joint = {name: bone.head for name, bone in person.bones.items()}
        self.shoulder_width = float(np.linalg.norm(self._joint["LeftArm"] - self._joint["RightArm"]))

    def solve(self, pose: BodyPose) -> dict[str, Array]:
        """Bone name -> (3, 3) rotation in the room, for `Person.pose_vertices`."""
        yaw, bend, lean = pose.torso
        rotations = {
            "Hips": np.eye(3),
            "Spine": euler(0.3 * yaw, 0.3 * bend, 0.3 * lean),
            "Spine1": euler(0.65 * yaw, 0.65 * bend, 0.65 * lean),
            "Spine2": euler(yaw, bend, lean),
        }
        rotations["Neck"] = rotations["Spine2"] @ euler(*(NECK_SHARE * pose.head))
        rotations["Head"] = rotations["Spine2"] @ euler(*pose.head)
        for side in range(2):
            self._solve_arm(rotations, pose, side)
        return rotations

    def _solve_arm(self, rotations: dict[str, Array], pose: BodyPose, side: int) -> None:
        name, outward = SIDES[side], 1.0 if side == 0 else -1.0
        lift = float(np.clip(0.55 + pose.wrist[side, 1], 0.0, 1.0))
        # Raised hands lift the collar bone a little; hanging ones let it drop, or the shoulders look puffed.
        rotations[f"{name}Shoulder"] = rotations["Spine2"] @ turn(
            np.array([0, 0, outward]), np.radians(-7 + 12 * lift)
        )
        placed = self._person.bone_matrices(rotations)
        shoulder = transform(placed[f"{name}Arm"], self._joint[f"{name}Arm"])
        centre = transform(placed["Spine2"], 0.5 * (self._joint["LeftArm"] + self._joint["RightArm"]))
        target = keep_off_torso(centre + pose.wrist[side] * self.shoulder_width, centre)
        rest_upper = self._joint[f"{name}ForeArm"] - self._joint[f"{name}Arm"]
        rest_lower = self._joint[f"{name}Hand"] - self._joint[f"{name}ForeArm"]
        pole = np.array([outward * 0.55, -0.8, -0.6])
        elbow, wrist = bend_triangle(
            shoulder, target, float(np.linalg.norm(rest_upper)), float(np.linalg.norm(rest_lower)), pole
        )
        upper, lower = unit(elbow - shoulder), unit(wrist - elbow)
        rest_normal = unit(np.cross(rest_upper, rest_lower))
        normal = unit(np.cross(upper, lower))
        upper_turn = axes(upper, normal) @ axes(unit(rest_upper), rest_normal).T
        lower_turn = axes(lower, normal) @ axes(unit(rest_lower), rest_normal).T
        carried = rotations[f"{name}Shoulder"]
        untwisted = swing(carried @ unit(rest_upper), upper) @ carried
        self._spread_twist(
            rotations, f"{name}Arm", untwisted, upper, twist_angle(upper_turn @ untwisted.T, upper)
        )
        self._solve_hand(rotations, pose, side, lower_turn, lower)

    def _solve_hand(
        self, rotations: dict[str, Array], pose: BodyPose, side: int, lower_turn: Array, lower: Array
    ) -> None:
        name = SIDES[side]
        rest_axes = self.rest_hand_axes(side)
        wanted = axes(unit(pose.forward[side]), pose.palm[side]) @ rest_axes.T
        relative = wanted @ lower_turn.T
        twist = twist_angle(relative, lower)
        kept_twist = float(np.clip(twist, -MAX_FOREARM_TWIST, MAX_FOREARM_TWIST))
        bend = relative @ turn(lower, -twist)
        angle = float(np.arccos(np.clip((np.trace(bend) - 1) / 2, -1, 1)))
        if angle > MAX_WRIST_BEND:
            axis = unit(np.array([bend[2, 1] - bend[1, 2], bend[0, 2] - bend[2, 0], bend[1, 0] - bend[0, 1]]))
            bend = turn(axis, MAX_WRIST_BEND)
        self._spread_twist(rotations, f"{name}ForeArm", lower_turn, lower, kept_twist)
        hand = bend @ turn(lower, kept_twist) @ lower_turn
        rotations[f"{name}Hand"] = hand
        for finger in range(5):
            self._solve_finger(rotations, hand, side, finger, pose.fingers[side, finger])

    @staticmethod
    def _spread_twist(
        rotations: dict[str, Array], limb: str, start: Array, axis: Array, angle: float
    ) -> None:
        for segment in range(TWIST_SEGMENTS):
            share = segment / (TWIST_SEGMENTS - 1)
            rotations[twist_bone(limb, segment)] = turn(axis, share * angle) @ start

    def rest_hand_axes(self, side: int) -> Array:
        """(3, 3) columns forward, palm, third, of the unposed hand."""
        name = SIDES[side]
        wrist = self._joint[f"{name}Hand"]
        forward = unit(self._joint[f"{name}HandMiddle1"] - wrist)
        across = self._joint[f"{name}HandIndex1"] - self._joint[f"{name}HandPinky1"]
        palm = np.cross(forward, across) if side == 0 else np.cross(across, forward)
        return axes(forward, unit(palm))

    def _solve_finger(
        self, rotations: dict[str, Array], hand: Array, side: int, finger: int, angles: Array
    ) -> None:
        """Turns the three bones of a finger; angles: (3,) flexion, spread, curl."""
        names = [f"{SIDES[side]}Hand{FINGERS[finger]}{joint}" for joint in (1, 2, 3)]
        near, middle, far = (self._joint[name] for name in names)
        forward, palm, third = self.rest_hand_axes(side).T
        across = -third if side == 0 else third
        flexion, spread, curl = angles
        wanted = (
            np.cos(spread) * (np.cos(flexion) * forward + np.sin(flexion) * palm) + np.sin(spread) * across
        )
        rest_near, rest_next = unit(middle - near), unit(far - middle)
        first = swing(rest_near, unit(wanted))
        if finger == 0:
            axis = unit(np.cross(rest_near, 0.8 * palm - across))  # the thumb folds over the palm
        else:
            axis = unit(np.cross(rest_near, palm))
        rest_curl = float(np.arccos(np.clip(rest_near @ rest_next, -1, 1)))
        bend = max(curl - rest_curl, -0.1)
        second = first @ turn(axis, bend)
        rotations[names[0]] = hand @ first
        rotations[names[1]] = hand @ second
        rotations[names[2]] = hand @ second @ turn(axis, FAR_JOINT_SHARE * bend)


def transform(matrix: Array, point: Array) -> Array:
    """matrix: (3, 4), point: (3,) -> (3,)."""
    return np.asarray(matrix[:, :3] @ point + matrix[:, 3])


def keep_off_torso(target: Array, centre: Array) -> Array:
    """Moves a wrist that would sink into chest, neck or face out in front of them."""
    place = target - centre
    closeness = float(np.clip((TORSO_HALF_WIDTH + 0.08 - abs(place[0])) / 0.08, 0.0, 1.0))
    if place[1] > -0.62 and place[2] < TORSO_FRONT:
        target = target + np.array([0, 0, closeness * (TORSO_FRONT - place[2])])
    return target
