"""The members of a package that are pictures and arrays: written, and read back with every value checked.

Whatever is wrong is a PackageError that names the file and the member. Knows nothing of what a member is for.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
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

MAX_PREVIEW_PX = 4096
MAX_ARRAY_BYTES = 64 * 1024 * 1024  # of one .npz, unpacked
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


_BENDS = {"chest_middle", "chest_shape"}  # avatars made before the chest's bend was tracked lack them


def stack_landmarks(frames: Sequence[Landmarks]) -> dict[str, FloatArray]:
    """Landmarks of N frames as arrays with N rows, for `encode_arrays`; none for no frames."""
    return {
        key: np.stack([np.asarray(getattr(frame, key), np.float32) for frame in frames])
        for key in _landmark_shapes(len(frames))
        if frames
    }


def _landmark_shapes(count: int) -> dict[str, tuple[int, ...]]:
    return {
        "face": (count, FACE_POINTS, 3),
        "face_confidence": (count,),
        "pose": (count, POSE_POINTS, 3),
        "pose_confidence": (count, POSE_POINTS),
        "hands": (count, 2, HAND_POINTS, 3),
        "hand_confidence": (count, 2),
        "chest": (count, 2),
        "chest_middle": (count, 2),
        "chest_shape": (count, 2, 2),
        "chest_confidence": (count,),
    }


def read_landmarks(source: Path, member: str, data: bytes, count: int, size: int) -> list[Landmarks]:
    """Inverse of `stack_landmarks` and `encode_arrays` for `count` frames of a `size` px canvas."""
    arrays = read_arrays(source, member, data)
    shapes = _landmark_shapes(count)
    before_bends = not _BENDS & set(arrays)
    if before_bends:
        arrays |= {key: np.zeros(shapes[key], np.float32) for key in _BENDS}
    for key in sorted(set(arrays) ^ set(shapes)):
        flaw = "missing" if key in shapes else "unknown"
        raise PackageError(f"{source}: member {member}: array {key} is {flaw}: enrol again")
    for key, shape in shapes.items():
        found = arrays[key]
        if found.shape != shape:
            raise PackageError(f"{source}: member {member}: array {key} is {found.shape}; wanted {shape}")
        if key.endswith("confidence") and not ((found >= 0.0) & (found <= 1.0)).all():
            raise PackageError(f"{source}: member {member}: array {key} leaves 0..1: enrol again")
    if before_bends:
        arrays["pose_confidence"][:, topo.HIPS] = 0.0
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


def read_arrays(source: Path, member: str, data: bytes) -> dict[str, FloatArray]:
    """name -> finite float32 array. Never unpickles."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = archive.infolist()
        if not 1 <= len(infos) <= MAX_ARRAYS:
            raise PackageError(
                f"{source}: member {member} holds {len(infos)} arrays; wanted 1 to {MAX_ARRAYS}"
            )
        total = sum(info.file_size for info in infos)
        if total > MAX_ARRAY_BYTES:
            raise PackageError(
                f"{source}: member {member} unpacks to {total} bytes; wanted {MAX_ARRAY_BYTES} at most"
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
            raise PackageError(f"{source}: member {member}: array {key} is {found}; wanted float32")
        if not np.isfinite(array).all():
            raise PackageError(
                f"{source}: member {member}: array {key} has values that are not finite: enrol again"
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
