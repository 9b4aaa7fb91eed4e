"""The `.avatar` file: what its members mean, and that they mean something.

Reading checks every array, image and network after `engine.avatar.container` has checked the file, so the
rest of the engine can trust an Avatar; any flaw is one line that names the member.
"""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from engine.avatar.avatar import (
    LOSSLESS_KEYFRAMES,
    MAX_FPS,
    MAX_HELD_OUT,
    MAX_KEYFRAMES,
    MAX_MEMORY,
    MAX_NAME_CHARACTERS,
    MAX_PICTURE_BYTES,
    MAX_SIZE_PX,
    MIN_SIZE_PX,
    NETWORKS,
    PERSONS,
    SIZE_STEP_PX,
    Avatar,
    Cover,
    HeldOutFrame,
    Stored,
    picture_bytes,
)
from engine.avatar.bundled import BUNDLED, bundled_file, bundled_name, bundled_names
from engine.avatar.container import (
    MANIFEST,
    Package,
    build_manifest,
    encode_json,
    parse_json,
    read_package,
    write_package,
)
from engine.avatar.members import (
    encode_arrays,
    encode_jpeg,
    encode_png,
    person_arrays,
    read_image,
    read_landmarks,
    read_person,
    read_voice,
    stack_landmarks,
)
from engine.errors import FileError, PackageError, RunnerError
from engine.network.network_check import checked_denoiser
from engine.person.landmarks import Landmarks
from engine.provenance.chain import CHANGED, MADE, Standing, chain_of, extended, standing
from engine.provenance.keys import installation_key, key_ring
from engine.provenance.withdrawals import withdrawn
from engine.render.keyframes import KeyFrame
from engine.render.scene import Scene, scene_flaw
from engine.voice.own import OwnVoice, voice_arrays
from engine.voice.voice_print import consent_names_print

logger = logging.getLogger(__name__)

MEMORY_QUALITY = 92
SCENE_QUALITY = 92
CONSENT_FIELDS = ("who", "statement", "date", "person")
TOOLS = ("ai-edge-litert", "avatarcast", "numpy", "onnx", "torch")  # whose versions the manifest records

CONSENT, NEUTRAL, LANDMARKS = "consent.json", "neutral.npz", "keyframes/landmarks.npz"
PLATE, PREVIEW, REPORT = "keyframes/plate.png", "preview.jpg", "report.json"
# Optional: more key frames, the torso without arms, the room, how they speak, held-out frames, a picture of
# the report.
MEMORY_LANDMARKS, BARE_TORSO = "memory/landmarks.npz", "keyframes/bare_torso.png"
SCENE, SCENE_CANVAS = "scene.jpg", "scene.json"
VOICE = "voice.npz"
HELD_OUT_LANDMARKS = "held_out/landmarks.npz"
REPORT_PICTURE = "report.png"
REQUIRED = (CONSENT, NEUTRAL, LANDMARKS, PLATE, PREVIEW, REPORT)
OPTIONAL = (HELD_OUT_LANDMARKS, REPORT_PICTURE, MEMORY_LANDMARKS, BARE_TORSO, SCENE, SCENE_CANVAS, VOICE)
_KEYFRAME = re.compile(r"keyframes/(\d\d)\.png")
_MEMORY = re.compile(r"memory/(\d\d)\.jpg")
_HELD_OUT = re.compile(r"held_out/(\d\d)\.jpg")
_CANVAS = ("left", "top", "side")  # of it in the scene, px
_MODELS = {f"models/{name}": name for name in NETWORKS}


_Loaded = TypeVar("_Loaded", Avatar, Cover)


def load_avatar(path: str | Path, *, even_withdrawn: bool = False) -> Avatar:
    """The avatar in `path`, or a bundled presenter by name; "bundled" is the first of those.

    Raises PackageError, also where consent is known to be withdrawn. A bundled presenter is named as its file
    is, whatever the file says. even_withdrawn: load it all the same, to tell of it or to remove it.
    """
    avatar = _loaded(path, _decode)
    assert avatar.stored is not None
    if not even_withdrawn:
        _refuse_withdrawn(path, avatar.stored.standing)
    return avatar


def load_cover(path: str | Path) -> Cover:
    """The cover of what `load_avatar` would load: every member's hash is verified, few are decoded.

    Raises PackageError, also where consent is known to be withdrawn.
    """
    cover = _loaded(path, _cover)
    _refuse_withdrawn(path, cover.standing)
    return cover


def _refuse_withdrawn(path: str | Path, found: Standing) -> None:
    if found.withdrawn:
        raise PackageError(
            f"{path}: consent to this avatar was withdrawn on {found.withdrawn}: it is not used any more; "
            "`avatarcast forget` removes it"
        )


def _loaded(path: str | Path, decode: Callable[[Path, Package], _Loaded]) -> _Loaded:
    name = bundled_name(path)
    if name is None:
        return decode(Path(path), _read_file(path))
    with bundled_file(name) as file:
        return replace(decode(file, read_package(file)), name=name)


def _read_file(path: str | Path) -> Package:
    """Says what names there are where there is no such file."""
    if not Path(path).exists():
        known = ", ".join(bundled_names()) or f"none: {BUNDLED} presenters are missing here"
        raise PackageError(
            f"{path}: no such file; wanted an .avatar file, as `avatarcast enroll` writes it, "
            f"or a bundled presenter ({known})"
        )
    return read_package(path)


def save_avatar(path: str | Path, avatar: Avatar) -> Avatar:
    """Writes the avatar, all or nothing, and gives it as it will load.

    Key frames past LOSSLESS_KEYFRAMES lose a little, as JPEG does. What `load_avatar` would refuse is refused
    here, before anything is written. This installation signs it, after what is signed of it already. Raises
    PackageError, FileError.
    """
    members = {
        CONSENT: encode_json(avatar.consent),
        REPORT: encode_json(avatar.report),
        PREVIEW: avatar.preview_jpeg,
        NEUTRAL: encode_arrays(person_arrays(avatar.neutral, avatar.support, avatar.torso)),
        PLATE: encode_png(avatar.plate),
        **_keyframe_members(avatar.keyframes),
        **held_out_members(avatar.held_out),
        **{f"models/{name}": data for name, data in avatar.models.items()},
    }
    if avatar.bare_torso is not None:
        members[BARE_TORSO] = encode_png(avatar.bare_torso)
    if (scene := avatar.scene) is not None:
        members[SCENE] = encode_jpeg(scene.rgb, SCENE_QUALITY)
        members[SCENE_CANVAS] = encode_json({side: getattr(scene, side) for side in _CANVAS})
    if avatar.voice is not None:
        members[VOICE] = encode_arrays(voice_arrays(avatar.voice))
    if avatar.report_png:
        members[REPORT_PICTURE] = avatar.report_png
    fields = {
        "name": avatar.name,
        "size_px": avatar.size,
        "fps": avatar.fps,
        "tools": _tool_versions(),
        "training": avatar.training,
        "models": {name: avatar.variants.get(name, {}) for name in avatar.models},
    }
    manifest = build_manifest(members, fields)
    signatures = signatures_of(avatar.stored, manifest["digest"])
    written = _decode(Path(path), Package(manifest, members, signatures))
    write_package(path, members, fields, lambda _: signatures)
    return written


def signatures_of(before: Stored | None, digest: str, action: str = CHANGED) -> bytes | None:
    """Those of what an avatar becomes, signed here; None, and a word in the log, where no key can be kept.

    before: what it was, None where it is new. digest: of the manifest to be written. action: what was done.
    """
    try:
        key = installation_key()
    except FileError as error:
        logger.warning("the avatar is not signed: %s", error)
        return None
    if before is None:
        return extended(None, key, digest, MADE)
    return extended(before.signatures, key, digest, action, before.digest)


def _keyframe_members(frames: Sequence[KeyFrame]) -> dict[str, bytes]:
    lossless, memory = frames[:LOSSLESS_KEYFRAMES], frames[LOSSLESS_KEYFRAMES:]
    members = {f"keyframes/{index:02d}.png": encode_png(frame.rgba) for index, frame in enumerate(lossless)}
    members[LANDMARKS] = encode_arrays(stack_landmarks([frame.landmarks for frame in lossless]))
    for index, frame in enumerate(memory):
        matte = np.repeat(frame.matte[..., None], 3, axis=2)
        members[f"memory/{index:02d}.jpg"] = encode_jpeg(np.hstack([frame.rgb, matte]), MEMORY_QUALITY)
    if memory:
        members[MEMORY_LANDMARKS] = encode_arrays(stack_landmarks([frame.landmarks for frame in memory]))
    return members


def held_out_members(frames: Sequence[HeldOutFrame]) -> dict[str, bytes]:
    """The members that hold these frames; none for none."""
    members = {f"held_out/{index:02d}.jpg": frame.jpeg for index, frame in enumerate(frames)}
    if frames:
        members[HELD_OUT_LANDMARKS] = encode_arrays(stack_landmarks([frame.landmarks for frame in frames]))
    return members


def _tool_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        with suppress(metadata.PackageNotFoundError):
            versions[tool] = metadata.version(tool)
    return versions


def _cover(source: Path, package: Package) -> Cover:
    manifest, members = package.manifest, package.members
    size = manifest["size_px"]
    if not MIN_SIZE_PX <= size <= MAX_SIZE_PX or size % SIZE_STEP_PX:
        raise PackageError(
            f"{source}: member manifest.json: size_px is {size}; wanted a multiple of {SIZE_STEP_PX} "
            f"from {MIN_SIZE_PX} to {MAX_SIZE_PX}"
        )
    name = manifest["name"]
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise PackageError(
            f"{source}: member {MANIFEST}: name is {name[:MAX_NAME_CHARACTERS]!r}; wanted 1 to "
            f"{MAX_NAME_CHARACTERS} printable characters"
        )
    for member in REQUIRED:
        if member not in members:
            raise PackageError(f"{source}: member {member} is missing: enrol again")
    read_image(source, PREVIEW, members[PREVIEW], "JPEG", "RGB", None)
    return Cover(
        name,
        size,
        _consent(source, members[CONSENT]),
        members[PREVIEW],
        manifest["digest"],
        _likeness(package),
        _standing(package),
    )


def _standing(package: Package) -> Standing:
    found = standing(package.signatures, package.manifest["digest"], key_ring())
    return replace(
        found, withdrawn=withdrawn(_likeness(package), {record["key"] for record in found.records})
    )


def _likeness(package: Package) -> str:
    return str(package.manifest["members"][NEUTRAL]["sha256"])


def _decode(source: Path, package: Package) -> Avatar:
    manifest, members = package.manifest, package.members
    cover = _cover(source, package)
    size = cover.size
    fps = manifest["fps"]
    if not 1.0 <= fps <= MAX_FPS:
        raise PackageError(f"{source}: member manifest.json: fps is {fps}; wanted 1 to {MAX_FPS:g}")
    rest = sorted(set(members) - set(REQUIRED))
    frames = [member for member in rest if _KEYFRAME.fullmatch(member)]
    models = {_MODELS[member]: members[member] for member in rest if member in _MODELS}
    held_out = [member for member in rest if _HELD_OUT.fullmatch(member)]
    memory = [member for member in rest if _MEMORY.fullmatch(member)]
    known = {*OPTIONAL, *frames, *held_out, *memory}
    for member in rest:
        if member not in known and member not in _MODELS:
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
    needed = picture_bytes(size, len(frames) + len(memory), len(held_out))
    if needed > MAX_PICTURE_BYTES:
        raise PackageError(
            f"{source}: its pictures of {size} px take {needed} bytes; wanted at most {MAX_PICTURE_BYTES}"
        )
    if set(manifest["models"]) != set(models):
        raise PackageError(
            f"{source}: member manifest.json: models are {sorted(manifest['models'])!s:.200}; "
            f"the file holds {sorted(models)}"
        )
    neutral, support, torso = read_person(source, NEUTRAL, members[NEUTRAL], size)
    landmarks = read_landmarks(source, LANDMARKS, members[LANDMARKS], len(frames), size)
    keyframes = []
    for member, points in zip(frames, landmarks, strict=True):
        keyframes.append(
            KeyFrame(read_image(source, member, members[member], "PNG", "RGBA", (size, size)), points)
        )
    if REPORT_PICTURE in members:
        read_image(source, REPORT_PICTURE, members[REPORT_PICTURE], "PNG", "RGB", None)
    return Avatar(
        name=cover.name,
        size=size,
        fps=float(fps),
        neutral=neutral,
        support=support,
        torso=torso,
        keyframes=(*keyframes, *_memory(source, memory, members, size)),
        plate=read_image(source, PLATE, members[PLATE], "PNG", "RGB", (size, size)),
        models={name: _network(source, name, data, size) for name, data in models.items()},
        consent=cover.consent,
        report=parse_json(source, REPORT, members[REPORT]),
        preview_jpeg=cover.preview_jpeg,
        variants=manifest["models"],
        training=manifest["training"],
        held_out=_held_out(source, held_out, members, size),
        report_png=members.get(REPORT_PICTURE, b""),
        bare_torso=read_image(source, BARE_TORSO, members[BARE_TORSO], "PNG", "RGBA", (size, size))
        if BARE_TORSO in members
        else None,
        scene=_scene(source, members),
        voice=_voice(source, members[VOICE], cover.consent) if VOICE in members else None,
        stored=Stored(
            manifest["format_version"],
            manifest["digest"],
            manifest["tools"],
            {member: entry["bytes"] for member, entry in manifest["members"].items()},
            _likeness(package),
            cover.standing,
            chain_of(package.signatures, manifest["digest"]),
        ),
    )


def _scene(source: Path, members: Mapping[str, bytes]) -> Scene | None:
    if (SCENE in members) != (SCENE_CANVAS in members):
        missing = SCENE if SCENE_CANVAS in members else SCENE_CANVAS
        raise PackageError(f"{source}: member {missing} is missing: enrol again")
    if SCENE not in members:
        return None
    found = parse_json(source, SCENE_CANVAS, members[SCENE_CANVAS])
    numbers = [number for name in _CANVAS if type(number := found.get(name)) is int]
    if len(numbers) < len(_CANVAS) or set(found) != set(_CANVAS):
        raise PackageError(
            f"{source}: member {SCENE_CANVAS} is {found!s:.100}; wanted the integers {', '.join(_CANVAS)}"
        )
    scene = Scene(read_image(source, SCENE, members[SCENE], "JPEG", "RGB", None), *numbers)
    if flaw := scene_flaw(scene):
        raise PackageError(f"{source}: member {SCENE}: {flaw}: enrol again")
    return scene


def _network(source: Path, name: str, data: bytes, size: int) -> bytes:
    try:
        return checked_denoiser(data, size, may_be_half=name != NETWORKS[0])
    except RunnerError as error:
        raise PackageError(f"{source}: member models/{name}: {error}: export it again") from error


def _memory(source: Path, frames: Sequence[str], members: Mapping[str, bytes], size: int) -> list[KeyFrame]:
    """The key frames stored as JPEG: the picture on the left, its matte in grey on the right."""
    landmarks = _numbered(
        source, "memory", frames, MEMORY_LANDMARKS, members, size, MAX_MEMORY, "enrol again"
    )
    keyframes = []
    for member, points in zip(frames, landmarks, strict=True):
        both = read_image(source, member, members[member], "JPEG", "RGB", (2 * size, size))
        keyframes.append(KeyFrame.of(both[:, :size], both[:, size:, 1], points))
    return keyframes


def _held_out(
    source: Path, frames: Sequence[str], members: Mapping[str, bytes], size: int
) -> tuple[HeldOutFrame, ...]:
    cure = "export again with --footage"
    landmarks = _numbered(source, "held_out", frames, HELD_OUT_LANDMARKS, members, size, MAX_HELD_OUT, cure)
    return tuple(
        HeldOutFrame(
            members[member],
            read_image(source, member, members[member], "JPEG", "RGB", (size, size)),
            points,
        )
        for member, points in zip(frames, landmarks, strict=True)
    )


def _numbered(
    source: Path,
    folder: str,
    frames: Sequence[str],
    table: str,
    members: Mapping[str, bytes],
    size: int,
    at_most: int,
    cure: str,
) -> list[Landmarks]:
    """Landmarks of the members folder/NN.jpg, which have no gap; all of them or none are there."""
    if bool(frames) != (table in members):
        raise PackageError(f"{source}: member {table if frames else f'{folder}/00.jpg'} is missing: {cure}")
    if frames != [f"{folder}/{index:02d}.jpg" for index in range(len(frames))] or len(frames) > at_most:
        raise PackageError(
            f"{source}: members {folder}/NN.jpg are {list(frames)}; wanted 00, 01, ... without a gap, "
            f"at most {at_most}"
        )
    return read_landmarks(source, table, members[table], len(frames), size) if frames else []


def _voice(source: Path, data: bytes, consent: Mapping[str, Any]) -> OwnVoice:
    voice = read_voice(source, VOICE, data)
    if voice.print is not None and not consent_names_print(consent["statement"]):
        raise PackageError(
            f"{source}: member {VOICE}: a voice print that its consent does not name: enrol again"
        )
    return voice


def _consent(source: Path, data: bytes) -> dict[str, Any]:
    consent = parse_json(source, CONSENT, data)
    for field in CONSENT_FIELDS:
        value = consent.get(field)
        if not isinstance(value, str) or not value.strip():
            raise PackageError(
                f"{source}: member {CONSENT}: {field} is {value!r:.60}; wanted a text: see enroll --consent"
            )
    if consent["person"] not in PERSONS:
        raise PackageError(
            f"{source}: member {CONSENT}: person is {consent['person']!r:.60}; wanted {' or '.join(PERSONS)}"
        )
    try:
        date.fromisoformat(consent["date"])
        if len(consent["date"]) != len("YYYY-MM-DD"):  # newer Pythons read more forms
            raise ValueError("another form")
    except ValueError as error:
        raise PackageError(
            f"{source}: member {CONSENT}: date is {consent['date']!r:.60}; wanted YYYY-MM-DD"
        ) from error
    return consent
