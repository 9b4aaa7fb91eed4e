"""The presenters that come with avatarcast: every file of engine/assets/*.avatar, named by its stem.

Light: knows their names and files, and nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

BUNDLED = "bundled"  # stands for the first of them
FOLDER = resources.files("engine") / "assets"
_FIRST = "theo"
_SUFFIX = ".avatar"


def bundled_names() -> list[str]:
    """The first, then the others by the alphabet; empty where an installation lost its files."""
    files = [file.name for file in FOLDER.iterdir()]
    names = [file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX)]
    return sorted(names, key=lambda name: (name != _FIRST, name))


def bundled_name(given: str | Path) -> str | None:
    """Which of them is meant; None where it is none of them, and so a file."""
    names = bundled_names()
    if str(given) == BUNDLED and names:
        return names[0]
    return str(given) if str(given) in names else None


@contextmanager
def bundled_file(name: str) -> Iterator[Path]:
    """Its file, while the context lasts. name: one of `bundled_names`."""
    with resources.as_file(FOLDER / f"{name}{_SUFFIX}") as file:
        yield file


def avatar_help() -> str:
    """What an option takes that names an avatar."""
    names = bundled_names()
    return f"an .avatar file, or a bundled presenter: {', '.join(names)} (default {(names or [BUNDLED])[0]})"
