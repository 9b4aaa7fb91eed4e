"""The one folder for what can be made anew: built engines and libraries' caches."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "AVATARCAST_CACHE"


def cache_folder() -> Path:
    """$AVATARCAST_CACHE, or avatarcast in the user's cache folder. RuntimeError where there is no home."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avatarcast"
