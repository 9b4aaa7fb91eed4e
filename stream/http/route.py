"""One line of a route table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from stream.sessions.tokens import Grant

GRANT = web.RequestKey("grant", Grant)  # what the request may do, on every request that came through the gate
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler answers a method on a path; what it asks of a request is in stream/http/rules.py."""

    method: str
    path: str  # as aiohttp writes patterns
    handler: Handler
