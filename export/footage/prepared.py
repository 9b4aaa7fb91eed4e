"""Prepared footage: everything training needs, with no video file and no tracker any more.

A prepared file may be carried to another machine and trained there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import MAX_FPS, most_keyframes
from engine.avatar.members import NPZ_ERRORS
from engine.errors import FootageError
from engine.files import replacing
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import Neutral, build_neutral, motion_of
from engine.person.retarget import (
    Retargeter,
    Support,
    chest_bend,
    chest_shift,
    head_pose,
    shoulder_shift,
    support_of,
    torso_points,
)
from engine.person.torso import TorsoModel, fit_torso
from engine.render.keyframes import BANK_SIZE, KeyFrame, select_bank
from engine.render.patches import shown_arm
from engine.render.prior import CELL_PX
from engine.render.scene import Scene, scene_flaw
from engine.render.warp import FlowSolver, control_points, remap, trunk_pairs
from engine.voice.own import OwnVoice, voice_arrays, voice_of

MIN_FRAMES = 10  # fewer leave nothing to hold out
HELD_OUT = 0.2  # share of the footage, at its end, that training never sees
HANDS_SHOWN = 0.03  # a hand in fewer frames than this is a tracking error or no use
_VOICE = "voice_"  # begins the names of an OwnVoice's arrays
_PERSON_GONE = 25  # matte below which a pixel surely shows background
_PLATE_FRAMES = 120  # enough for a median
_BARE_FRAMES = 64
_SEEN_OFTEN = 3  # frames that must show a pixel before their median is believed


@dataclass(frozen=True, slots=True)
class Prepared:
    """Footage cut to the canvas and tracked."""

    fps: float
    rgb: U8Image  # (N, S, S, 3) uint8
    matte: U8Image  # (N, S, S) uint8, 255 is the person
    landmarks: Sequence[Landmarks]  # N, canvas px
    shot: NDArray[np.int32]  # (N,) which uncut stretch a frame belongs to
    scene: Scene | None = None  # the room around the canvas, where the footage shows one
    voice: OwnVoice | None = None  # how they speak and rest, where that was asked

    @property
    def size(self) -> int:
        """Canvas size in px."""
        return int(self.rgb.shape[1])

    @property
    def tail_start(self) -> int:
        """Index of the first held-out frame."""
        return round(len(self.rgb) * (1.0 - HELD_OUT))

    def save(self, path: Path, **more: NDArray[Any]) -> None:
        """Writes one .npz, all or nothing. more: arrays to keep beside. Raises FileError."""
        columns = {
            name: np.stack([getattr(frame, name) for frame in self.landmarks]) for name in _LANDMARK_FIELDS
        }
        own: dict[str, NDArray[Any]] = {"rgb": self.rgb, "matte": self.matte, "shot": self.shot}
        if (scene := self.scene) is not None:
            canvas = np.array([scene.left, scene.top, scene.side], np.int32)
            own |= {"scene_rgb": scene.rgb, "scene_canvas": canvas}
        if self.voice is not None:
            own |= {_VOICE + name: array for name, array in voice_arrays(self.voice).items()}
        with replacing(path) as part:
            _write_arrays(part.file, {"fps": np.array(self.fps), **own, **columns, **more})

    @classmethod
    def load(cls, path: Path) -> Prepared:
        """Inverse of `save`. Raises FootageError when the file is not one of ours, or damaged."""
        try:
            with path.open("rb") as stream:
                data = np.load(stream, allow_pickle=False)
                arrays = {name: data[name] for name in ("fps", "rgb", "matte", "shot", *_LANDMARK_FIELDS)}
                scene = _scene(data) if "scene_rgb" in data.files else None
                voice = _voice(data)
            size = int(arrays["rgb"].shape[1])
            landmarks = [
                Landmarks(size, size, **{n: arrays[n][i] for n in _LANDMARK_FIELDS})
                for i in range(len(arrays["rgb"]))
            ]
            pictures = arrays["rgb"], arrays["matte"]
            prepared = cls(float(arrays["fps"]), *pictures, landmarks, arrays["shot"], scene, voice)
            flaw = _flaw(prepared)
        except (*NPZ_ERRORS, LookupError) as error:
            reason = str(error).partition("\n")[0]  # NumPy's advice goes on, to unpickle it
            raise FootageError(
                f"{path}: not prepared footage ({reason}): remove it, and prepare the footage again"
            ) from None
        if flaw:
            raise FootageError(f"{path}: damaged ({flaw}): prepare the footage again")
        return prepared


def _voice(data: Mapping[str, NDArray[Any]]) -> OwnVoice | None:
    arrays = {name.removeprefix(_VOICE): data[name] for name in data if name.startswith(_VOICE)}
    return voice_of(arrays) if arrays else None


def _scene(data: Mapping[str, NDArray[Any]]) -> Scene:
    left, top, side = (int(value) for value in data["scene_canvas"])
    return Scene(data["scene_rgb"], left, top, side)


def _write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """As np.savez, which on a full disk leaves its archive open and so adds a traceback at its end."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(  # type: ignore[no-untyped-call]
                    member, values, allow_pickle=False
                )


_LANDMARK_FIELDS = (
    "face",
    "face_confidence",
    "pose",
    "pose_confidence",
    "hands",
    "hand_confidence",
    "chest",
    "chest_middle",
    "chest_shape",
    "chest_confidence",
)


def _flaw(prepared: Prepared) -> str:
    """What is wrong with the arrays; empty if nothing."""
    count, size = len(prepared.rgb), prepared.size
    wanted = {
        "rgb": (np.uint8, (count, size, size, 3)),
        "matte": (np.uint8, (count, size, size)),
        "shot": (np.int32, (count,)),
    }
    for name, (dtype, shape) in wanted.items():
        array = getattr(prepared, name)
        if array.dtype != dtype or array.shape != shape:
            return f"{name} is {array.dtype} {array.shape}; wanted {np.dtype(dtype)} {shape}"
    if (scene := prepared.scene) is not None and (flaw := scene_flaw(scene)):
        return f"scene: {flaw}"
    if count < MIN_FRAMES:
        return f"{count} frames; wanted {MIN_FRAMES} or more"
    if not 1.0 <= prepared.fps <= MAX_FPS:  # not a number either
        return f"{prepared.fps} frames per second; wanted 1 to {MAX_FPS:g}"
    empty = Landmarks(size, size)
    for name in Landmarks.__dataclass_fields__:
        shape = np.shape(getattr(empty, name))
        values = np.stack([np.asarray(getattr(frame, name)) for frame in prepared.landmarks])
        if values.shape[1:] != shape or not np.isfinite(values).all():
            return f"{name}: not finite numbers of shape {shape} a frame"
        if name.endswith("confidence") and not ((values >= 0) & (values <= 1)).all():
            return f"{name} leaves 0..1"
    return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an avatar knows of its person besides the network, learnt from the training part of it."""

    neutral: Neutral
    support: Support
    torso: TorsoModel
    bank: tuple[int, ...]  # frame indices of the key frames
    keys: tuple[KeyFrame, ...]
    plate: U8Image  # (S, S, 3) uint8, the background without the person
    bare_torso: U8Image | None = None  # (S, S, 4) uint8, the person of the first key frame without arms

    def retargeter(self) -> Retargeter:
        """Drives this person by their own motion until another driver is set."""
        return Retargeter(self.neutral, self.support, self.torso, int(self.plate.shape[0]))


def learn_identity(prepared: Prepared, bank_size: int = BANK_SIZE) -> Identity:
    """Learns the person from the frames before the held-out tail."""
    end = prepared.tail_start
    frames = list(prepared.landmarks[:end])
    neutral = build_neutral(frames)
    support = support_of([motion_of(frame, neutral) for frame in frames], neutral)
    neutral.hand_size[support.hand_seen < HANDS_SHOWN] = 0.0
    motions = [motion_of(frame, neutral) for frame in frames]
    shifts = np.stack([chest_shift(m, neutral) * (m.chest_confidence > VISIBLE) for m in motions])
    bends = np.stack([chest_bend(m, neutral) for m in motions])
    seen = np.array([m.face_confidence > 0 for m in motions])
    torso = fit_torso(
        np.stack([head_pose(m, neutral) for m in motions])[seen],
        np.stack([shoulder_shift(m, neutral) for m in motions])[seen],
        np.array([m.shoulder_confidence > VISIBLE for m in motions])[seen],
        shifts[seen],
        bends[seen],
    )
    measured = [
        _with_chest(frame, torso_points(neutral, shift, bend))
        for frame, shift, bend in zip(frames, shifts, bends, strict=True)
    ]
    bank = select_bank(measured, neutral, min(bank_size, most_keyframes(prepared.size)))
    keys = tuple(KeyFrame.of(prepared.rgb[i], prepared.matte[i], measured[i]) for i in bank)
    return Identity(
        neutral,
        support,
        torso,
        tuple(bank),
        keys,
        background_plate(prepared.rgb[:end], prepared.matte[:end]),
        bare_torso(keys, neutral),
    )


def _with_chest(frame: Landmarks, trunk: FloatArray) -> Landmarks:
    """The landmarks with shoulders and hips, (4, 2) px, where the chest was measured: they register keys."""
    pose, seen = frame.pose.copy(), frame.pose_confidence.copy()
    for rows, points in ((topo.SHOULDERS, trunk[:2]), (topo.HIPS, trunk[2:])):
        pose[rows, :2], pose[rows, 2], seen[rows] = points, 0.0, 1.0
    return replace(frame, pose=pose, pose_confidence=seen)


def background_plate(rgb: U8Image, matte: U8Image) -> U8Image:
    """The background (S, S, 3) uint8: the median of what shows past the person, the rest filled in."""
    step = max(1, len(rgb) // _PLATE_FRAMES)
    reach = max(9, 9 * rgb.shape[1] // 256) | 1
    grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    total: np.ma.MaskedArray[Any, np.dtype[np.uint8]] = np.ma.masked_array(  # type: ignore[no-untyped-call]
        rgb[::step],
        np.repeat(
            np.stack([cv2.dilate(m, grow) for m in matte[::step]])[..., None] >= _PERSON_GONE, 3, axis=3
        ),
    )
    seen = (~total.mask[..., 0]).sum(0) >= 3
    plate = np.ma.median(total, axis=0).filled(0).astype(np.uint8)  # type: ignore[no-untyped-call]
    return np.asarray(cv2.inpaint(plate, (~seen).astype(np.uint8), 5, cv2.INPAINT_TELEA), np.uint8)


def bare_torso(keys: Sequence[KeyFrame], neutral: Neutral) -> U8Image | None:
    """The person of keys[0] without hands and forearms, (S, S, 4) uint8: the median of what shows past them.

    None where no key frame shows an arm. What arms always cover keeps them.
    """
    some = keys[:_BARE_FRAMES]
    size, body_scale = some[0].landmarks.width, float(neutral.body_scale)
    arms = [
        np.maximum(*(shown_arm(key.landmarks, side, size, body_scale) for side in (0, 1))) for key in some
    ]
    if not any(mask.any() for mask in arms):
        return None
    solver = FlowSolver((0, 0, size, size), max(2, CELL_PX * size // 256), size)
    rest = control_points(some[0].landmarks)
    flows = [trunk_pairs(solver, rest, control_points(key.landmarks)).flow() for key in some]
    people = np.stack([remap(key.rgba, flow) for key, flow in zip(some, flows, strict=True)])
    covered = np.stack([remap(mask, flow) for mask, flow in zip(arms, flows, strict=True)]) > 64
    shown: np.ma.MaskedArray[Any, np.dtype[np.uint8]] = np.ma.masked_array(  # type: ignore[no-untyped-call]
        people, np.repeat(covered[..., None], 4, axis=3)
    )
    behind = np.ma.median(shown, axis=0).filled(0).astype(np.uint8)  # type: ignore[no-untyped-call]
    often = (~covered).sum(0) >= _SEEN_OFTEN
    return np.where(often[..., None], behind, np.median(people, axis=0).astype(np.uint8))
