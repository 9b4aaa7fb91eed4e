"""Files that are sent: whether avatarcast made them, and Content Credentials for those that it did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

from aiohttp import web

from engine.errors import PackageError, VideoError
from engine.files import scratch
from engine.provenance.credentials import (
    SIDECAR_TYPE,
    TYPES,
    credentialed,
    detached,
    installation_certificate,
)
from engine.provenance.mark_bits import MarkBits, avatar_bits
from stream.budgets import Budgets, RateLimiter
from stream.http.bodies import CLIENT, read_body
from stream.http.route import Route
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars

LIMIT_BYTES = 16 * 1024 * 1024
LIMIT_S = 60.0
_Answer = TypeVar("_Answer")
# What gets Content Credentials: in the file, or, of WebM, which has no place for any, to lie beside it.
CREDENTIALED = {"video/mp4": ".mp4", "image/png": ".png", "image/jpeg": ".jpg", "video/webm": ".webm"}
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

    def __init__(self, budgets: Budgets, avatars: Avatars) -> None:
        self._avatars = avatars
        self._rates = {
            kind: RateLimiter(budgets.pictures_per_min / 60, budgets.pictures_at_once)
            for kind in ("verify", "credentials")
        }
        self._thread = ThreadPoolExecutor(1, "verify")

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("POST", "/api/verify", self._verify),
            Route("POST", "/api/credentials", self._add_credentials),
        ]

    def close(self) -> None:
        """What is being looked at is still looked at; nothing waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _verify(self, request: web.Request) -> web.Response:
        return web.json_response(await self._answer("verify", request, KINDS, _looked_at))

    async def _add_credentials(self, request: web.Request) -> web.Response:
        told = [avatar.told for avatar in self._avatars if avatar.told]
        work = partial(_credentialed, told=told)
        data = await self._answer("credentials", request, CREDENTIALED, work)
        beside = CREDENTIALED[request.content_type] not in TYPES
        return web.Response(body=data, content_type=SIDECAR_TYPE if beside else request.content_type)

    async def _answer(
        self,
        what: str,
        request: web.Request,
        kinds: Mapping[str, str],
        work: Callable[[bytes, str], _Answer],
    ) -> _Answer:
        """What the thread makes of the body. Raises RequestRefused (400, 408, 409, 413, 415, 429)."""
        if wait_s := self._rates[what].take(request[CLIENT], 1.0, time.monotonic()):
            raise RequestRefused(429, "too many files; try again later", retry_after_s=wait_s)
        data = await read_body(request, tuple(kinds), LIMIT_BYTES, LIMIT_S)
        if not data:
            raise RequestRefused(400, "the body is empty; send a film, a picture or an .avatar")
        working = asyncio.get_running_loop().run_in_executor(
            self._thread, work, data, kinds[request.content_type]
        )
        try:
            return await working
        except (PackageError, VideoError) as error:
            raise RequestRefused(400, f"what was sent cannot be read: {_without_path(error)}") from error


def _looked_at(data: bytes, ending: str) -> dict[str, Any]:
    from engine.verification import verify  # heavy, and most servers are never asked

    with scratch() as folder:
        path = folder / f"sent{ending}"
        path.write_bytes(data)
        return verify(path).to_dict()


def _credentialed(data: bytes, ending: str, told: Sequence[Mapping[str, Any]]) -> bytes:
    """The file with its credentials, or those alone. told: what there is to say of each avatar served.

    Raises RequestRefused (409) for what was not made here: real films are not called generated.
    """
    from engine.verification import own_mark

    with scratch() as folder:
        path = folder / f"sent{ending}"
        path.write_bytes(data)
        mark = own_mark(path)
    if not mark:
        raise RequestRefused(409, "no mark of this installation is in it, so it is not signed")
    bits = MarkBits.read(bytes.fromhex(mark))
    shown = [of for of in told if bits is not None and avatar_bits(of["digest"]) == bits.avatar]
    said = {"mark": mark, **(shown[0] if len(shown) == 1 else {})}  # two that share their bits: neither
    if ending not in TYPES:
        return detached(BytesIO(data), said, installation_certificate())
    return credentialed(data, TYPES[ending], said, installation_certificate())


def _without_path(error: Exception) -> str:
    """Where a server keeps things is nobody's business."""
    return str(error).partition(": ")[2]
