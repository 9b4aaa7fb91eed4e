"""Reads request bodies of a known kind, up to a size and within a time.

What one client sends at once is bounded too, over all its requests.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from stream.budgets import Lease
from stream.refusal import RequestRefused

CLIENT = web.RequestKey("client", str)  # whose request it is; see Gate.client
LEASE = web.RequestKey("lease", Lease)  # what it takes of this client's account, until it is answered

TEXT_LIMIT_BYTES = 128 * 1024  # a browser's offer is 3 to 10 KB
PICTURE_LIMIT_BYTES = 4 * 1024 * 1024
TEXT_LIMIT_S = 10.0
PICTURE_LIMIT_S = 30.0


async def read_json(request: web.Request) -> Any:
    """The decoded body. Raises RequestRefused (400, 408, 413, 415, 429) with one line."""
    text = await read_text(request, "application/json")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "the body is not JSON") from error


async def read_text(request: web.Request, kind: str) -> str:
    """The body as UTF-8, of this content type. Raises RequestRefused (400, 408, 413, 415, 429)."""
    data = await read_body(request, (kind,), TEXT_LIMIT_BYTES, TEXT_LIMIT_S)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestRefused(
            400, f"the body is not UTF-8 text, so it is not {kind}: not JSON or SDP"
        ) from error


async def read_body(request: web.Request, kinds: tuple[str, ...], limit_bytes: int, limit_s: float) -> bytes:
    """The body, of one of these content types. Raises RequestRefused (400, 408, 413, 415, 429)."""
    if request.content_type not in kinds:
        raise RequestRefused(
            415, f"content type is {request.content_type[:60]!r}; {' or '.join(kinds)} is needed"
        )
    try:
        return await asyncio.wait_for(_read(request, limit_bytes), limit_s)
    except asyncio.TimeoutError as error:
        raise RequestRefused(408, f"the body did not come within {limit_s:.0f} s") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RequestRefused(400, "the body broke off") from error


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    body = bytearray()
    announced = request.content_length or 0
    while announced <= limit_bytes and len(body) <= limit_bytes:
        piece = await request.content.readany()
        if not piece:
            return bytes(body)
        if not request[LEASE].take("body_bytes", len(piece)):
            raise RequestRefused(429, "too much is being sent by you at once", retry_after_s=1)
        body += piece
    raise RequestRefused(413, f"the body is larger than {limit_bytes} bytes")
