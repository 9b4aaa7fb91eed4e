"""Takes `.avatar` files apart and puts them together again, changed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.avatar.container import FIELDS, MANIFEST, SIGNATURES, build_manifest, encode_json


def unzip(path: Path) -> dict[str, bytes]:
    """Every member, the manifest too."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Writes just these members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def forge(path: Path, changes: Mapping[str, bytes | None], **manifest_changes: Any) -> None:
    """Changes members and makes the manifest agree, digest and all; the signatures stay as they are."""
    members = unzip(path)
    manifest = json.loads(members.pop(MANIFEST))
    for name, data in changes.items():
        if data is None:
            members.pop(name)
        else:
            members[name] = data
    signatures = {SIGNATURES: members.pop(SIGNATURES)} if SIGNATURES in members else {}
    fields = {key: manifest[key] for key in FIELDS} | manifest_changes
    rezip(path, {MANIFEST: encode_json(build_manifest(members, fields)), **signatures, **members})
