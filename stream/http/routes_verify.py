"""Says of a file that is sent whether avatarcast made it; needs no session. Behind the page /verify."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from engine.errors import PackageError, VideoError
from engine.files import scratch
from stream.budgets import Budgets, RateLimiter
from stream.http.bodies import CLIENT, read_body
from stream.http.route import Route
from stream.refusal import RequestRefused

LIMIT_BYTES = 16 * 1024 * 1024
LIMIT_S = 60.0
KINDS = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "application/octet-stream": "",  # an .avatar, or what a browser knows no type for
}


class VerifyRoutes:
    """Looks at one file at a time, in a thread of its own; what was sent is deleted at once."""

    def __init__(self, budgets: Budgets) -> None:
        self._rates = RateLimiter(budgets.pictures_per_min / 60, budgets.pictures_at_once)
        self._thread = ThreadPoolExecutor(1, "verify")

    def routes(self) -> list[Route]:
        """All of them."""
        return [Route("POST", "/api/verify", self._verify)]

    async def _verify(self, request: web.Request) -> web.Response:
        if wait_s := self._rates.take(request[CLIENT], 1.0, time.monotonic()):
            raise RequestRefused(429, "too many files; try again later", retry_after_s=wait_s)
        data = await read_body(request, tuple(KINDS), LIMIT_BYTES, LIMIT_S)
        if not data:
            raise RequestRefused(400, "the body is empty; send a film, a picture or an .avatar")
        looking = asyncio.get_running_loop().run_in_executor(
            self._thread, _looked_at, data, KINDS[request.content_type]
        )
        try:
            return web.json_response(await looking)
        except (PackageError, VideoError) as error:
            raise RequestRefused(400, f"what was sent cannot be read: {_without_path(error)}") from error


def _looked_at(data: bytes, ending: str) -> dict[str, Any]:
    from engine.verification import verify  # heavy, and most servers are never asked

    with scratch() as folder:
        path = folder / f"sent{ending}"
        path.write_bytes(data)
        return verify(path).to_dict()


def _without_path(error: Exception) -> str:
    """Where a server keeps things is nobody's business."""
    return str(error).partition(": ")[2]
