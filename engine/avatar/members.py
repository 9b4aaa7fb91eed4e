"""The members of a package that are pictures and arrays: written, and read back with every value checked.

Whatever is wrong is a PackageError that names the file and the member.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from struct import error as struct_error
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.arrays import FloatArray
from engine.errors import PackageError
from engine.media.pictures import UNREADABLE
from engine.person import topology as topo
from engine.person.landmarks import FACE_POINTS, HAND_POINTS, POSE_POINTS, Landmarks
from engine.person.motion import Neutral
from engine.person.retarget import Support
from engine.person.torso import TorsoModel
from engine.voice.own import HABITS, MOST_OFTEN, NODS, OwnVoice, voice_arrays, voice_of
from engine.voice.voice_print import NUMBERS

MAX_PREVIEW_PX = 4096
MAX_ARRAY_BYTES = 8 * 1024 * 1024  # of one .npz, unpacked; landmarks of 152 frames take 1 MB
MAX_ARRAYS = 64  # in one .npz
NPZ_ERRORS = (
    OSError,
    ValueError,  # includes a pickled array
    EOFError,
    KeyError,
    SyntaxError,
    RuntimeError,  # includes a zip of a later version
    MemoryError,
    OverflowError,
    TypeError,
    TokenError,
    Warning,
    struct_error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True)
class _Array:
    """What an array must be."""

    shape: tuple[int, ...]
    least: float
    most: float


LEAST_SPREAD = 0.1  # head units, as `_spread` measures a face; people have 1.5
LEAST_FACE = 0.002  # canvases, likewise
_FAR = 64  # canvases: farther out is nothing that was tracked
_HEAD = (-16.0, 16.0)  # head units
_RATIO = (0.0, 16.0)
_UNIT = 1e-3  # by which what is of length 1 may miss it
_LINEAR = (-64.0, 64.0)  # of what multiplies other numbers
_PREFIXES = ("", "support_", "torso_")  # of the names of what is in Neutral, Support and TorsoModel


def _person_shapes(size: int) -> dict[str, _Array]:
    """The arrays of Neutral, Support and TorsoModel as they are stored, on a `size` px canvas."""
    far, near = float(_FAR * size), 1e-3
    return {
        "face": _Array((FACE_POINTS, 3), *_HEAD),
        "rotation": _Array((3, 3), -1.01, 1.01),
        "centre": _Array((2,), -far, far),
        "scale": _Array((), near, far),
        "lip_closed": _Array((), *_HEAD),
        "lid_open": _Array((2,), *_HEAD),
        "lid_closed": _Array((2,), *_HEAD),
        "shoulders": _Array((2, 3), -far, far),
        "chest": _Array((2,), -far, far),
        "chest_middle": _Array((2,), -far, far),
        "chest_shape": _Array((2, 2), *_LINEAR),
        "body_scale": _Array((), near, far),
        "arm_bones": _Array((2, 2), *_RATIO),
        "hand_size": _Array((2,), *_RATIO),
        "rest_wrists": _Array((2, 3), -far, far),
        "support_low": _Array((6,), -360.0, 360.0),
        "support_high": _Array((6,), -360.0, 360.0),
        "support_hand_seen": _Array((2,), 0.0, 1.0),
        "torso_from_head": _Array((7, 2), *_LINEAR),
        "torso_from_both": _Array((9, 2), *_LINEAR),
        "torso_slack": _Array((2,), 0.0, 64.0),
        "torso_bend": _Array((2, 2), 0.0, 64.0),
    }


def person_arrays(neutral: Neutral, support: Support, torso: TorsoModel) -> dict[str, FloatArray]:
    """The person at rest, what the footage supports and the torso model, for `encode_arrays`."""
    parts: tuple[Neutral | Support | TorsoModel, ...] = (neutral, support, torso)
    return {
        prefix + field.name: getattr(part, field.name)
        for prefix, part in zip(_PREFIXES, parts, strict=True)
        for field in fields(part)
    }


def read_person(source: Path, member: str, data: bytes, size: int) -> tuple[Neutral, Support, TorsoModel]:
    """Inverse of `person_arrays` and `encode_arrays`, for an avatar of a `size` px canvas."""
    arrays = _checked(source, member, read_arrays(source, member, data), _person_shapes(size))
    rotation = arrays["rotation"]
    flaw = None
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        flaw = "array rotation is not a rotation"
    elif _spread(arrays["face"][None]).min() < LEAST_SPREAD:
        flaw = "array face is not a face: its points lie in one place or on one line"
    elif (arrays["support_low"] > arrays["support_high"]).any():
        flaw = "array support_low exceeds support_high"
    if flaw:
        raise PackageError(f"{source}: member {member}: {flaw}: enrol again")
    neutral, support, torso = (
        {field.name: arrays[prefix + field.name] for field in fields(part)}
        for prefix, part in zip(_PREFIXES, (Neutral, Support, TorsoModel), strict=True)
    )
    return Neutral(**neutral), Support(**support), TorsoModel(**torso)


def read_voice(source: Path, member: str, data: bytes) -> OwnVoice:
    """Inverse of `engine.voice.own.voice_arrays` and `encode_arrays`."""
    arrays = read_arrays(source, member, data)
    try:
        voice = voice_of(arrays)
    except ValueError as error:
        raise PackageError(f"{source}: member {member}: {error}: enrol again") from error
    wanted = {name: _Array(array.shape, *_LINEAR) for name, array in voice_arrays(voice).items()}
    wanted["habits"] = _Array((HABITS,), 0.0, MOST_OFTEN)
    wanted["nods"] = _Array((NODS,), 0.0, MOST_OFTEN)
    if "nods" not in arrays:
        del wanted["nods"]
    if voice.print is not None:
        wanted["print"] = _Array((NUMBERS,), 0.0, 1.0)
        if abs(float(np.linalg.norm(voice.print)) - 1.0) > _UNIT:
            raise PackageError(f"{source}: member {member}: array print is not of length 1: enrol again")
    if voice.fit is None:  # of an earlier version: it is not read
        arrays = {name: array for name, array in arrays.items() if not name.startswith("fit_")}
    _checked(source, member, arrays, wanted)
    return voice


def _spread(faces: FloatArray) -> FloatArray:
    """(N,) how far the rigid points of faces (N, 478, 3) spread across the line that fits them best."""
    points = faces[:, topo.RIGID].astype(np.float64)
    centred = points - points.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.svd(centred, compute_uv=False)[:, 1], np.float32)


def _checked(
    source: Path, member: str, arrays: Mapping[str, FloatArray], wanted: Mapping[str, _Array]
) -> Mapping[str, FloatArray]:
    """The arrays, if they are just those that are wanted, each of its shape and within its range."""
    for key in sorted(set(arrays) ^ set(wanted)):
        flaw = "missing" if key in wanted else "unknown"
        raise PackageError(f"{source}: member {member}: array {key!r:.60} is {flaw}: enrol again")
    for key, want in wanted.items():
        found = arrays[key]
        if found.shape != want.shape:
            raise PackageError(
                f"{source}: member {member}: array {key} is {found.shape}; wanted {want.shape}: enrol again"
            )
        if not ((found >= want.least) & (found <= want.most)).all():
            raise PackageError(
                f"{source}: member {member}: array {key} leaves {want.least:g}..{want.most:g}: enrol again"
            )
    return arrays


def stack_landmarks(frames: Sequence[Landmarks]) -> dict[str, FloatArray]:
    """Landmarks of N frames as arrays with N rows, for `encode_arrays`; none for no frames."""
    return {
        key: np.stack([np.asarray(getattr(frame, key), np.float32) for frame in frames])
        for key in _landmark_shapes(len(frames))
        if frames
    }


def _landmark_shapes(count: int, size: int = 0) -> dict[str, _Array]:
    """The arrays of `count` frames of a `size` px canvas."""
    far = float(_FAR * size)
    return {
        "face": _Array((count, FACE_POINTS, 3), -far, far),
        "face_confidence": _Array((count,), 0.0, 1.0),
        "pose": _Array((count, POSE_POINTS, 3), -far, far),
        "pose_confidence": _Array((count, POSE_POINTS), 0.0, 1.0),
        "hands": _Array((count, 2, HAND_POINTS, 3), -far, far),
        "hand_confidence": _Array((count, 2), 0.0, 1.0),
        "chest": _Array((count, 2), -far, far),
        "chest_middle": _Array((count, 2), -far, far),
        "chest_shape": _Array((count, 2, 2), *_LINEAR),
        "chest_confidence": _Array((count,), 0.0, 1.0),
    }


def read_landmarks(source: Path, member: str, data: bytes, count: int, size: int) -> list[Landmarks]:
    """Inverse of `stack_landmarks` and `encode_arrays` for `count` frames of a `size` px canvas."""
    return landmarks_of(source, member, read_arrays(source, member, data), count, size)


def landmarks_of(
    source: Path, member: str, found: Mapping[str, FloatArray], count: int, size: int
) -> list[Landmarks]:
    """The same of arrays that are read already."""
    arrays = _checked(source, member, found, _landmark_shapes(count, size))
    shown = arrays["face"][arrays["face_confidence"] > 0]
    if len(shown) and _spread(shown).min() < LEAST_FACE * size:
        raise PackageError(
            f"{source}: member {member}: array face holds what is not a face: points in one place or on one "
            "line: enrol again"
        )
    return [
        Landmarks(
            width=size,
            height=size,
            face=arrays["face"][index],
            face_confidence=float(arrays["face_confidence"][index]),
            pose=arrays["pose"][index],
            pose_confidence=arrays["pose_confidence"][index],
            hands=arrays["hands"][index],
            hand_confidence=arrays["hand_confidence"][index],
            chest=arrays["chest"][index],
            chest_middle=arrays["chest_middle"][index],
            chest_shape=arrays["chest_shape"][index],
            chest_confidence=float(arrays["chest_confidence"][index]),
        )
        for index in range(count)
    ]


def read_image(
    source: Path, member: str, data: bytes, kind: str, mode: str, size: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 4) uint8; the size, (W, H) where given, is checked before anything is decoded."""
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as image:
            width, height = image.size
            if size is not None and (width, height) != size:
                raise PackageError(
                    f"{source}: member {member} is {width}x{height}; wanted {size[0]}x{size[1]}"
                )
            if max(width, height) > MAX_PREVIEW_PX:
                raise PackageError(
                    f"{source}: member {member} is {width}x{height}; wanted at most {MAX_PREVIEW_PX}"
                )
            if image.mode != mode:
                raise PackageError(f"{source}: member {member} has mode {image.mode}; wanted {mode}")
            return np.array(image, np.uint8)
    except UNREADABLE as error:
        raise PackageError(
            f"{source}: member {member} is not a readable {kind} ({error}): enrol again"
        ) from error


def read_arrays(
    source: Path, member: str, data: bytes, most_bytes: int = MAX_ARRAY_BYTES
) -> dict[str, FloatArray]:
    """name -> finite float32 array, of most_bytes in all. Never unpickles."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = archive.infolist()
        if not 1 <= len(infos) <= MAX_ARRAYS:
            raise PackageError(
                f"{source}: member {member} holds {len(infos)} arrays; wanted 1 to {MAX_ARRAYS}"
            )
        total = sum(info.file_size for info in infos)
        if total > most_bytes:
            raise PackageError(
                f"{source}: member {member} unpacks to {total} bytes; wanted {most_bytes} at most"
            )
        with warnings.catch_warnings(), np.load(BytesIO(data), allow_pickle=False) as loaded:
            warnings.simplefilter("error")  # NumPy warns about headers that no NumPy of today writes
            arrays = {key: loaded[key] for key in loaded.files}
    except NPZ_ERRORS as error:
        raise PackageError(
            f"{source}: member {member} is not readable arrays ({error}): enrol again"
        ) from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = getattr(array, "dtype", type(array).__name__)
            raise PackageError(f"{source}: member {member}: array {key!r:.60} is {found}; wanted float32")
        if not np.isfinite(array).all():
            raise PackageError(
                f"{source}: member {member}: array {key!r:.60} has values that are not finite: enrol again"
            )
    return arrays


def encode_arrays(arrays: Mapping[str, FloatArray]) -> bytes:
    """A compressed .npz."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """pixels: (H, W, 3) or (H, W, 4) uint8."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """pixels: (H, W, 3) uint8; quality: 1..95, with colour at full resolution."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
