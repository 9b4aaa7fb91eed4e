"""The keys of this installation: its own, and those of others that it trusts.

Ed25519 (RFC 8032). The own one is made at its first use and kept in the product's folder, for its owner
alone: whoever loses it loses "signed here" and nothing else. A public key is written as its 32 bytes in
base64; people compare fingerprints.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engine.errors import FileError, SettingsError
from engine.files import PRIVATE_FILE, Part, in_one_line, private_folder, set_aside, write_file
from engine.user_folders import DATA_VARIABLE, data_folder

logger = logging.getLogger(__name__)

OWN, KNOWN = "installation.pem", "known.json"
PRESENTERS = resources.files("engine") / "assets" / "presenters.json"
PRESENTERS_NAME = "avatarcast"
LINE = "avatarcast-key"  # begins a public key that is handed on
MAX_NAME_CHARACTERS = 60
MAX_KNOWN_BYTES = 1024 * 1024
_KEY_BYTES = 32
_CURE = f"name a folder that can be written with {DATA_VARIABLE}"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Whose signatures mean something here."""

    own: str = ""  # public key; empty as long as nothing was signed
    name: str = ""  # of the own one, as it is handed on
    trusted: Mapping[str, str] = field(default_factory=dict)  # public key -> its name here
    presenters: str = ""  # the key of those who make the bundled presenters

    def name_of(self, key: str) -> str:
        """As people know it; empty for a key that nobody here knows."""
        if key == self.presenters:
            return PRESENTERS_NAME
        return "this installation" if key == self.own else self.trusted.get(key, "")


def keys_folder() -> Path:
    """Where they lie."""
    return data_folder() / "keys"


def key_ring() -> KeyRing:
    """All that is known; nothing is made. What cannot be read is logged, and trusted is then nobody."""
    own = _read_own()
    known = _read_known()
    return KeyRing(
        own="" if own is None else public_text(own),
        name=known["name"],
        trusted=known["trusted"],
        presenters=presenters()["key"],
    )


def installation_key() -> Ed25519PrivateKey:
    """The own key, made now if there is none. Raises FileError where it cannot be kept."""
    if (key := _read_own()) is not None:
        return key
    folder = keys_folder()
    private_folder(folder, _CURE)
    path = folder / OWN
    if path.exists() and (key := _read_own()) is not None:  # another process made it just now
        return key
    if path.exists():
        with in_one_line(path, _CURE):
            aside = set_aside(path)
        logger.warning("%s cannot be read as a key and is now %s; another is made", path, aside)
    key = Ed25519PrivateKey.generate()
    with in_one_line(path, _CURE):
        part = Part(folder)
        try:
            part.file.write(private_pem(key))
            part.file.flush()
            os.fsync(part.file.fileno())
            with suppress(FileExistsError):  # another process made one just now: that is the one
                os.link(part.path, path)
        finally:
            part.discard()
    made = _read_own()
    if made is None:
        raise FileError(f"{path}: the key that was just written cannot be read: {_CURE}")
    return made


def trust(key: str, name: str) -> None:
    """Counts its signatures from now on, under this name. Raises SettingsError, FileError."""
    key, name = parse_key(key), _checked_name(name)
    ring = key_ring()
    if key in (ring.own, ring.presenters):
        raise SettingsError(f"{fingerprint(key)}: is {ring.name_of(key)}'s own key, which counts already")
    if name in {known for other, known in ring.trusted.items() if other != key}:
        raise SettingsError(f"{name}: another key has that name; choose a second one with --name")
    _write_known(ring.name, {**ring.trusted, key: name})


def distrust(given: str) -> str:
    """given: a name, a fingerprint or a public key. Gives the name it had. Raises SettingsError."""
    ring = key_ring()
    found = [key for key, name in ring.trusted.items() if given in (name, key, fingerprint(key))]
    if not found:
        known = ", ".join(sorted(ring.trusted.values())) or "none"
        raise SettingsError(f"{given!r:.80}: no such key is trusted; trusted are: {known}")
    name = ring.trusted[found[0]]
    _write_known(ring.name, {key: name for key, name in ring.trusted.items() if key != found[0]})
    return name


def name_own(name: str) -> None:
    """What others are told this installation is called. Raises SettingsError, FileError."""
    _write_known(_checked_name(name), key_ring().trusted)


def public_text(key: Ed25519PrivateKey) -> str:
    """Its public half, in base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """As it is kept: PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_private(data: bytes) -> Ed25519PrivateKey | None:
    """None where it is not the whole of one."""
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def fingerprint(key: str) -> str:
    """Sixteen hexadecimal digits by which people compare public keys."""
    return hashlib.sha256(base64.b64decode(key)).hexdigest()[:16]


def key_line(key: str, name: str) -> str:
    """A public key as it is handed on."""
    return f"{LINE} {key} {name}".strip()


def parse_key_line(text: str) -> tuple[str, str]:
    """Key and name of `key_line`, or of a bare key. Raises SettingsError."""
    words = text.split()
    if words[:1] == [LINE]:
        words = words[1:]
    return parse_key(words[0] if words else ""), " ".join(words[1:])


def parse_key(text: str) -> str:
    """A public key as it is written, if it is one. Raises SettingsError."""
    if not is_key(text):
        raise SettingsError(
            f"{text!r:.60}: is no public key; wanted the line of `avatarcast keys export`, or its file"
        )
    return text


def is_key(value: object) -> bool:
    """Whether it is 32 bytes in base64, written in the one way."""
    if not isinstance(value, str) or len(value) != 4 * -(-_KEY_BYTES // 3):
        return False
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _KEY_BYTES and base64.b64encode(raw).decode() == value


def verifies(key: str, signature: object, data: bytes) -> bool:
    """Whether this public key made this signature, in base64, of that."""
    if not is_key(key) or not isinstance(signature, str):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(
            base64.b64decode(signature, validate=True), data
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def canonical(value: Mapping[str, Any]) -> bytes:
    """The same bytes for the same content: what signatures are of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sign(key: Ed25519PrivateKey, data: bytes) -> str:
    """The signature of these bytes, in base64."""
    return base64.b64encode(key.sign(data)).decode()


@lru_cache(maxsize=1)
def presenters() -> Mapping[str, Any]:
    """Public key of the makers of the bundled presenters, and their signatures by digest of the avatar."""
    try:
        kept = json.loads(PRESENTERS.read_bytes())
    except (OSError, ValueError) as error:
        logger.warning("the presenters' signatures are missing here (%s): they are served marked", error)
        return {"key": "", "avatars": {}}
    return {"key": kept["key"], "avatars": kept["avatars"]}


def read_kept(path: Path, limit: int) -> bytes | None:
    """A file among the keys, up to one byte beyond the limit; None where there is none, or no folder of ours.

    Raises OSError where it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        if os.access(path.parent, os.X_OK):
            raise
        return None  # a user without a home


def _read_own() -> Ed25519PrivateKey | None:
    path = keys_folder() / OWN
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            logger.warning("%s could be read by others: it is closed to them now", path)
            path.chmod(PRIVATE_FILE)
        return read_private(path.read_bytes())
    except OSError:
        return None


def _read_known() -> dict[str, Any]:
    path = keys_folder() / KNOWN
    nobody: dict[str, Any] = {"name": "", "trusted": {}}
    try:
        if (data := read_kept(path, MAX_KNOWN_BYTES)) is None:
            return nobody
        kept = json.loads(data)
        trusted, name = kept["trusted"], kept["name"]
        if not isinstance(name, str) or not all(is_key(key) for key in trusted):
            raise ValueError("other than keys and names")
        return {"name": name, "trusted": {key: _checked_name(value) for key, value in trusted.items()}}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        SettingsError,
    ) as error:
        logger.warning("%s cannot be read (%s): no key is trusted until it is removed or mended", path, error)
        return nobody


def _write_known(name: str, trusted: Mapping[str, str]) -> None:
    private_folder(keys_folder(), _CURE)
    data = json.dumps({"name": name, "trusted": dict(trusted)}, indent=1, sort_keys=True).encode()
    write_file(keys_folder() / KNOWN, data, cure=_CURE)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise SettingsError(
            f"{name!r:.80}: a key's name is 1 to {MAX_NAME_CHARACTERS} printable characters: give --name"
        )
    if name == PRESENTERS_NAME:
        raise SettingsError(f"{name}: is the name of the bundled presenters' key; choose another with --name")
    return name
