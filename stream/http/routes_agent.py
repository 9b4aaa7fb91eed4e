"""An agent's whole session over one WebSocket: it begins with it and ends with it.

What goes over it is in stream/http/API.md. Messages are bounded in size and number, and each that is not
understood is answered by what was found and what is wanted.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from engine.errors import SettingsError
from engine.media.disclosure import SOURCE_TYPE
from stream import tasks
from stream.budgets import RateLimiter
from stream.http.bodies import LEASE
from stream.http.route import GRANT, Route
from stream.refusal import RequestRefused
from stream.sessions.dialogue import PAUSE_S, Dialogue, told
from stream.sessions.registry import SessionRegistry
from stream.sessions.session import Session
from stream.sessions.tokens import Tokens
from stream.webrtc.negotiation import read_agent_request

MOST_BYTES = 256 * 1024  # of a message: 8 s of sound
MESSAGES_PER_S, MESSAGES_AT_ONCE = 200.0, 400.0  # two voices in pieces of 20 ms are 100 a second
MOST_EVENTS = 200  # that the agent has not taken
HEARTBEAT_S = 15.0
OWN, OTHER = 0, 1  # first byte of a message of sound: whose


class AgentRoutes:
    """A program that speaks through an avatar."""

    def __init__(self, registry: SessionRegistry, tokens: Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """All of them."""
        return [Route("GET", "/api/agent", self._converse)]

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MOST_BYTES, heartbeat=HEARTBEAT_S, compress=False)
        if not socket.can_prepare(request).ok:
            raise RequestRefused(400, "an agent comes by WebSocket; the request asks for no upgrade to one")
        grant = request[GRANT]
        wanted = read_agent_request(request.query.get("avatar"), request.query.get("name"))
        name = self._tokens.name_for(grant, wanted.name, time.time())
        session = await self._registry.begin(wanted.named(name), grant, request[LEASE].account)
        try:
            await socket.prepare(request)
            await socket.send_json(self._welcome(session))
            await _converse(socket, session)
        finally:
            await session.close("the agent has gone")
        return socket

    def _welcome(self, session: Session) -> dict[str, Any]:
        return {
            "type": "session",
            "id": session.id,
            "view_id": session.view_id,
            "name": session.name,
            "share": self._tokens.share(session.view_id, time.time()),
            "avatar": session.performer.avatar.name,
            "digital_source_type": SOURCE_TYPE,
        }


async def _converse(socket: web.WebSocketResponse, session: Session) -> None:
    """Until either end closes."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_EVENTS)

    def tell(event: dict[str, Any]) -> None:
        with suppress(asyncio.QueueFull):  # whoever does not listen hears no more
            events.put_nowait(event)

    dialogue = Dialogue(session, tell)
    running = [
        tasks.start(dialogue.run(), "dialogue", session.end),
        tasks.start(_send(socket, events, session), "events", session.end, expected=(ConnectionError,)),
    ]
    rates = RateLimiter(MESSAGES_PER_S, MESSAGES_AT_ONCE)
    try:
        async for message in socket:
            if rates.take("", 1.0, time.monotonic()):
                tell(_refused(f"more than {MESSAGES_PER_S:.0f} messages a second; send longer pieces"))
                continue
            try:
                _take(dialogue, message.type, message.data, tell)
            except (RequestRefused, SettingsError) as error:
                tell(_refused(str(error)))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _send(
    socket: web.WebSocketResponse, events: asyncio.Queue[dict[str, Any]], session: Session
) -> None:
    """Events, until the session ends."""
    while session.end_reason is None:
        with suppress(TimeoutError):
            await socket.send_json(await asyncio.wait_for(events.get(), 0.5))
    await socket.send_json({"type": "ended", "reason": session.end_reason})
    await socket.close()


def _take(dialogue: Dialogue, kind: WSMsgType, data: Any, tell: Any) -> None:
    """One message. Raises RequestRefused, SettingsError."""
    if kind is WSMsgType.BINARY:
        if not data or data[0] not in (OWN, OTHER):
            raise RequestRefused(400, "sound needs a first byte: 0 for the agent's voice, 1 for the other's")
        (dialogue.say if data[0] == OWN else dialogue.hear)(data[1:])
        return
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the message is no JSON") from None
    match message:
        case {"type": "turn"}:
            tell(told(dialogue.add(message)))
        case {"type": "read"}:
            tell(told(dialogue.read(message)))
        case {"type": "interrupt"}:
            dialogue.interrupt("agent")
        case {"type": "settings"}:
            _set(dialogue, message)
        case _:
            raise RequestRefused(400, 'the message needs a "type": turn, read, interrupt or settings')


def _set(dialogue: Dialogue, message: dict[str, Any]) -> None:
    pause_s, breaks_in = (
        message.get("pause_s", dialogue.pause_s),
        message.get("breaks_in", dialogue.breaks_in),
    )
    if type(pause_s) not in (int, float) or not PAUSE_S[0] <= pause_s <= PAUSE_S[1]:
        raise RequestRefused(400, f"pause_s is {str(pause_s)[:40]}; {PAUSE_S[0]} to {PAUSE_S[1]} is needed")
    if not isinstance(breaks_in, bool):
        raise RequestRefused(400, f"breaks_in is {str(breaks_in)[:40]!r}; true or false is needed")
    dialogue.pause_s, dialogue.breaks_in = float(pause_s), breaks_in


def _refused(error: str) -> dict[str, Any]:
    return {"type": "refused", "error": error}
