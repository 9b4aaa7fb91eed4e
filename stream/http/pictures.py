"""Background pictures, decoded one at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from engine.render.background import Background
from stream.budgets import Budgets, RateLimiter
from stream.refusal import RequestRefused


class PictureReader:
    """Use: admit(), read(). One thread, which ends with the reader."""

    # Of the usual priority: a low one would keep the interpreter's lock from those that render.

    def __init__(self, budgets: Budgets) -> None:
        self._rates = RateLimiter(budgets.pictures_per_min / 60, budgets.pictures_at_once)
        self._thread = ThreadPoolExecutor(1, "pictures")

    def admit(self, client: str, now_s: float) -> None:
        """Before a picture is read: raises RequestRefused (429) where this client sends too many."""
        if wait_s := self._rates.take(client, 1.0, now_s):
            raise RequestRefused(429, "too many pictures; try again later", retry_after_s=wait_s)

    async def read(self, data: bytes) -> Background:
        """The background that a PNG or JPEG shows. Raises SettingsError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, Background.picture, data)
