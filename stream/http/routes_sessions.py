"""The API of the page: one presenter's session from its offer to its end.

What each route takes and gives is in stream/http/openapi.json. How a session goes is pushed over its data
channel "stats", not polled.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiortc import RTCSessionDescription

from engine.media.disclosure import SOURCE_TYPE
from engine.render.background import Background
from engine.render.frame import checked_frame
from stream.http.bodies import CLIENT, LEASE, PICTURE_LIMIT_BYTES, PICTURE_LIMIT_S, read_body, read_json
from stream.http.feelings import read_feelings
from stream.http.pictures import SNAPSHOT_TYPE, Pictures
from stream.http.route import GRANT, Route
from stream.http.security import SOURCE_TYPE_HEADER
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.sessions.session import Session
from stream.sessions.tokens import Tokens
from stream.webrtc.negotiation import checked_driver, read_request

MAX_LINES = 8192  # of a camera


class SessionRoutes:
    """Knows the sessions by their ids only: whoever may present and has an id may steer that session."""

    def __init__(self, registry: SessionRegistry, tokens: Tokens) -> None:
        self._registry = registry
        self._pictures = Pictures(registry.config.budgets)
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """All of them."""
        session = "/api/sessions/{id}"
        return [
            Route("POST", "/api/sessions", self._create),
            Route("GET", session, self._goes_on),
            Route("GET", f"{session}/snapshot", self._snapshot),
            Route("POST", f"{session}/resume", self._resume),
            Route("POST", f"{session}/calibrate", self._calibrate),
            Route("POST", f"{session}/mirror", self._mirror),
            Route("POST", f"{session}/emotion", self._emotion),
            Route("POST", f"{session}/eye-contact", self._eye_contact),
            Route("POST", f"{session}/mute", self._mute),
            Route("POST", f"{session}/driver", self._driver),
            Route("POST", f"{session}/coach", self._coach),
            Route("POST", f"{session}/avatar", self._avatar),
            Route("POST", f"{session}/frame", self._frame),
            Route("POST", f"{session}/background", self._background),
            Route("PUT", f"{session}/background", self._background_picture),
            Route("DELETE", session, self._delete),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        wanted, grant = read_request(await read_json(request)), request[GRANT]
        name = self._tokens.name_for(grant, wanted.name, time.time())
        account = request[LEASE].account
        session, answer = await self._registry.create(replace(wanted, name=name), grant, account)
        return self._answered(session, answer)

    async def _resume(self, request: web.Request) -> web.Response:
        offer = read_request(await read_json(request))
        session, answer = await self._registry.resume(request.match_info["id"], offer)
        return self._answered(session, answer)

    async def _goes_on(self, request: web.Request) -> web.Response:
        self._session(request)
        return web.json_response({})

    async def _snapshot(self, request: web.Request) -> web.Response:
        picture, avatar = self._session(request).shown
        self._pictures.admit("snapshot", request[CLIENT], time.monotonic())
        body = await self._pictures.snapshot(picture, avatar.told)
        headers = {SOURCE_TYPE_HEADER: SOURCE_TYPE} if avatar.told else {}
        return web.Response(body=body, content_type=SNAPSHOT_TYPE, headers=headers)

    def _answered(self, session: Session, answer: RTCSessionDescription) -> web.Response:
        return web.json_response(
            {
                "id": session.id,
                "secret": session.claim.secret,
                "view_id": session.view_id,
                "name": session.name,
                "share": self._tokens.share(session.view_id, time.time()),
                "sdp": answer.sdp,
                "type": answer.type,
                "avatar": session.performer.avatar.name,
                "runner": self._registry.config.runner,
                "runner_reason": session.performer.runner_reason,
                "digital_source_type": SOURCE_TYPE,
            }
        )

    def _session(self, request: web.Request) -> Session:
        return self._registry.session(request.match_info["id"])

    async def _calibrate(self, request: web.Request) -> web.Response:
        self._session(request).performer.calibrate()
        return web.json_response({})

    async def _mirror(self, request: web.Request) -> web.Response:
        session = self._session(request)
        session.performer.set_mirror(await _switch(request, "mirror"))
        return web.json_response({})

    async def _emotion(self, request: web.Request) -> web.Response:
        session = self._session(request)
        schedule, understood = read_feelings(await read_json(request))
        session.performer.feel(schedule)
        return web.json_response({"understood": understood})

    async def _eye_contact(self, request: web.Request) -> web.Response:
        session = self._session(request)
        session.performer.set_eye_contact(await _switch(request, "eye-contact"))
        return web.json_response({})

    async def _mute(self, request: web.Request) -> web.Response:
        session = self._session(request)
        session.voice.muted = await _switch(request, "mute")
        return web.json_response({})

    async def _driver(self, request: web.Request) -> web.Response:
        session = self._session(request)
        body = await read_json(request)
        driver = checked_driver(_field(body, "driver"))
        only_own = body.get("only_own_voice") if isinstance(body, dict) else None
        if not isinstance(only_own, bool | None):
            raise RequestRefused(400, f"only_own_voice is {str(only_own)[:40]!r}; true or false is needed")
        session.set_driver(driver)
        if only_own is not None:
            session.set_only_own_voice(only_own)
        return web.json_response({})

    async def _coach(self, request: web.Request) -> web.Response:
        session = self._session(request)
        lines = _field(await read_json(request), "lines")
        if lines is not None and (type(lines) is not int or not 1 <= lines <= MAX_LINES):
            raise RequestRefused(400, 'coach needs {"lines": 720}, the height of what is recorded, or null')
        session.performer.set_coach(lines)
        return web.json_response({})

    async def _avatar(self, request: web.Request) -> web.Response:
        session = self._session(request)
        name = _field(await read_json(request), "name")
        if not isinstance(name, str):
            raise RequestRefused(400, 'avatar needs {"name": "..."}, one of those in /api/config')
        await session.switch_avatar(name)
        return web.json_response({})

    async def _frame(self, request: web.Request) -> web.Response:
        session = self._session(request)
        frame = _field(await read_json(request), "frame")
        if not isinstance(frame, str):
            raise RequestRefused(400, 'frame needs {"frame": "1280x720"}, "auto" or "square"')
        session.performer.set_frame(checked_frame(frame))
        return web.json_response({})

    async def _background(self, request: web.Request) -> web.Response:
        session = self._session(request)
        body = await read_json(request)
        kind, color = _field(body, "kind"), _field(body, "color")
        if kind == "original":
            session.performer.set_background(Background.original())
        elif kind == "color" and isinstance(color, str):
            session.performer.set_background(Background.color(color))
        else:
            raise RequestRefused(
                400, 'background needs {"kind": "original"} or {"kind": "color", "color": "#00b140"}'
            )
        return web.json_response({})

    async def _background_picture(self, request: web.Request) -> web.Response:
        session = self._session(request)
        self._pictures.admit("background", request[CLIENT], time.monotonic())
        data = await read_body(request, ("image/png", "image/jpeg"), PICTURE_LIMIT_BYTES, PICTURE_LIMIT_S)
        session.performer.set_background(await self._pictures.read(data))
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        await self._session(request).close("the presenter stopped it")
        return web.json_response({})


async def _switch(request: web.Request, what: str) -> bool:
    on = _field(await read_json(request), "on")
    if not isinstance(on, bool):
        raise RequestRefused(400, f'{what} needs {{"on": true}} or {{"on": false}}')
    return on


def _field(body: Any, name: str) -> Any:
    """A member of a JSON object; None of anything else."""
    return body.get(name) if isinstance(body, dict) else None
