"""Which people's avatars are not to be used any more: a signed list that other servers may be given.

An avatar is known by the SHA-256 of the person's measures (`neutral.npz`), which stays the same in whatever
is exported or packed anew of it; the list tells no more of a person than that. A list of others counts where
its key is trusted, or had a hand in that avatar: a stranger can withdraw nobody.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from engine.errors import SettingsError
from engine.files import in_one_line, private_folder, set_aside, write_file
from engine.provenance.keys import (
    canonical,
    fingerprint,
    installation_key,
    is_key,
    key_ring,
    keys_folder,
    public_text,
    read_kept,
    sign,
    verifies,
)
from engine.user_folders import DATA_VARIABLE

logger = logging.getLogger(__name__)

MAX_LIST_BYTES = 4 * 1024 * 1024
_OWN = "withdrawn.json"
_OF_OTHERS = "withdrawn-{}.json"
_PURPOSE = b"avatarcast withdrawals 1\n"
_LIKENESS = re.compile(r"[0-9a-f]{64}")
_CURE = f"name a folder that can be written with {DATA_VARIABLE}"


def withdrawn(likeness: str, signers: Collection[str]) -> str:
    """Since when this person's avatars are not to be used, YYYY-MM-DD; empty where no list that counts says.

    signers: public keys of whoever had a hand in the avatar.
    """
    folder = keys_folder()
    if (since := _entries(folder / _OWN).get(likeness)) is not None:
        return since
    trusted = key_ring().trusted
    for path in _of_others(folder):
        kept = _read(path)
        if kept is not None and likeness in kept["withdrawn"] and kept["key"] in {*signers, *trusted}:
            return str(kept["withdrawn"][likeness])
    return ""


def _of_others(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob(_OF_OTHERS.format("*")))
    except OSError:  # no folder of ours
        return []


def withdraw(likeness: str) -> None:
    """Puts a person on this installation's list. Raises FileError where it cannot be kept."""
    private_folder(keys_folder(), _CURE)
    path = keys_folder() / _OWN
    if path.exists() and _read(path, must_verify=False) is None:
        with in_one_line(path, _CURE):
            set_aside(path)
    today = datetime.now(timezone.utc).date().isoformat()
    write_file(path, _signed({likeness: today, **_entries(path)}), cure=_CURE)


def own_list() -> bytes:
    """This installation's list, signed, to be given to other servers. Raises FileError."""
    return _signed(_entries(keys_folder() / _OWN))


def learn(data: bytes, name: str) -> tuple[str, int]:
    """Keeps another installation's list; gives its key's fingerprint, and how many it withdraws.

    name: of where it came from, for errors. Raises SettingsError, FileError.
    """
    kept = _parsed(data)
    if kept is None:
        raise SettingsError(
            f"{name}: is no list of withdrawals, or was changed; wanted the file that "
            "`avatarcast keys withdrawals` writes"
        )
    path = keys_folder() / _OF_OTHERS.format(fingerprint(kept["key"]))
    before = _read(path)
    gone = set() if before is None else set(before["withdrawn"]) - set(kept["withdrawn"])
    if gone:
        raise SettingsError(
            f"{name}: lacks {len(gone)} withdrawals of a list of the same key that is known here: it is older"
        )
    private_folder(keys_folder(), _CURE)
    write_file(path, data, cure=_CURE)
    return fingerprint(kept["key"]), len(kept["withdrawn"])


def _signed(entries: Mapping[str, str]) -> bytes:
    key = installation_key()
    kept = {"key": public_text(key), "withdrawn": dict(entries)}
    return canonical({**kept, "signature": sign(key, _PURPOSE + canonical(kept))})


def _entries(path: Path) -> Mapping[str, str]:
    """Of a list; whoever can write the own one may withdraw, so its signature decides nothing."""
    kept = _read(path, must_verify=False)
    return {} if kept is None else kept["withdrawn"]


def _read(path: Path, must_verify: bool = True) -> dict[str, Any] | None:
    try:
        if (data := read_kept(path, MAX_LIST_BYTES)) is None:
            return None
    except OSError as error:
        logger.warning("%s cannot be read (%s): what it withdraws is not known", path, error)
        return None
    if (kept := _parsed(data, must_verify)) is None:
        logger.warning("%s is no list of withdrawals any more: what it withdraws is not known", path)
    return kept


def _parsed(data: bytes, must_verify: bool = True) -> dict[str, Any] | None:
    if len(data) > MAX_LIST_BYTES:
        return None
    try:
        kept = json.loads(data)
        entries = kept["withdrawn"]
        if sorted(kept) != ["key", "signature", "withdrawn"] or not is_key(kept["key"]):
            return None
        for likeness, since in entries.items():
            date.fromisoformat(since)
            if not _LIKENESS.fullmatch(likeness):
                return None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    content = canonical({"key": kept["key"], "withdrawn": entries})
    if must_verify and not verifies(kept["key"], kept["signature"], _PURPOSE + content):
        return None
    return dict(kept)
