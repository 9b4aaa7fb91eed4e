"""One line of a route table. Knows nothing of what is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from stream.http.security import Rule

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler answers a method on a path, and what it asks of a request first."""

    method: str
    path: str  # as aiohttp writes patterns
    handler: Handler
    rule: Rule = field(default_factory=Rule)
