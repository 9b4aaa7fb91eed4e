"""Motion: what a person does, apart from who they are.

`Neutral` holds who they are (their face at rest, where they sit, how long their bones are); `Motion` holds
what they do, measured against their own neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.errors import FootageError
from engine.person import topology as topo
from engine.person.geometry import rotation_to_euler_deg, similarity_fit
from engine.person.landmarks import VISIBLE, Landmarks

DEFAULT_SHOULDERS = np.array(
    [[1.9, 2.6, 0.3], [-1.9, 2.6, 0.3]], np.float32
)  # head units, seen from the head's centre
SHUT_LIDS = 0.15  # of the open gap, where no blink was seen; blinks measured 0.0 to 0.2
NEUTRAL_SHARE = 0.1  # the calmest tenth of the frames makes the neutral


@dataclass(frozen=True, slots=True)
class Neutral:
    """A person at rest. One head unit is their own distance between the outer eye corners."""

    face: FloatArray  # (478, 3) head units, in head axes, centred on the rigid points
    rotation: FloatArray  # (3, 3) of the head at rest, relative to the camera
    centre: FloatArray  # (2,) px, the head's centre at rest
    scale: FloatArray  # () px per head unit at rest
    lip_closed: FloatArray  # () head units: gap of the inner lips when the mouth is shut
    lid_open: FloatArray  # (2,) head units: gap of the lids at rest, left and right eye
    lid_closed: FloatArray  # (2,) head units: gap of the lids when shut
    shoulders: FloatArray  # (2, 3) px
    chest: FloatArray  # (2,) px, the tracked chest shift at rest
    chest_middle: FloatArray  # (2,) px, where the chest's middle is at rest
    chest_shape: FloatArray  # (2, 2) as tracked at rest (see Landmarks)
    body_scale: FloatArray  # () px, distance between the shoulders
    arm_bones: FloatArray  # (2, 2) shoulder distances: upper arm and forearm, 0 where never seen
    hand_size: FloatArray  # (2,) shoulder distances: wrist to middle knuckle, 0 where never seen
    rest_wrists: FloatArray  # (2, 3) px: where the wrists rest


@dataclass(frozen=True, slots=True)
class Motion:
    """What a person does in one frame, relative to their neutral."""

    rotation: FloatArray  # (3, 3) of the head relative to the camera
    centre: FloatArray  # (2,) px of the head in the source image
    scale: float  # px per head unit
    expression: FloatArray  # (478, 3) head units, offsets from the neutral face, gaze included
    lip_gap: float  # head units
    lid_gap: FloatArray  # (2,) head units
    face_confidence: float
    shoulders: FloatArray  # (2, 3) px
    elbows: FloatArray  # (2, 3) px, from their shoulder
    wrists: FloatArray  # (2, 3) px, from their elbow
    hands: FloatArray  # (2, 21, 3) px, from the hand's own wrist
    shoulder_confidence: float
    chest: FloatArray  # (2,) px, as tracked
    chest_shape: FloatArray  # (2, 2) as tracked (see Landmarks)
    chest_confidence: float
    elbow_confidence: FloatArray  # (2,)
    wrist_confidence: FloatArray  # (2,)
    hand_confidence: FloatArray  # (2,)


def lip_gap(face: FloatArray) -> float:
    """Mean gap between the inner lips; face: (478, 3) in head axes, any unit."""
    return float((face[topo.LIPS_LOWER_INNER, 1] - face[topo.LIPS_UPPER_INNER, 1]).mean())


def lid_gaps(face: FloatArray) -> FloatArray:
    """Mean gap between the lids of the left and the right eye, (2,); face as in `lip_gap`."""
    gaps = [
        (face[low, 1] - face[up, 1]).mean() for up, low in zip(topo.LID_UPPER, topo.LID_LOWER, strict=True)
    ]
    return np.array(gaps, np.float32)


def in_head_axes(face: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """Undoes the head's pose. face: (478, 3) px; reference: (>=468, 3) neutral or canonical, head units.

    Returns the face in head units and axes (478, 3), rotation (3, 3), scale (px per unit) and centre (3,) px.
    """
    rotation, scale, centre = similarity_fit(reference[topo.RIGID], face[topo.RIGID])
    return ((face - centre) @ rotation / scale).astype(np.float32), rotation, scale, centre


def canonical_reference() -> FloatArray:
    """The canonical face (468, 3) in head units, centred on the rigid points."""
    return _normalised(topo.canonical_face()[0])


def _normalised(face: FloatArray) -> FloatArray:
    left, right = topo.EYE_CORNERS[0][1], topo.EYE_CORNERS[1][1]
    unit = float(np.linalg.norm(face[left] - face[right]))
    return np.asarray((face - face[topo.RIGID].mean(0)) / unit, np.float32)


def build_neutral(frames: Sequence[Landmarks]) -> Neutral:
    """The person's neutral from many frames: the calmest decide (mouth shut, eyes open, usual head pose).

    Raises FootageError when no frame shows a face.
    """
    seen = [frame for frame in frames if frame.face_confidence > 0]
    if not seen:
        raise FootageError(
            f"no face in any of {len(frames)} frames: sit facing the camera with light on the face"
        )
    reference = canonical_reference()
    posed = [in_head_axes(frame.face, reference) for frame in seen]
    calm = _calmest([face for face, *_ in posed], [rotation for _, rotation, *_ in posed])
    # Second pass against the person's own face: the canonical one bends the pose towards an average head.
    own = _normalised(np.mean([posed[i][0] for i in calm], axis=0).astype(np.float32))
    posed = [in_head_axes(frame.face, own) for frame in seen]
    faces = np.stack([face for face, *_ in posed])
    rest = int(calm[0])
    lids = np.stack([lid_gaps(face) for face in faces])
    lips = np.array([lip_gap(face) for face in faces])
    return Neutral(
        face=own,
        rotation=posed[rest][1],
        centre=np.median([posed[i][3][:2] for i in calm], axis=0).astype(np.float32),
        scale=np.array(np.median([posed[i][2] for i in calm]), np.float32),
        lip_closed=np.array(min(np.percentile(lips, 2), lip_gap(own)), np.float32),
        lid_open=lid_gaps(own),
        lid_closed=np.minimum(np.percentile(lids, 1, axis=0), SHUT_LIDS * lid_gaps(own)).astype(np.float32),
        chest=np.median([seen[i].chest for i in calm], axis=0).astype(np.float32),
        chest_middle=np.median([seen[i].chest_middle + seen[i].chest for i in calm], axis=0).astype(
            np.float32
        ),
        chest_shape=np.median([seen[i].chest_shape for i in calm], axis=0).astype(np.float32),
        **_body_at_rest(seen, own),
    )


def _calmest(faces: Sequence[FloatArray], rotations: Sequence[FloatArray]) -> NDArray[np.intp]:
    """Indices of the calmest frames, calmest first."""
    angles = np.stack([rotation_to_euler_deg(rotation) for rotation in rotations])
    turned = np.abs(angles - np.median(angles, axis=0)).sum(1) / 10.0  # ten degrees weigh like an open mouth
    mouth = np.array([lip_gap(face) for face in faces]) / 0.15
    lids = np.stack([lid_gaps(face).mean() for face in faces])
    shut = np.maximum(np.median(lids) - lids, 0.0) / 0.05
    order = np.argsort(turned + np.maximum(mouth, 0.0) + shut, kind="stable")
    return order[: max(1, min(len(order), max(5, int(NEUTRAL_SHARE * len(order)))))]


def _body_at_rest(frames: Sequence[Landmarks], face: FloatArray) -> dict[str, FloatArray]:
    """The body's part of a neutral; a person whose shoulders are never seen gets ordinary ones."""
    scales = [in_head_axes(frame.face, face) for frame in frames]
    head_scale = float(np.median([scale for *_, scale, _ in scales]))
    head_centre = np.median([centre for *_, centre in scales], axis=0)
    with_shoulders = [f for f in frames if f.pose_confidence[topo.SHOULDERS].min() > VISIBLE]
    if with_shoulders:
        shoulders = np.median([f.pose[topo.SHOULDERS] for f in with_shoulders], axis=0).astype(np.float32)
    else:
        flat = np.array([head_centre[0], head_centre[1], 0.0])
        shoulders = (flat + DEFAULT_SHOULDERS * head_scale).astype(np.float32)
    body_scale = max(float(np.linalg.norm(shoulders[0, :2] - shoulders[1, :2])), 1e-3)
    bones = np.zeros((2, 2), np.float32)
    hand_size = np.zeros(2, np.float32)
    rest_wrists = np.stack([shoulders[0], shoulders[1]]) + np.array([0.0, 1.6 * body_scale, 0.0], np.float32)
    for side in (0, 1):
        elbow_frames = [f for f in with_shoulders if f.pose_confidence[topo.ELBOWS[side]] > VISIBLE]
        wrist_frames = [f for f in elbow_frames if f.pose_confidence[topo.WRISTS[side]] > VISIBLE]
        hand_frames = [f for f in frames if f.hand_confidence[side] > VISIBLE]
        bones[side, 0] = _bone(elbow_frames, topo.SHOULDERS[side], topo.ELBOWS[side]) / body_scale
        bones[side, 1] = _bone(wrist_frames, topo.ELBOWS[side], topo.WRISTS[side]) / body_scale
        if hand_frames:
            spans = [np.linalg.norm(f.hands[side, 9] - f.hands[side, 0]) for f in hand_frames]
            hand_size[side] = np.median(spans) / body_scale
        if wrist_frames:
            rest_wrists[side] = np.median([f.pose[topo.WRISTS[side]] for f in wrist_frames], axis=0)
    return {
        "shoulders": shoulders,
        "body_scale": np.array(body_scale, np.float32),
        "arm_bones": bones,
        "hand_size": hand_size,
        "rest_wrists": rest_wrists.astype(np.float32),
    }


def _bone(frames: Sequence[Landmarks], start: np.intp, end: np.intp) -> float:
    """Length in px where the bone lies across the view; pose trackers' depth is too poor to measure with."""
    if not frames:
        return 0.0
    return float(np.percentile([np.linalg.norm(f.pose[end, :2] - f.pose[start, :2]) for f in frames], 90))


def motion_of(frame: Landmarks, neutral: Neutral) -> Motion:
    """The motion of one frame. A lost face gives zero expression at the neutral place, confidence 0."""
    if frame.face_confidence > 0:
        face, rotation, scale, centre = in_head_axes(frame.face, neutral.face)
    else:
        face, rotation, scale = neutral.face, neutral.rotation, float(neutral.scale)
        centre = np.append(neutral.centre, np.float32(0.0))
    shoulders = frame.pose[topo.SHOULDERS]
    elbows = frame.pose[topo.ELBOWS]
    wrists = frame.pose[topo.WRISTS].copy()
    for side in (0, 1):  # the hand tracker places the wrist better than the pose tracker
        if frame.hand_confidence[side] > 0:
            wrists[side, :2] = frame.hands[side, 0, :2]
    wrist_confidence = np.maximum(frame.pose_confidence[topo.WRISTS], frame.hand_confidence)
    return Motion(
        rotation=rotation,
        centre=centre[:2].astype(np.float32),
        scale=scale,
        expression=face - neutral.face,
        lip_gap=lip_gap(face),
        lid_gap=lid_gaps(face),
        face_confidence=frame.face_confidence,
        shoulders=shoulders,
        elbows=elbows - shoulders,
        wrists=wrists - elbows,
        hands=frame.hands - frame.hands[:, :1],
        chest=frame.chest,
        chest_shape=frame.chest_shape,
        chest_confidence=frame.chest_confidence,
        shoulder_confidence=float(frame.pose_confidence[topo.SHOULDERS].min()),
        elbow_confidence=frame.pose_confidence[topo.ELBOWS],
        wrist_confidence=wrist_confidence.astype(np.float32),
        hand_confidence=frame.hand_confidence,
    )
