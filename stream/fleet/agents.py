"""An agent's WebSocket through the head: what it sends goes to the node of its session, events come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from stream.http.routes_agent import HEARTBEAT_S, MOST_BYTES

HEADER_PREFIX = "sec-websocket-"  # of what holds for one of the two sockets alone
CONNECT_S = 2.0
LOST = {"type": "ended", "reason": "the machine of this session was lost; begin another"}


class NodeRefused(Exception):
    """The node lets the agent not in."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


def client() -> aiohttp.ClientSession:
    """Makes sockets to nodes; one that a node refuses raises NodeRefused."""
    limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)  # a conversation may last
    return aiohttp.ClientSession(timeout=limit, raise_for_status=_refused)


async def _refused(reply: aiohttp.ClientResponse) -> None:
    if reply.status != 101:
        raise NodeRefused(reply.status, reply.headers, await reply.read())


async def pass_on(
    request: web.Request,
    node: aiohttp.ClientWebSocketResponse[Any],
    begun: Callable[[dict[str, Any]], None],
) -> web.WebSocketResponse:
    """Between agent and node, until either has gone. begun: gets the node's first word."""
    agent = web.WebSocketResponse(max_msg_size=MOST_BYTES, heartbeat=HEARTBEAT_S, compress=False)
    try:
        await agent.prepare(request)
        await asyncio.gather(_up(agent, node), _down(agent, node, begun))
    finally:
        await node.close()
    return agent


async def _up(agent: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse[Any]) -> None:
    with suppress(ConnectionError):  # the node has gone: _down() tells
        async for message in agent:
            if message.type is WSMsgType.BINARY:
                await node.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await node.send_str(message.data)
    await node.close()


async def _down(
    agent: web.WebSocketResponse,
    node: aiohttp.ClientWebSocketResponse[Any],
    begun: Callable[[dict[str, Any]], None],
) -> None:
    kind = None  # of the last event
    with suppress(ConnectionError):  # the agent has gone
        async for message in node:
            event = json.loads(message.data)
            if kind is None:
                begun(event)
            kind = event["type"]
            await agent.send_str(message.data)
        if kind != "ended" and not agent.closed:
            await agent.send_json(LOST)
    await agent.close()
