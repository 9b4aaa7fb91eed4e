"""The user's folders: what can be made anew (compiled loops, built engines), and what is to be kept.

By the XDG base directory specification. A container's user may have neither $HOME nor an entry in passwd:
then home is /, as container engines set it. Nothing can be written there: whoever needs a folder says so, and
which variable names another; who needs none goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "AVATARCAST_CACHE"
DATA_VARIABLE = "XDG_DATA_HOME"


def home() -> Path:
    """The user's home, which may not exist."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def user_cache() -> Path:
    """$XDG_CACHE_HOME, or what that is by default: shared with other programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache")


def cache_folder() -> Path:
    """$AVATARCAST_CACHE, or avatarcast in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache() / "avatarcast"


def data_folder() -> Path:
    """$XDG_DATA_HOME/avatarcast, or what that is by default."""
    base = os.environ.get(DATA_VARIABLE) or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else home() / ".local" / "share") / "avatarcast"
