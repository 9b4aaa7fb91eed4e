"""The studio's folder: recordings with their consents, and the avatars made of them. Names and removal.

Needs none of the server's packages.
"""

from __future__ import annotations

from pathlib import Path

from engine.avatar.beside import AVATAR
from engine.forgetting import Removed, forget_avatar, remove

RECORDINGS = "recordings"
ENDINGS = {"video/webm": ".webm", "video/mp4": ".mp4"}  # by content type
CONSENT = ".json"
CLIP = ".consent"  # a film, of the recording's kind, in which the person says that they agree


def avatar_files(folder: Path) -> list[Path]:
    """Of whoever made an avatar here, by name."""
    found = folder.glob(f"*{AVATAR}")
    own = (path for path in found if path.is_file() and not path.name.startswith("."))
    return sorted(own, key=lambda path: path.stem)


def names(folder: Path) -> list[str]:
    """Of whom there is a recording, an avatar, or one that is being made."""
    of_recordings = {
        path.stem
        for path in (folder / RECORDINGS).glob("*")
        if path.suffix in ENDINGS.values() and not path.name.startswith(".")
    }
    begun = {path.name.removesuffix(f"{AVATAR}.work") for path in folder.glob(f"*{AVATAR}.work")}
    return sorted(of_recordings | begun | {path.stem for path in avatar_files(folder)})


def forget(folder: Path, name: str) -> list[Removed]:
    """All that is there of this person: avatar, work, engines, recording and consent; says what it removed.

    name: one of `names`. Raises BusyError while the avatar is being made, FileError.
    """
    removed = forget_avatar(folder / f"{name}{AVATAR}")
    own = {f"{name}{ending}" for ending in ENDINGS.values()}
    for path in sorted((folder / RECORDINGS).glob("*")):
        plain = path.name.partition(".broken-")[0]
        if plain in own:
            removed.append(remove("recording", path))
        elif plain in (f"{name}{CONSENT}", f"{name}{CLIP}"):
            removed.append(remove("consent", path))
    return removed
