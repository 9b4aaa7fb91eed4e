"""Pictures of a session that come or go: backgrounds are decoded, snapshots written, one at a time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import cv2
from PIL import Image

from engine.arrays import I420
from engine.provenance.credentials import credentialed, installation_certificate
from engine.render.background import Background
from stream.budgets import Budgets, RateLimiter
from stream.refusal import RequestRefused

SNAPSHOT_TYPE = "image/png"
_Made = TypeVar("_Made")


class Pictures:
    """Use: admit(), then read() or snapshot(). One thread, which ends with the object."""

    # Of the usual priority: a low one would keep the interpreter's lock from those that render.

    def __init__(self, budgets: Budgets) -> None:
        self._rates = {
            "background": RateLimiter(budgets.pictures_per_min / 60, budgets.pictures_at_once),
            "snapshot": RateLimiter(budgets.snapshots_per_min / 60, budgets.snapshots_at_once),
        }
        self._thread = ThreadPoolExecutor(1, "pictures")

    def admit(self, kind: str, client: str, now_s: float) -> None:
        """Before a "background" or "snapshot": raises RequestRefused (429) where there were too many."""
        if wait_s := self._rates[kind].take(client, 1.0, now_s):
            raise RequestRefused(429, "too many pictures; try again later", retry_after_s=wait_s)

    async def read(self, data: bytes) -> Background:
        """The background that a PNG or JPEG shows. Raises SettingsError."""
        return await self._work(Background.picture, data)

    async def snapshot(self, i420: I420, told: Mapping[str, Any]) -> bytes:
        """A PNG of a picture as it was rendered, before any codec, with Content Credentials.

        told: what they say of the avatar; empty: none is shown, and the PNG has none. Raises FileError.
        """
        return await self._work(_png, i420, told)

    async def _work(self, work: Callable[..., _Made], *arguments: object) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _png(i420: I420, told: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420)).save(file, "PNG", compress_level=1)
    if not told:
        return file.getvalue()
    return credentialed(file.getvalue(), SNAPSHOT_TYPE, told, installation_certificate())
