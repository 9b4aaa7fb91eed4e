"""The API of the studio: recording in the page, and the avatar that is made of it.

What each route takes and gives is in stream/http/openapi.json. How the job stands is asked for by the page,
and is there after a reload.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from engine.provenance.consent import sentence
from stream.http.bodies import read_body, read_json
from stream.http.route import Route
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.studio.folder import ENDINGS
from stream.studio.recordings import MAX_CHUNK_BYTES, Consent, OpenRecording
from stream.studio.studio import Studio

CHUNK_LIMIT_S = 60.0


class StudioRoutes:
    """Recording belongs to a session; whoever has the recording's id may add to it."""

    def __init__(self, studio: Studio, registry: SessionRegistry) -> None:
        self._studio = studio
        self._registry = registry

    def routes(self) -> list[Route]:
        """All of them."""
        recording = "/api/studio/recordings/{id}"
        return [
            Route("GET", "/api/studio", self._status),
            Route("POST", "/api/studio/recordings", self._begin),
            Route("PUT", recording + r"/{number:\d{1,6}}", self._add),
            Route("PUT", f"{recording}/clip", self._clip),
            Route("POST", f"{recording}/finish", self._finish),
            Route("DELETE", recording, self._discard),
            Route("DELETE", "/api/studio/takes/{name}", self._delete),
            Route("DELETE", "/api/studio/avatars/{name}", self._forget),
            Route("POST", "/api/studio/job", self._enrol),
            Route("DELETE", "/api/studio/job", self._cancel),
        ]

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._studio.status())

    async def _begin(self, request: web.Request) -> web.Response:
        body = await _object(request)
        consent = Consent.given(body.get("who"), body.get("statement"), body.get("agreed"))
        session_id = body.get("session")
        session = self._registry.session(session_id if isinstance(session_id, str) else "")
        if (missing := self._studio.missing()) is not None:
            raise RequestRefused(503, missing)  # before anything is recorded
        said = await asyncio.to_thread(sentence, consent.words)  # it may make the key
        recording = self._studio.recordings.begin(session.id, body.get("kind"), consent)
        return web.json_response({"id": recording.id, "name": recording.name, "sentence": said.text})

    async def _add(self, request: web.Request) -> web.Response:
        recording = self._recording(request)
        data = await read_body(request, tuple(ENDINGS), MAX_CHUNK_BYTES, CHUNK_LIMIT_S)
        await self._studio.recordings.add(recording, int(request.match_info["number"]), data)
        return web.json_response({})

    async def _clip(self, request: web.Request) -> web.Response:
        recording = self._recording(request)
        data = await read_body(request, (recording.kind,), MAX_CHUNK_BYTES, CHUNK_LIMIT_S)
        if not data:
            raise RequestRefused(400, "the clip is empty; send the whole film of it")
        await self._studio.recordings.set_clip(recording, data)
        return web.json_response({})

    async def _finish(self, request: web.Request) -> web.Response:
        take = await self._studio.recordings.finish(self._recording(request))
        return web.json_response({"name": take.name, "path": str(take.path), "bytes": take.bytes})

    async def _discard(self, request: web.Request) -> web.Response:
        await self._studio.recordings.discard(self._recording(request))
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        self._studio.delete(request.match_info["name"])
        return web.json_response({})

    async def _forget(self, request: web.Request) -> web.Response:
        removed = await self._studio.forget(request.match_info["name"])
        await self._registry.let_go()
        return web.json_response({"removed": [item.as_dict() for item in removed]})

    async def _enrol(self, request: web.Request) -> web.Response:
        body = await _object(request)
        self._studio.enrol(body.get("take"), body.get("minutes"))
        return web.json_response({})

    async def _cancel(self, _: web.Request) -> web.Response:
        await self._studio.cancel()
        return web.json_response({})

    def _recording(self, request: web.Request) -> OpenRecording:
        return self._studio.recordings.find(request.match_info["id"])


async def _object(request: web.Request) -> dict[str, Any]:
    body = await read_json(request)
    if not isinstance(body, dict):
        raise RequestRefused(400, "the body must be a JSON object")
    return body
