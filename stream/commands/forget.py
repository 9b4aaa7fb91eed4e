"""Withdraw consent: remove an avatar with the recording, the work and the engines it was made of and into.

NAME is that of an avatar made on the page, or an .avatar file. There is no way back.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.avatar.beside import AVATAR, files_beside
from engine.avatar.bundled import bundled_name
from engine.errors import SettingsError
from engine.files import FolderLock, in_one_line
from engine.forgetting import Removed, forget_avatar
from engine.user_folders import data_folder
from stream.studio.folder import forget, names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast forget`."""
    parser.add_argument("name", help="as the page lists it, or an .avatar file")
    parser.add_argument(
        "--studio",
        metavar="FOLDER",
        type=Path,
        help="where the page's recordings and avatars lie (default ~/.local/share/avatarcast)",
    )
    parser.add_argument("--json", action="store_true", help="print what was removed as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Removes, and says what."""
    given, studio = Path(args.name), (args.studio or data_folder()).absolute()
    if bundled_name(args.name) is not None:
        raise SettingsError(f"{args.name} comes with avatarcast and shows nobody: there is nothing to forget")
    if given.suffix == AVATAR and given.absolute().parent != studio:
        removed = _forget_file(given)
    else:
        removed = _forget_name(given.stem if given.suffix == AVATAR else args.name, studio)
    if args.json:
        print(json.dumps({"removed": [item.as_dict() for item in removed]}))
    else:
        print("\n".join(_lines(removed)))
    return 0


def _forget_file(avatar: Path) -> list[Removed]:
    if not avatar.is_file() and not files_beside(avatar):
        raise SettingsError(f"{avatar}: there is no such file; give the avatar, or its name in the studio")
    removed = forget_avatar(avatar)
    _note("yours to remove: copies, and films it was enrolled from; servers of this user let go in a minute")
    return removed


def _forget_name(name: str, studio: Path) -> list[Removed]:
    known = names(studio)
    if name not in known:
        there = f"there are: {', '.join(known)}" if known else "nobody is there"
        raise SettingsError(f"{name}: found no such name in {studio}, {there}; or give an .avatar file")
    server = FolderLock(studio)
    with in_one_line(studio):
        ours = server.acquire()
    try:
        removed = forget(studio, name)
    finally:
        server.release()
    if not ours:
        _note(f"the server that runs there ({server.holder()}) lets go of it within a minute")
    return removed


def _note(text: str) -> None:
    print(f"avatarcast: note: {text}", file=sys.stderr)


def _lines(removed: Sequence[Removed]) -> list[str]:
    return [f"removed {item.what:<10} {item.path}" for item in removed]
