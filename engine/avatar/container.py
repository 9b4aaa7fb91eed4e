"""The container of a `.avatar`: a zip of flat members under a manifest that says what each must be.

Everything is verified before anything is handed out: limits, names, sizes, hashes, the manifest's own digest.
Digests catch damage and careless edits; a forger who recomputes them has no signature (`signatures.json`, see
engine.provenance.chain). Signed or not, what a member decodes to is checked again by
`engine.avatar.avatar_file`. Never unpickles.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import error as struct_error
from typing import Any

from engine.errors import PackageError
from engine.files import replacing
from engine.provenance.chain import MAX_CHAIN_BYTES

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SIGNATURES = "signatures.json"  # of the manifest's digest, so the manifest does not list it
MAX_MEMBERS = 256
MAX_TOTAL_BYTES = 192 * 1024 * 1024  # of all members unpacked, and of the file
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_DIGITS = 18  # of an integer in JSON: it fits 64 bits
MAX_RATIO = 100  # unpacked over packed, for members above RATIO_FREE_BYTES
RATIO_FREE_BYTES = 1024 * 1024

# The manifest's fields besides format_version, members and digest. Strict: no other, none missing.
FIELDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "size_px": (int,),
    "fps": (int, float),
    "tools": (dict,),  # tool -> version
    "training": (dict,),  # how the networks came about
    "models": (dict,),  # file name under models/ -> its variant (precision, steps, ...)
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CURE = "the file is damaged or was changed; copy it again or enrol again"
# All that zipfile is known to raise on damaged input.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct_error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Package:
    """A verified package: the parsed manifest, and the members without it and its signatures."""

    manifest: dict[str, Any]
    members: dict[str, bytes]
    signatures: bytes | None = None  # as they are in the file, not verified; None: unsigned


def build_manifest(members: Mapping[str, bytes], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest that `members` and `fields` (see FIELDS) make together."""
    manifest = {
        "format_version": FORMAT_VERSION,
        **fields,
        "members": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(members.items())
        },
    }
    return {**manifest, "digest": _digest(manifest)}


def write_package(
    path: str | Path,
    members: Mapping[str, bytes],
    manifest_fields: Mapping[str, Any],
    sign: Callable[[str], bytes | None] | None = None,
) -> None:
    """Writes the package beside `path`, reads it back, and only then puts it in its place: all or nothing.

    The same content gives the same bytes. Members are stored, not deflated: images and weights do not shrink.
    sign: gives the signatures of the manifest's digest; without, or where it gives None, none are written.
    """
    target = Path(path)
    manifest = build_manifest(members, manifest_fields)
    head = {MANIFEST: encode_json(manifest)}
    if sign is not None and (signatures := sign(manifest["digest"])) is not None:
        head[SIGNATURES] = signatures
    with replacing(target) as part:
        with zipfile.ZipFile(part.file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in [*head.items(), *sorted(members.items())]:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
        part.file.flush()
        read_package(part.path)


def read_package(path: str | Path) -> Package:
    """The whole package, verified. Any flaw is a PackageError that names the member."""
    source = Path(path)
    try:
        if not source.is_file():
            found = "a folder" if source.is_dir() else "no such file"
            raise PackageError(f"{source}: {found}; wanted an .avatar file, as `avatarcast enroll` writes it")
        size_bytes = source.stat().st_size
        if size_bytes > MAX_TOTAL_BYTES:
            raise PackageError(f"{source}: {size_bytes} bytes; wanted at most {MAX_TOTAL_BYTES}")
        with zipfile.ZipFile(source) as archive:
            return _read(source, archive)
    except OSError as error:
        raise PackageError(f"{source}: cannot be read ({error.strerror or error}); check the file") from error
    except _ZIP_ERRORS as error:
        raise PackageError(
            f"{source}: not a whole .avatar file ({error}); it may be truncated: copy or download it again"
        ) from error


def _read(source: Path, archive: zipfile.ZipFile) -> Package:
    entries: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise PackageError(f"{source}: {len(infos)} members; wanted at most {MAX_MEMBERS}")
    for info in infos:
        _check_entry(source, info)
        if info.filename in entries:
            raise PackageError(f"{source}: member {info.filename} is there twice; wanted once: {_CURE}")
        entries[info.filename] = info
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise PackageError(f"{source}: {total} bytes unpacked; wanted at most {MAX_TOTAL_BYTES}")

    manifest_entry = entries.pop(MANIFEST, None)
    if manifest_entry is None:
        raise PackageError(f"{source}: member {MANIFEST} is missing: this is not an .avatar file")
    if manifest_entry.file_size > MAX_MANIFEST_BYTES:
        raise PackageError(
            f"{source}: member {MANIFEST} has {manifest_entry.file_size} bytes; "
            f"wanted at most {MAX_MANIFEST_BYTES}"
        )
    manifest = parse_manifest(source, _member(source, archive, manifest_entry))
    signatures = _signatures(source, archive, entries.pop(SIGNATURES, None))
    listed: dict[str, dict[str, Any]] = manifest["members"]
    for name in sorted(set(listed) ^ set(entries)):
        flaw = "is missing" if name in listed else "is not in the manifest"
        raise PackageError(f"{source}: member {name} {flaw}: {_CURE}")

    members: dict[str, bytes] = {}
    for name, info in entries.items():
        want = listed[name]
        if info.file_size != want["bytes"]:
            raise PackageError(
                f"{source}: member {name} has {info.file_size} bytes; "
                f"the manifest says {want['bytes']}: {_CURE}"
            )
        data = _member(source, archive, info)
        found = hashlib.sha256(data).hexdigest()
        if found != want["sha256"]:
            raise PackageError(
                f"{source}: member {name} has sha256 {found[:12]}...; "
                f"the manifest says {want['sha256'][:12]}...: {_CURE}"
            )
        members[name] = data
    return Package(manifest, members, signatures)


def _signatures(source: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> bytes | None:
    """None where there are none; what is too large for any is nothing, which no chain is."""
    if entry is None:
        return None
    return _member(source, archive, entry) if entry.file_size <= MAX_CHAIN_BYTES else b""


def _check_entry(source: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    flaw = None
    if not _NAME.fullmatch(name) or ".." in name:
        flaw = "has a name that is not allowed (lower case, at most one folder, no ..)"
    elif kind not in (0, stat.S_IFREG):
        flaw = "is not a regular file (a link, folder or device)"
    elif info.flag_bits & 0x1:
        flaw = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        flaw = f"uses compression method {info.compress_type}; wanted 0 (stored) or 8 (deflated)"
    elif info.file_size > MAX_TOTAL_BYTES:
        flaw = f"has {info.file_size} bytes unpacked; wanted at most {MAX_TOTAL_BYTES}"
    elif info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * info.compress_size:
        flaw = (
            f"unpacks {info.compress_size} bytes to {info.file_size}; wanted at most {MAX_RATIO} times more"
        )
    if flaw:
        raise PackageError(f"{source}: member {name!r} {flaw}: {_CURE}")


def _member(source: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The member's bytes; reads no more than its entry promises."""
    try:
        with archive.open(info) as file:
            data = file.read(info.file_size + 1)
    except (OSError, *_ZIP_ERRORS) as error:
        raise PackageError(f"{source}: member {info.filename} cannot be read ({error}): {_CURE}") from error
    if len(data) != info.file_size:
        raise PackageError(
            f"{source}: member {info.filename} has {len(data)} bytes; wanted {info.file_size}: {_CURE}"
        )
    return data


def encode_json(value: Mapping[str, Any]) -> bytes:
    """One JSON object, the same bytes for the same content."""
    try:
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PackageError(
            f"{error}; wanted values that JSON can hold: texts, finite numbers, lists"
        ) from error


def parse_json(source: Path, name: str, data: bytes) -> dict[str, Any]:
    """A member that is one JSON object."""
    try:
        value = json.loads(data, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{source}: member {name} is not JSON ({error}): {_CURE}") from error
    if not isinstance(value, dict):
        raise PackageError(
            f"{source}: member {name} is a JSON {type(value).__name__}; wanted an object: {_CURE}"
        )
    return value


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word:.40} is not finite")
    return value


def _integer(word: str) -> int:
    if len(word) > MAX_DIGITS:
        raise ValueError(f"{word:.40}... has more than {MAX_DIGITS} digits")
    return int(word)


def parse_manifest(source: Path, data: bytes) -> dict[str, Any]:
    """The manifest, checked against FIELDS, its own digest and the format version."""
    manifest = parse_json(source, MANIFEST, data)

    def refuse(flaw: str) -> PackageError:
        return PackageError(f"{source}: member {MANIFEST}: {flaw}")

    version = manifest.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise refuse(
            f"format_version is {version!r:.40}; wanted {FORMAT_VERSION}: "
            "use the avatarcast that wrote it, or enrol again"
        )
    if manifest.get("digest") != _digest({key: value for key, value in manifest.items() if key != "digest"}):
        raise refuse(f"its digest does not match its content: {_CURE}")
    wanted = {*FIELDS, "format_version", "members", "digest"}
    for key in sorted(wanted ^ set(manifest)):
        raise refuse(f"{key!r:.60} is {'missing' if key in wanted else 'unknown'}: {_CURE}")
    for key, types in FIELDS.items():
        if type(manifest[key]) not in types:
            raise refuse(f"{key} is {manifest[key]!r:.40}; wanted {types[-1].__name__}: {_CURE}")
    if not isinstance(manifest["members"], dict):
        raise refuse(f"members is a {type(manifest['members']).__name__}; wanted an object: {_CURE}")
    for name, facts in manifest["models"].items():
        if not isinstance(facts, dict):
            raise refuse(f"models: {name!r:.60} is {facts!r:.40}; wanted an object: {_CURE}")
    for name, entry in manifest["members"].items():
        if not _NAME.fullmatch(name):
            raise refuse(f"members: {name!r:.60} is a name that is not allowed: {_CURE}")
        if (
            not isinstance(entry, dict)
            or set(entry) != {"bytes", "sha256"}
            or type(entry["bytes"]) is not int
            or not isinstance(entry["sha256"], str)
            or not _SHA256.fullmatch(entry["sha256"])
        ):
            raise refuse(f"the entry of {name} is {entry!r:.60}; wanted bytes and sha256: {_CURE}")
    return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of the manifest without its digest."""
    return hashlib.sha256(encode_json(manifest)).hexdigest()
