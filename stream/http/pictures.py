"""Background pictures, decoded one at a time in a thread that gives way to those that render."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from engine.render.background import Background

_LOWEST_PRIORITY = 19


class PictureReader:
    """One thread, which ends with the reader."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "pictures", initializer=_give_way)

    async def read(self, data: bytes) -> Background:
        """The background that a PNG or JPEG shows. Raises SettingsError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, Background.picture, data)


def _give_way() -> None:
    """Where threads have a priority of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
