"""Puts a variant into an avatar's file: the old file stays as it is until the new one is whole and verified.

Every other member keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.avatar.avatar import Avatar, HeldOutFrame
from engine.avatar.avatar_file import held_out_members, signatures_of
from engine.avatar.container import FIELDS, read_package, write_package
from engine.errors import PackageError
from engine.provenance.chain import EXPORTED
from engine.runners.choice import TORCH_SOURCE
from export.convert.variants import Variant


def put_variant(
    path: Path, avatar: Avatar, variant: Variant, held_out: Sequence[HeldOutFrame] = ()
) -> list[str]:
    """Adds or replaces the variant in the file that `avatar` was loaded from; gives the names it dropped.

    A float32 network of other weights makes every variant of the old ones void: those are dropped. held_out:
    frames to keep with the avatar, when it has none. Raises PackageError when the file changed meanwhile or
    cannot be written; it is then as it was.
    """
    package = read_package(path)
    if avatar.stored is None or package.manifest["digest"] != avatar.stored.digest:
        raise PackageError(
            f"{path}: changed while it was being exported; wanted it as it was: run the same command again"
        )
    models: dict[str, Mapping[str, Any]] = dict(package.manifest["models"])
    dropped = [
        name for name in models if variant.name == TORCH_SOURCE != name and _is_other(models[name], variant)
    ]
    members = {
        name: data for name, data in package.members.items() if name.removeprefix("models/") not in dropped
    }
    members[f"models/{variant.name}"] = variant.model
    members |= held_out_members(held_out)
    kept = {name: facts for name, facts in models.items() if name not in dropped}
    fields = {key: package.manifest[key] for key in FIELDS}
    write_package(
        path,
        members,
        {**fields, "models": {**kept, variant.name: variant.facts}},
        lambda digest: signatures_of(avatar.stored, digest, EXPORTED),
    )
    return dropped


def _is_other(facts: Mapping[str, Any], variant: Variant) -> bool:
    return bool(facts.get("weights_sha256") != variant.facts["weights_sha256"])
