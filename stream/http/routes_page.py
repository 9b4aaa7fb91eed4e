"""The pages with their scripts, the list of avatars, health and metrics; see stream/http/openapi.json."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata, resources
from time import perf_counter_ns
from urllib.parse import quote

from aiohttp import web

from stream.http.route import GRANT, Handler, Route
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.sessions.tokens import Right

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageRoutes:
    """Reads every file of the page once, at start."""

    def __init__(self, registry: SessionRegistry, has_studio: bool) -> None:
        self._registry = registry
        self._has_studio = has_studio
        self._version = metadata.version("avatarcast")
        page = resources.files("stream") / "page"
        folders = {"": page, **{f"{entry.name}/": entry for entry in page.iterdir() if entry.is_dir()}}
        self._files = {
            prefix + file.name: file.read_bytes()
            for prefix, folder in folders.items()
            for file in folder.iterdir()
            if _kind(file.name)
        }

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("GET", "/", self._page("index.html")),
            Route("GET", "/view/{view:[A-Za-z0-9_-]{1,64}}", self._page("call/view.html")),
            Route("GET", r"/{file:(?:[a-z_]+/)?[a-z_]+\.(?:js|css|svg)}", self._file),
            Route("GET", "/verify", self._page("verify/verify.html")),
            Route("GET", "/healthz", self._healthz),
            Route("GET", "/metrics", self._metrics),
            Route("GET", "/api/config", self._config),
            Route("GET", "/api/avatars/{name}/preview.jpg", self._preview),
        ]

    def _page(self, name: str) -> Handler:
        body, kind = self._files[name], _kind(name)

        async def serve(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type=kind, charset="utf-8")

        return serve

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if (name := request.match_info["file"]) not in self._files:
            raise RequestRefused(404, "the page has no such file")
        return await self._page(name)(request)

    async def _config(self, request: web.Request) -> web.Response:
        grant = request[GRANT]
        avatars = [
            {
                "name": avatar.name,
                "title": avatar.title or avatar.name,
                "person": avatar.person,
                "size_px": avatar.size_px,
                "signed": avatar.signed,
                "signature": avatar.signature,
                "consent": avatar.consent,
                "marked": avatar.mark_style is not None,
                "preview": f"/api/avatars/{quote(avatar.name, safe='')}/preview.jpg",
            }
            for avatar in self._registry.avatars
        ]
        return web.json_response(
            {
                "version": self._version,
                "avatars": avatars,
                "avatar": self._registry.avatars.first.name,
                "frame": self._registry.config.frame,
                "ice_servers": self._registry.config.ice_servers.for_page(time.time()),
                "runner": self._registry.config.runner,
                "max_sessions": self._registry.config.max_sessions,
                "studio": self._has_studio and grant.may(Right.STUDIO),
                "rights": [right.value for right in Right if grant.may(right)],
            }
        )

    async def _preview(self, request: web.Request) -> web.Response:
        avatar = self._registry.avatars.find(request.match_info["name"])
        if not avatar.preview_jpeg:
            raise RequestRefused(404, "this avatar has no preview picture")
        return web.Response(body=avatar.preview_jpeg, content_type="image/jpeg")

    async def _healthz(self, _: web.Request) -> web.Response:
        registry = self._registry
        facts = {
            "status": "stopping" if registry.closed else "ok",
            "sessions": len(registry),
            "capacity": registry.config.max_sessions,
        }
        return web.json_response(facts, status=503 if registry.closed else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._registry.telemetry.tasks.set(len(asyncio.all_tasks()))
        text, kind = self._registry.telemetry.exposition(perf_counter_ns())
        return web.Response(body=text, headers={"Content-Type": kind})


def _kind(name: str) -> str | None:
    return _KINDS.get(name[name.rfind(".") :])
