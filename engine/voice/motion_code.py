"""`Motion` as CODE numbers that mean the same for everybody, and back.

In them a voice tells what a face does, and a voice and a face are blended. The offsets of a face are split by
two soft masks, around the mouth and above it. What lids and gaze do to the upper part is told by numbers of
their own; what remains of each is told in principal components of rendered people's offsets, in which lips
and brows weigh most (a linear model of expression, as in Blanz and Vetter, SIGGRAPH 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.gaze import iris_shift
from engine.person.geometry import euler_deg_to_rotation, rotation_to_euler_deg
from engine.person.landmarks import FACE_POINTS
from engine.person.motion import Motion, Neutral, canonical_reference

MOUTH, UPPER = slice(0, 21), slice(22, 32)  # components, head units
LIP_GAP = 21  # head units above the gap of shut lips
LIPS, BROWS = slice(0, 22), UPPER  # regions of the code
LIDS = slice(32, 34)  # left and right: 0 shut, 1 as open as at rest
GAZE = slice(34, 36)  # shift of both irises against the eyes' corners, head units: image right, down
HEAD = slice(
    36, 42
)  # yaw, pitch, roll in radians; right, down in head units; log of the scale; against the rest
TURN = slice(36, 39)
CHEST = slice(42, 48)  # shift in shoulder distances; chest_shape by rows
CODE = 48

_WEIGHT_LIPS, _WEIGHT_BROWS, _WEIGHT_DEPTH = 3.0, 2.0, 0.4
_MASK_TOP, _MASK_BOTTOM = 0.1, 0.5  # head units below the head's centre: cheekbones, the nose's base


@dataclass(frozen=True, slots=True)
class Basis:
    """Made by `learn_basis`; the one in use is `basis()`."""

    mouth: FloatArray  # (21, 478 * 3) orthonormal rows over weighted offsets
    upper: FloatArray  # (10, 478 * 3) the same
    controls: FloatArray  # (4, 478 * 3) head units a unit of lids and gaze

    def arrays(self) -> dict[str, FloatArray]:
        """As stored; half precision costs less than 0.01 px."""
        return {name: getattr(self, name).astype(np.float16) for name in ("mouth", "upper", "controls")}


@cache
def basis() -> Basis:
    """The one that comes with avatarcast."""
    with files("engine").joinpath("assets/voice/basis.npz").open("rb") as stream, np.load(stream) as stored:
        return Basis(*(stored[name].astype(np.float32) for name in ("mouth", "upper", "controls")))


def encode(motion: Motion, neutral: Neutral) -> FloatArray:
    """(CODE,) float32. neutral: the one that the motion was measured against."""
    base = basis()
    code = np.zeros(CODE, np.float32)
    code[LIP_GAP] = motion.lip_gap - float(neutral.lip_closed)
    code[LIDS] = (motion.lid_gap - neutral.lid_closed) / _lid_range(neutral)
    code[GAZE] = iris_shift(motion.expression)
    code[MOUTH] = base.mouth @ (weights() * mouth_mask() * motion.expression).ravel()
    upper = motion.expression - _controlled(base, code)
    code[UPPER] = _upper_readers() @ (weights() * (1.0 - mouth_mask()) * upper).ravel()
    turned = rotation_to_euler_deg(motion.rotation @ neutral.rotation.T)
    code[TURN] = np.radians(turned)
    code[HEAD][3:5] = (motion.centre - neutral.centre) / neutral.scale
    code[HEAD][5] = np.log(motion.scale / float(neutral.scale))
    code[CHEST][:2] = (motion.chest - neutral.chest) / neutral.body_scale
    code[CHEST][2:] = (motion.chest_confidence * (motion.chest_shape - neutral.chest_shape)).ravel()
    return code


def encode_all(motions: Sequence[Motion], neutral: Neutral) -> FloatArray:
    """(n, CODE) float32."""
    return np.stack([encode(motion, neutral) for motion in motions])


def decode(code: FloatArray, neutral: Neutral) -> Motion:
    """The motion of a person at rest who does what the code says; no arms, no hands. code: (CODE,)."""
    centre = neutral.centre + code[HEAD][3:5] * neutral.scale
    chest = code[CHEST][:2] * neutral.body_scale
    shoulders = neutral.shoulders.copy()
    shoulders[:, :2] += chest
    nothing = np.zeros(2, np.float32)
    return Motion(
        rotation=euler_deg_to_rotation(np.degrees(code[TURN])) @ neutral.rotation,
        centre=centre.astype(np.float32),
        scale=float(neutral.scale) * float(np.exp(code[HEAD][5])),
        expression=expression_of(code),
        lip_gap=float(neutral.lip_closed) + float(code[LIP_GAP]),
        lid_gap=np.asarray(neutral.lid_closed + code[LIDS] * _lid_range(neutral), np.float32),
        face_confidence=1.0,
        shoulders=shoulders.astype(np.float32),
        elbows=np.zeros((2, 3), np.float32),
        wrists=np.zeros((2, 3), np.float32),
        hands=np.zeros((2, 21, 3), np.float32),
        shoulder_confidence=1.0,
        chest=(neutral.chest + chest).astype(np.float32),
        chest_shape=(neutral.chest_shape + code[CHEST][2:].reshape(2, 2)).astype(np.float32),
        chest_confidence=1.0,
        elbow_confidence=nothing,
        wrist_confidence=nothing,
        hand_confidence=nothing,
    )


def mixed(motion: Motion, code: FloatArray, share: FloatArray, neutral: Neutral) -> Motion:
    """The motion, of which so much is as in `code`. Arms, and what no code tells, stay the motion's own.

    code, share: (CODE,), share 0..1: 0 keeps the motion's own number, 1 takes the code's.
    """
    own = encode(motion, neutral)
    wanted = decode(own + share * (code - own), neutral)
    kept = decode(own, neutral)
    return replace(
        motion,
        rotation=wanted.rotation,
        centre=wanted.centre,
        scale=wanted.scale,
        expression=np.asarray(motion.expression + wanted.expression - kept.expression, np.float32),
        lip_gap=wanted.lip_gap,
        lid_gap=wanted.lid_gap,
        face_confidence=max(motion.face_confidence, float(share.max() > 0.0)),
        chest=wanted.chest,
        chest_shape=np.asarray(motion.chest_shape + wanted.chest_shape - kept.chest_shape, np.float32),
    )


def expression_of(code: FloatArray) -> FloatArray:
    """(478, 3) float32 head units: the offsets that a code tells. code: (CODE,)."""
    base = basis()
    told = (code[MOUTH] @ base.mouth + code[UPPER] @ base.upper).reshape(FACE_POINTS, 3) / weights()
    told += _controlled(base, code)
    for iris, corners in zip(topo.IRISES, topo.EYE_CORNERS, strict=True):
        told[iris] = told[corners].mean(0)
        told[iris, :2] += code[GAZE]
    return np.asarray(told, np.float32)


def learn_basis(offsets: FloatArray, lids: FloatArray) -> Basis:
    """offsets: (n, 478, 3) head units, of many people; lids: (n, 2) as in the code."""
    gaze = np.stack([iris_shift(one) for one in offsets])
    controls = np.concatenate([lids - 1.0, gaze], 1)
    upper = (1.0 - mouth_mask()) * offsets
    upper[:, np.concatenate(topo.IRISES)] = 0.0  # they go where gaze says, neither more nor less
    flat = upper.reshape(len(offsets), -1)
    told = np.linalg.lstsq(controls, flat, rcond=None)[0].astype(np.float32)
    rest = (flat - controls @ told).reshape(offsets.shape)
    return Basis(
        _principal(weights() * mouth_mask() * offsets, MOUTH.stop - MOUTH.start),
        _principal(weights() * rest, UPPER.stop - UPPER.start),
        told,
    )


@cache
def _upper_readers() -> FloatArray:
    """(10, 478 * 3) rows that tell the components of the upper part from all but the irises."""
    seen = basis().upper.reshape(-1, FACE_POINTS, 3).copy()
    seen[:, np.concatenate(topo.IRISES)] = 0.0
    return np.asarray(np.linalg.pinv(seen.reshape(len(seen), -1)).T, np.float32)


def _principal(offsets: FloatArray, count: int) -> FloatArray:
    """(count, 478 * 3) orthonormal; through 0, which is the person at rest."""
    rows = offsets.reshape(len(offsets), -1).astype(np.float64)
    _, axes = np.linalg.eigh(rows.T @ rows)
    return np.asarray(axes[:, ::-1][:, :count].T, np.float32)


@cache
def weights() -> FloatArray:
    """(478, 3): what an offset of each point counts in the components."""
    weight = np.ones((FACE_POINTS, 3), np.float32)
    weight[np.concatenate([topo.LIPS_INNER, topo.LIPS_OUTER])] = _WEIGHT_LIPS
    weight[np.concatenate(topo.BROWS)] = _WEIGHT_BROWS
    weight[:, 2] *= _WEIGHT_DEPTH
    return weight


@cache
def mouth_mask() -> FloatArray:
    """(478, 1): 1 around mouth and jaw, 0 above the nose's base, smooth between."""
    face = canonical_reference()
    into = np.clip((face[:, 1] - _MASK_TOP) / (_MASK_BOTTOM - _MASK_TOP), 0.0, 1.0)
    mask = np.zeros((FACE_POINTS, 1), np.float32)
    mask[: len(face), 0] = into * into * (3.0 - 2.0 * into)
    return mask


def _controlled(base: Basis, code: FloatArray) -> FloatArray:
    """(478, 3): what lids and gaze do."""
    by = np.concatenate([code[LIDS] - 1.0, code[GAZE]])
    return np.asarray((by @ base.controls).reshape(FACE_POINTS, 3), np.float32)


def _lid_range(neutral: Neutral) -> FloatArray:
    return np.asarray(np.maximum(neutral.lid_open - neutral.lid_closed, 1e-3), np.float32)
