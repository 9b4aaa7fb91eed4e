"""HTTP side of the live server: which routes there are, who gets through to them, what a refusal looks like.

What the routes do is in stream/http/routes_*.py and stream/http/whip.py. A refusal is
{"error": "one line"} with a 4xx status, or 503 where there is no room.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiohttp import web

from engine.errors import AvatarcastError, SettingsError
from stream import tasks
from stream.budgets import Accounts, Budgets
from stream.http.bodies import CLIENT, LEASE
from stream.http.door import Door
from stream.http.route import GRANT, Handler
from stream.http.routes_agent import AgentRoutes
from stream.http.routes_page import PageRoutes
from stream.http.routes_sessions import SessionRoutes
from stream.http.routes_studio import StudioRoutes
from stream.http.routes_tokens import TokenRoutes
from stream.http.routes_verify import VerifyRoutes
from stream.http.rules import NOWHERE, RULES, Rule
from stream.http.security import CORS_HEADERS, HEADERS, MALFORMED, Access, Gate
from stream.http.whip import WhipRoutes
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.sessions.tokens import Grant, Tokens
from stream.studio.studio import Studio

logger = logging.getLogger(__name__)

TIDY_PERIOD_S = 60.0
BUSY_RETRY_S = "5"
# Of aiohttp's connections: how long one may take over its headers or lie idle, and how long the rest of a
# refused body is waited for, in seconds.
CONNECTION_LIMITS: dict[str, Any] = {"keepalive_timeout": Budgets().headers_s, "lingering_time": 2.0}


class LiveServer:
    """The routes of one running server, over its sessions."""

    def __init__(self, registry: SessionRegistry, access: Access, studio: Studio | None = None) -> None:
        """studio: None where no avatars are made."""
        self.registry = registry
        self.tokens = Tokens(access.token)
        self._studio = studio
        self._verifying = VerifyRoutes(registry.config.budgets, registry.avatars)
        self._routes = [
            *PageRoutes(registry, has_studio=studio is not None).routes(),
            *SessionRoutes(registry, self.tokens).routes(),
            *AgentRoutes(registry, self.tokens).routes(),
            *WhipRoutes(registry, self.tokens).routes(),
            *self._verifying.routes(),
            *TokenRoutes(registry, self.tokens).routes(),
            *([] if studio is None else StudioRoutes(studio, registry).routes()),
        ]
        self._tidying: asyncio.Task[None] | None = None
        self._gate = Gate(access, self.tokens)
        self._accounts = Accounts(registry.config.budgets)
        self.door = Door(registry.config.budgets, access.proxies, registry.telemetry.turned_away.inc)
        self._cors = CORS_HEADERS if access.token is not None else {}

    def app(self) -> web.Application:
        """The aiohttp application; its shutdown closes every session and every pipeline.

        Raises LookupError where a route has no rule: who may use it was not thought about.
        """
        app = web.Application(middlewares=[self._guard])
        for route in self._routes:
            for path in _spellings(route.path):
                resource = app.router.add_route(route.method, path, route.handler).resource
                assert resource is not None
                if f"{route.method} {_canonical(resource)}" not in RULES:
                    raise LookupError(f"{route.method} {path} has no rule in stream/http/rules.py")
                if route.method == "GET":
                    app.router.add_route("HEAD", path, route.handler)
        app.on_startup.append(self._begin)
        app.on_shutdown.append(self._shutdown)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The gate first; then one JSON line for every refusal, and security headers on every response."""
        rule = _rule_of(request)
        try:
            with self.door.busy(request.protocol):
                grant = self._gate.check(request, rule, time.monotonic(), time.time())
                if rule.view:
                    self._check_view(request.match_info["view"], grant)
                request[GRANT] = grant
                response = await self._answer(request, handler)
        except Exception as error:  # whatever a route raises, its answer has the same form and headers
            response = _refusal(request, error)
        if response.status in MALFORMED and CLIENT in request:
            self._gate.charge(request[CLIENT], time.monotonic())
        if response.status == 429:
            response.force_close()  # whoever goes on all the same needs a new connection, and these are few
        response.headers.update(HEADERS)
        if rule.from_anywhere:
            response.headers.update(self._cors)
        return response

    def _check_view(self, view: str, grant: Grant) -> None:
        """Raises RequestRefused (403); the same whether there is such a view or not."""
        if not grant.covers(self.registry.names_of(view)):
            raise RequestRefused(403, "this token is for another session, or for one that has ended")

    async def _begin(self, _: web.Application) -> None:
        self._tidying = tasks.start(self._tidy(), "tidy")

    async def _tidy(self) -> None:
        """Once a minute, whatever the last one met."""
        while True:
            await asyncio.sleep(TIDY_PERIOD_S)
            if self._studio is not None:
                tasks.guard("tidy", None, self._studio.tidy)
            await tasks.attempt("withdrawals", self._heed_withdrawals())
            await tasks.attempt("tidy", self.registry.let_go())

    async def _heed_withdrawals(self) -> None:
        """Whoever withdrew consent, here or on a list that was learnt, is not shown any more."""
        avatars = self.registry.avatars
        for avatar in await asyncio.to_thread(avatars.withdrawn):
            logger.warning("consent to the avatar %r was withdrawn: it is not offered any more", avatar.name)
            avatars.remove(avatar)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What the request takes of its client's account is given back after it."""
        request[CLIENT] = self._gate.client(request)
        lease = request[LEASE] = self._accounts.of(request[CLIENT]).lease()
        try:
            if not lease.take("requests"):
                raise RequestRefused(429, "too many requests of yours at once", retry_after_s=1)
            return await handler(request)
        finally:
            lease.give_back()

    async def _shutdown(self, _: web.Application) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
        await self.registry.close()
        if self._studio is not None:
            await self._studio.close()
        self._verifying.close()


def _rule_of(request: web.Request) -> Rule:
    resource = request.match_info.route.resource
    if resource is None:
        return NOWHERE
    method = "GET" if request.method == "HEAD" else request.method
    return RULES.get(f"{method} {_canonical(resource)}", NOWHERE)


def _spellings(path: str) -> tuple[str, ...]:
    """What people type into a program by hand may end with a slash."""
    return (path, f"{path}/") if path.startswith(("/whip", "/whep")) else (path,)


def _canonical(resource: web.AbstractResource) -> str:
    """The path of its rule."""
    return resource.canonical.rstrip("/") or "/"


def _refusal(request: web.Request, error: Exception) -> web.Response:
    """What is sent where a request was refused or failed."""
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPException):
        status, text = error.status, f"{error.reason}: {request.method} {request.path[:80]}"
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    elif isinstance(error, RequestRefused):
        status, text = error.status, str(error)
        headers = dict(error.headers)
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(int(error.retry_after_s) + 1)
    elif isinstance(error, SettingsError):
        status, text = 400, str(error)
    elif isinstance(error, AvatarcastError):
        status, text = 503, str(error)
    else:
        resource = request.match_info.route.resource  # its pattern: the path itself may steer a session
        where = "" if resource is None else resource.canonical
        logger.error("%s %s failed", request.method, where, exc_info=error)
        status, text = 500, "the server failed here; its log says how"
    if status == 503:
        headers = {"Retry-After": BUSY_RETRY_S} | headers
    return web.json_response({"error": " ".join(text.split())}, status=status, headers=headers)
