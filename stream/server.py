"""HTTP side of the live server: the page, signalling, session limit, and who may ask for what.

    GET    /                              the page (also /page.js, /page.css, /icon.svg, /preview.jpg)
    GET    /healthz                       {"status": "ok", "sessions": ..., ...}
    POST   /api/sessions                  {sdp, type, measure?, mirror?} -> {id, sdp, type, ...}
    POST   /api/sessions/{id}/calibrate   {} -> {}
    POST   /api/sessions/{id}/mirror      {"on": bool} -> {}
    DELETE /api/sessions/{id}             -> {}

Errors are {"error": "one line"} with a 4xx status, or 503 where there is no room. How a session goes is
pushed over its data channel "stats", not polled. Knows nothing of frames or pipelines.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from engine.errors import AvatarcastError
from stream.aiortc_tuning import gather_on_loopback
from stream.negotiation import RequestRefused, read_request, without_foreign_candidates
from stream.pipeline_pool import PipelinePool
from stream.render_loop import FramePipeline
from stream.session import Session

logger = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 128 * 1024  # a browser's offer is 3 to 10 KB
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server says about itself, fixed at start."""

    avatar: str
    runner: str  # as asked for, e.g. "auto"
    max_sessions: int = 2
    loopback_only: bool = True  # refuse other Host names, and send no packet off this machine
    preview_jpeg: bytes = b""
    mark_pictures: bool = False  # write "AI-generated" into every picture, where the person is a real one


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class LiveServer:
    """Sessions and routes of one running server."""

    def __init__(self, facts: ServerFacts, pipeline_factory: Callable[[], FramePipeline]) -> None:
        self.facts = facts
        self.pool = PipelinePool(pipeline_factory)
        self.sessions: dict[str, Session] = {}
        self._stopping = False
        page = resources.files("stream") / "page"
        self._files = {path: ((page / name).read_bytes(), kind) for path, (name, kind) in _PAGE_FILES.items()}

    def app(self) -> web.Application:
        """The aiohttp application; its shutdown closes every session and the pool."""
        gather_on_loopback()
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT_BYTES)
        for path in _PAGE_FILES:
            app.router.add_get(path, self._serve_file)
        app.router.add_get("/preview.jpg", self._serve_preview)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/api/sessions", self._create)
        app.router.add_post("/api/sessions/{id}/calibrate", self._calibrate)
        app.router.add_post("/api/sessions/{id}/mirror", self._mirror)
        app.router.add_delete("/api/sessions/{id}", self._delete)
        app.on_shutdown.append(self._shutdown)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Same machine, same origin, one JSON line for every refusal, security headers on every response."""
        response: web.StreamResponse
        try:
            self._check_source(request)
            response = await handler(request)
        except RequestRefused as refusal:
            response = _error(refusal.status, str(refusal))
        except web.HTTPException as http:
            response = _error(http.status, f"{http.reason}: {request.method} {request.path[:80]}")
            if "Allow" in http.headers:
                response.headers["Allow"] = http.headers["Allow"]
        response.headers.update(_HEADERS)
        return response

    def _check_source(self, request: web.Request) -> None:
        try:
            host = urlsplit(f"//{request.host}").hostname or ""
        except ValueError:
            host = ""
        if self.facts.loopback_only and not is_loopback(host):
            # a foreign name that resolves to 127.0.0.1 is how another site would get at this server
            raise RequestRefused(403, f"this server answers to localhost only, not to {host[:80]!r}")
        origin = request.headers.get("Origin")
        own = (None, f"http://{request.host}", f"https://{request.host}")  # https: behind a TLS proxy
        if request.method not in ("GET", "HEAD") and origin not in own:
            raise RequestRefused(403, f"requests from {origin!s:.80} are refused: use this server's own page")

    async def _serve_file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _serve_preview(self, _: web.Request) -> web.Response:
        if not self.facts.preview_jpeg:
            raise RequestRefused(404, "this avatar has no preview picture")
        return web.Response(body=self.facts.preview_jpeg, content_type="image/jpeg")

    async def _healthz(self, _: web.Request) -> web.Response:
        facts = self.facts
        return web.json_response(
            {
                "status": "stopping" if self._stopping else "ok",
                "sessions": len(self.sessions),
                "max_sessions": facts.max_sessions,
                "avatar": facts.avatar,
                "runner": facts.runner,
            }
        )

    async def _create(self, request: web.Request) -> web.Response:
        offer = read_request(await _json_body(request))
        if self._stopping:
            raise RequestRefused(503, "the server is stopping; try again when it is back")
        limit = self.facts.max_sessions
        if len(self.sessions) >= limit:
            raise RequestRefused(
                503,
                f"all {limit} sessions are in use: end one, or start the server with a higher --max-sessions",
            )
        session = Session(self.pool, offer, self.facts.mark_pictures, on_end=self._forget)
        self.sessions[session.id] = session  # counts from here on, before anything is awaited
        sdp = without_foreign_candidates(offer.sdp) if self.facts.loopback_only else offer.sdp
        try:
            answer = await session.negotiate(sdp)
        except AvatarcastError as error:
            await session.close("it could not start")
            raise RequestRefused(503, f"the renderer cannot start: {error}") from error
        except BaseException:  # refused, or the client went away: release, then say so
            await session.close("it could not start")
            raise
        return web.json_response(
            {
                "id": session.id,
                "sdp": answer.sdp,
                "type": answer.type,
                "avatar": self.facts.avatar,
                "runner": self.facts.runner,
                "runner_reason": session.runner_reason,
            }
        )

    def _forget(self, ended: Session) -> None:
        del self.sessions[ended.id]

    def _session(self, request: web.Request) -> Session:
        session = self.sessions.get(request.match_info["id"])
        if session is None:
            raise RequestRefused(404, "there is no such session: it may have ended")
        return session

    async def _calibrate(self, request: web.Request) -> web.Response:
        self._session(request).calibrate()
        return web.json_response({})

    async def _mirror(self, request: web.Request) -> web.Response:
        session = self._session(request)
        body = await _json_body(request)
        on = body.get("on") if isinstance(body, dict) else None
        if not isinstance(on, bool):
            raise RequestRefused(400, 'mirror needs {"on": true} or {"on": false}')
        session.set_mirror(on)
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        await self._session(request).close("the presenter stopped it")
        return web.json_response({})

    async def _shutdown(self, _: web.Application) -> None:
        self._stopping = True
        for session in list(self.sessions.values()):
            await session.close("the server is stopping")
        await self.pool.close()


async def _json_body(request: web.Request) -> Any:
    """The decoded body. Raises RequestRefused (4xx) with one line."""
    if request.content_type != "application/json":
        raise RequestRefused(
            415, f"content type is {request.content_type[:60]!r}; application/json is needed"
        )
    try:
        return json.loads((await request.read()).decode("utf-8"))
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestRefused(413, f"the body is larger than {BODY_LIMIT_BYTES} bytes") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise RequestRefused(400, "the body is not JSON") from error


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": " ".join(text.split())}, status=status)
