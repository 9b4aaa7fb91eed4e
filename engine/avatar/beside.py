"""What lies beside an avatar's file: what it is made from, and what of that was left.

Knows the names alone.
"""

from __future__ import annotations

from pathlib import Path

AVATAR = ".avatar"
PREPARED = ".prepared.npz"


def work_path(avatar: Path) -> Path:
    """`NAME.avatar.work`, the folder of an enrolment that is not finished."""
    return avatar.with_name(avatar.name + ".work")


def distillation_path(avatar: Path) -> Path:
    """`NAME.avatar.distill.pt`, a distillation that is not finished."""
    return avatar.with_name(avatar.name + ".distill.pt")


def prepared_path(avatar: Path) -> Path:
    """`NAME.prepared.npz`, footage ready to be trained on."""
    return avatar.with_suffix(PREPARED)


def files_beside(avatar: Path) -> list[Path]:
    """Those of them that are there, and what was set aside of them (see engine.files)."""
    own = [work_path(avatar), distillation_path(avatar), prepared_path(avatar)]
    names = {path.name for path in own}
    found = sorted(avatar.parent.iterdir()) if avatar.parent.is_dir() else []
    return [path for path in found if path.name in names or path.name.partition(".broken-")[0] in names]
