"""An avatar in memory and in its `.avatar` file: what the members mean, and that they mean something.

Loading checks every array and image after `engine.package` has checked the file, so the rest of the engine
can trust an Avatar. Knows nothing of how one is made or rendered.
"""

from __future__ import annotations

import platform
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib import metadata, resources
from io import BytesIO
from pathlib import Path
from struct import error as struct_error
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import PackageError
from engine.landmarks import FACE_POINTS, HAND_POINTS, POSE_POINTS, FloatArray, Landmarks
from engine.package import Package, build_manifest, encode_json, parse_json, read_package, write_package

BUNDLED = "bundled"  # the name of the avatar that comes with avatarcast
MIN_SIZE_PX, MAX_SIZE_PX, SIZE_STEP_PX = 32, 1024, 8
MAX_FPS = 240.0
MAX_KEYFRAMES = 64
MAX_PREVIEW_PX = 4096
MAX_ARRAY_BYTES = 64 * 1024 * 1024  # of one .npz, unpacked
MAX_ARRAYS = 64  # in one .npz
CONSENT_FIELDS = ("who", "statement", "date", "person")
TOOLS = ("avatarcast", "mediapipe", "numpy", "onnx", "torch")  # whose versions the manifest records
PERSONS = ("real", "synthetic")

CONSENT, NEUTRAL, LANDMARKS = "consent.json", "neutral.npz", "keyframes/landmarks.npz"
PLATE, PREVIEW, REPORT = "keyframes/plate.png", "preview.jpg", "report.json"
REQUIRED = (CONSENT, NEUTRAL, LANDMARKS, PLATE, PREVIEW, REPORT)
_KEYFRAME = re.compile(r"keyframes/(\d\d)\.png")
_MODEL = re.compile(r"models/([a-z0-9][a-z0-9._-]*\.onnx)")
IMAGE_ERRORS = (
    OSError,  # includes PIL.UnidentifiedImageError
    SyntaxError,  # how PIL reports a broken PNG
    ValueError,
    EOFError,
    struct_error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_NPZ_ERRORS = (
    OSError,
    ValueError,  # includes a pickled array
    EOFError,
    KeyError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    OverflowError,
    TypeError,
    TokenError,
    Warning,
    struct_error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """One real frame of the footage, on the avatar's canvas."""

    rgb: NDArray[np.uint8]  # (S, S, 3)
    matte: NDArray[np.uint8]  # (S, S), 255 = person
    landmarks: Landmarks  # canvas px


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """One person, ready to be driven. S = `size`."""

    name: str
    size: int  # px, of the square canvas
    fps: float  # Hz, of the footage
    neutral: dict[str, FloatArray]  # the person at rest, as `engine.retarget` reads it
    keyframes: tuple[KeyFrame, ...]
    plate: NDArray[np.uint8]  # (S, S, 3), the background without the person
    models: dict[str, bytes]  # "denoiser-fp32.onnx" -> the network
    consent: dict[str, Any]
    manifest: dict[str, Any]
    report: dict[str, Any]
    preview_jpeg: bytes


def load_avatar(path: str | Path) -> Avatar:
    """The avatar in `path`, or the one that comes with avatarcast for "bundled"."""
    if str(path) != BUNDLED:
        return _decode(Path(path), read_package(path))
    with resources.as_file(resources.files("engine") / "assets" / "bundled.avatar") as file:
        return _decode(file, read_package(file))


def save_avatar(
    path: str | Path,
    *,
    name: str,
    size: int,
    fps: float,
    neutral: Mapping[str, FloatArray],
    keyframes: Sequence[KeyFrame],
    plate: NDArray[np.uint8],
    models: Mapping[str, bytes],
    consent: Mapping[str, Any],
    report: Mapping[str, Any],
    preview_jpeg: bytes,
    training: Mapping[str, Any],
    variants: Mapping[str, Mapping[str, Any]] | None = None,
) -> Avatar:
    """Writes the avatar, all or nothing, and gives it as it will load.

    training: how the networks came about; variants: model file name -> precision, steps, ...
    What `load_avatar` would refuse is refused here, before anything is written.
    """
    members = {
        CONSENT: encode_json(dict(consent)),
        REPORT: encode_json(dict(report)),
        PREVIEW: preview_jpeg,
        NEUTRAL: _encode_npz(neutral),
        PLATE: _encode_png(plate),
        LANDMARKS: _encode_npz(_stack([frame.landmarks for frame in keyframes])),
    }
    for index, frame in enumerate(keyframes):
        members[f"keyframes/{index:02d}.png"] = _encode_png(np.dstack([frame.rgb, frame.matte]))
    for model_name, data in models.items():
        members[f"models/{model_name}"] = data
    fields = {
        "name": name,
        "size_px": size,
        "fps": fps,
        "tools": _tool_versions(),
        "training": dict(training),
        "models": {key: dict((variants or {}).get(key, {})) for key in models},
    }
    avatar = _decode(Path(path), Package(build_manifest(members, fields), members))
    write_package(path, members, fields)
    return avatar


def _tool_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        with suppress(metadata.PackageNotFoundError):
            versions[tool] = metadata.version(tool)
    return versions


def _decode(source: Path, package: Package) -> Avatar:
    manifest, members = package.manifest, package.members
    size = manifest["size_px"]
    fps = manifest["fps"]
    if not MIN_SIZE_PX <= size <= MAX_SIZE_PX or size % SIZE_STEP_PX:
        raise PackageError(
            f"{source}: member manifest.json: size_px is {size}; wanted a multiple of {SIZE_STEP_PX} "
            f"from {MIN_SIZE_PX} to {MAX_SIZE_PX}"
        )
    if not 1.0 <= fps <= MAX_FPS:
        raise PackageError(f"{source}: member manifest.json: fps is {fps}; wanted 1 to {MAX_FPS:g}")
    for member in REQUIRED:
        if member not in members:
            raise PackageError(f"{source}: member {member} is missing: enrol again")
    rest = sorted(set(members) - set(REQUIRED))
    frames = [member for member in rest if _KEYFRAME.fullmatch(member)]
    models = {match[1]: members[member] for member in rest if (match := _MODEL.fullmatch(member))}
    for member in rest:
        if not (_KEYFRAME.fullmatch(member) or _MODEL.fullmatch(member)):
            raise PackageError(
                f"{source}: member {member} has no meaning in this format: remove it or enrol again"
            )
    if frames != [f"keyframes/{index:02d}.png" for index in range(len(frames))] or not frames:
        raise PackageError(
            f"{source}: members keyframes/NN.png are {frames}; wanted 00, 01, ... without a gap"
        )
    if len(frames) > MAX_KEYFRAMES:
        raise PackageError(
            f"{source}: {len(frames)} members keyframes/NN.png; wanted at most {MAX_KEYFRAMES}"
        )
    if set(manifest["models"]) != set(models):
        raise PackageError(
            f"{source}: member manifest.json: models are {sorted(manifest['models'])}; "
            f"the file holds {sorted(models)}"
        )
    for model_name, data in models.items():
        if not data:
            raise PackageError(f"{source}: member models/{model_name} is empty: export it again")

    landmarks = _unstack(source, _npz(source, LANDMARKS, members[LANDMARKS]), len(frames), size)
    keyframes = []
    for member, points in zip(frames, landmarks, strict=True):
        rgba = _image(source, member, members[member], "PNG", "RGBA", size)
        keyframes.append(
            KeyFrame(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]), points)
        )
    _image(source, PREVIEW, members[PREVIEW], "JPEG", "RGB", None)
    return Avatar(
        name=manifest["name"],
        size=size,
        fps=float(fps),
        neutral=_npz(source, NEUTRAL, members[NEUTRAL]),
        keyframes=tuple(keyframes),
        plate=_image(source, PLATE, members[PLATE], "PNG", "RGB", size),
        models=models,
        consent=_consent(source, members[CONSENT]),
        manifest=manifest,
        report=parse_json(source, REPORT, members[REPORT]),
        preview_jpeg=members[PREVIEW],
    )


def _consent(source: Path, data: bytes) -> dict[str, Any]:
    consent = parse_json(source, CONSENT, data)
    for field in CONSENT_FIELDS:
        value = consent.get(field)
        if not isinstance(value, str) or not value.strip():
            raise PackageError(
                f"{source}: member {CONSENT}: {field} is {value!r}; wanted a text: see enroll --consent"
            )
    if consent["person"] not in PERSONS:
        raise PackageError(
            f"{source}: member {CONSENT}: person is {consent['person']!r}; wanted {' or '.join(PERSONS)}"
        )
    try:
        date.fromisoformat(consent["date"])
        if len(consent["date"]) != len("YYYY-MM-DD"):  # newer Pythons read more forms
            raise ValueError("another form")
    except ValueError as error:
        raise PackageError(
            f"{source}: member {CONSENT}: date is {consent['date']!r}; wanted YYYY-MM-DD"
        ) from error
    return consent


def _stack(frames: Sequence[Landmarks]) -> dict[str, FloatArray]:
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
        "chest_confidence": (count,),
    }


def _unstack(source: Path, arrays: dict[str, FloatArray], count: int, size: int) -> list[Landmarks]:
    shapes = _landmark_shapes(count)
    for key in sorted(set(arrays) ^ set(shapes)):
        flaw = "missing" if key in shapes else "unknown"
        raise PackageError(f"{source}: member {LANDMARKS}: array {key} is {flaw}: enrol again")
    for key, shape in shapes.items():
        found = arrays[key]
        if found.shape != shape:
            raise PackageError(f"{source}: member {LANDMARKS}: array {key} is {found.shape}; wanted {shape}")
        if key.endswith("confidence") and not ((found >= 0.0) & (found <= 1.0)).all():
            raise PackageError(f"{source}: member {LANDMARKS}: array {key} leaves 0..1: enrol again")
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
            chest_confidence=float(arrays["chest_confidence"][index]),
        )
        for index in range(count)
    ]


def _image(
    source: Path, member: str, data: bytes, kind: str, mode: str, size: int | None
) -> NDArray[np.uint8]:
    """(S, S, 3) or (S, S, 4) uint8; the size is checked before anything is decoded."""
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as image:
            width, height = image.size
            if size is not None and (width, height) != (size, size):
                raise PackageError(f"{source}: member {member} is {width}x{height}; wanted {size}x{size}")
            if max(width, height) > MAX_PREVIEW_PX:
                raise PackageError(
                    f"{source}: member {member} is {width}x{height}; wanted at most {MAX_PREVIEW_PX}"
                )
            if image.mode != mode:
                raise PackageError(f"{source}: member {member} has mode {image.mode}; wanted {mode}")
            return np.array(image, np.uint8)
    except IMAGE_ERRORS as error:
        raise PackageError(
            f"{source}: member {member} is not a readable {kind} ({error}): enrol again"
        ) from error


def _npz(source: Path, member: str, data: bytes) -> dict[str, FloatArray]:
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
    except _NPZ_ERRORS as error:
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


def _encode_npz(arrays: Mapping[str, FloatArray]) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _encode_png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
