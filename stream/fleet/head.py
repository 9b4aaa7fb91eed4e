"""The one address of a fleet: takes offers, places them, passes on what is for one node to that node.

Media never comes here: answers hold the node's own candidates. What a presenter has set, and their neutral,
are known here too; so when their node is lost, their page's next `resume` begins a session elsewhere that
goes on as before. Nodes check tokens and rights; the head decides nothing for whoever a node would refuse.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from stream import tasks
from stream.fleet import agents
from stream.fleet.cluster import Cluster, Member
from stream.fleet.placement import Room
from stream.http.security import HEADERS
from stream.refusal import RequestRefused

logger = logging.getLogger(__name__)

LOOK_PERIOD_S = 0.5
LOST_KEPT_S = 60.0  # sessions of a node that is gone; pages give up before that
NODE_LIMIT_S = 60.0  # a first session may wait until an avatar is loaded
MOST_BODY_BYTES = 5 * 1024 * 1024  # nodes bound each kind by itself
SETTINGS = (  # the last of each is set again elsewhere
    "mirror",
    "mute",
    "frame",
    "background",
    "avatar",
    "emotion",
    "eye-contact",
)
PAGE = Path(__file__).parent.parent / "page" / "fleet" / "fleet.html"
_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}

NODE = web.ResponseKey("node", str)  # which answered
Answer = TypeVar("Answer", bound=web.StreamResponse)


class NodeLost(Exception):
    """It did not answer."""


@dataclass(slots=True)
class Placed:
    """A session, as it would be begun again."""

    node: str
    facts: dict[str, Any]  # as `FleetNode.state` tells them
    settings: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)  # action: method, type, body
    lost_s: float | None = None  # since when its node is gone


class FleetHead:
    """The HTTP of the head, over the nodes of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.sessions: dict[str, Placed] = {}
        self._refused = self._replaced = 0
        self._http: aiohttp.ClientSession | None = None
        self._sockets: aiohttp.ClientSession | None = None
        self._looking: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()  # a node serves

    def app(self) -> web.Application:
        """The aiohttp application; it looks after the cluster while it runs."""
        app = web.Application(middlewares=[_told], client_max_size=MOST_BODY_BYTES)
        router = app.router
        router.add_get("/healthz", self._healthz)
        router.add_get("/metrics", self._metrics)
        router.add_get("/fleet", self._page)
        router.add_get("/api/fleet", self._table)
        router.add_post("/api/fleet/nodes/{node}/drain", self._drain)
        router.add_post("/api/tokens", self._make_token)
        router.add_delete("/api/tokens", self._revoke_all)
        router.add_delete("/api/tokens/{id}", self._revoke)
        router.add_post("/api/sessions", self._begin)
        router.add_post("/whip", self._begin)
        router.add_get("/api/agent", self._converse)
        router.add_route("*", "/api/sessions/{id}{rest:.*}", self._steer)
        router.add_route("*", "/whip/{id}{rest:.*}", self._steer)
        router.add_route("*", "/whep/{view}{rest:.*}", self._watch)
        router.add_route("*", "/api/views/{view}", self._watch)
        router.add_route("*", "/{rest:.*}", self._any)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)
        return app

    async def _open(self, _: web.Application) -> None:
        limit = aiohttp.ClientTimeout(total=NODE_LIMIT_S, sock_connect=2.0)
        self._http = aiohttp.ClientSession(timeout=limit, auto_decompress=False)
        self._sockets = agents.client()
        self._looking = tasks.start(self._look(), "fleet")

    async def _close(self, _: web.Application) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for one in (self._http, self._sockets):
            if one is not None:
                await one.close()

    async def _look(self) -> None:
        while True:
            await tasks.attempt("look", self.cluster.look())
            self.note(monotonic())
            if self.cluster.members:
                self.ready.set()
            await asyncio.sleep(LOOK_PERIOD_S)

    def note(self, now_s: float) -> None:
        """Keeps what the nodes told of their sessions, and for a while what lost ones did."""
        members = self.cluster.members
        running = {one["id"]: (node, one) for node, member in members.items() for one in member.sessions}
        for number, (node, facts) in running.items():
            known = self.sessions.setdefault(number, Placed(node, facts))
            neutral = facts["neutral"] if facts["neutral"] is not None else known.facts["neutral"]
            known.facts, known.lost_s = {**facts, "neutral": neutral}, None
        for number, known in list(self.sessions.items()):
            if known.node not in members:
                known.lost_s = now_s if known.lost_s is None else known.lost_s
                if now_s - known.lost_s > LOST_KEPT_S:
                    del self.sessions[number]
            elif number not in running:
                del self.sessions[number]

    # What is for one node

    async def _begin(self, request: web.Request) -> web.Response:
        """A new session, where there is most room; one that waits under its name is where it is."""
        body = await request.read()
        name = request.query.get("name") if request.path.startswith("/whip") else _member(body, "name")
        return await self._place(partial(self._forward, request, body=body), name)

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        """The same, of an agent, and all that it says and is told."""
        if not web.WebSocketResponse().can_prepare(request).ok:
            return await self._any(request)  # a node says what is missing
        return await self._place(partial(self._pass_on, request), request.query.get("name"))

    async def _place(self, send: Callable[[Member], Awaitable[Answer]], name: Any = None) -> Answer:
        """To the node that has this name, or to the best that has room. Raises RequestRefused, NodeLost."""
        if (waiting := self._named(name)) is not None:
            return await send(self.cluster.members[waiting.node])
        last: Answer | None = None
        tried: set[str] = set()
        while room := self.cluster.rooms.best(tried):
            member = self.cluster.members[room.node]
            tried.add(room.node)
            self._placed(room, 1)
            try:
                last = await send(member)
            except NodeLost:
                continue
            if last.status < 400:
                return last
            self._placed(room, -1)
            if last.status != 503:
                return last
        self._refused += 1
        if last is not None:
            return last
        raise RequestRefused(
            503,
            f"none of {len(self.cluster.members)} nodes has room; try again, or add machines",
            retry_after_s=5,
        )

    def _named(self, name: Any) -> Placed | None:
        """The session of this name, whose node lives."""
        theirs = (one for one in self.sessions.values() if name and one.facts["name"] == name)
        return next((one for one in theirs if one.lost_s is None), None)

    def _placed(self, room: Room, more: int) -> None:
        """So many, until it tells by itself."""
        room.running += more
        member = self.cluster.members.get(room.node)
        if member is not None and member.room is room:  # else it was lost meanwhile
            self.cluster.rooms.put(room)

    async def _steer(self, request: web.Request) -> web.Response:
        number, body = request.match_info["id"], await request.read()
        known, action = self.sessions.get(number), request.match_info["rest"].strip("/")
        member = None if known is None else self.cluster.members.get(known.node)
        if known is not None and action == "resume":
            try:
                if member is not None:
                    return await self._forward(request, member, body=body)
            except NodeLost:
                pass
            return await self._again(request, number, known, body)
        if known is None:  # a head that has just begun does not know all
            return await self._anywhere(request, body, but=404)
        if member is None:
            raise NodeLost(known.node)
        answer = await self._forward(request, member, body=body)
        if answer.status == 200 and action in SETTINGS:
            known.settings[action] = request.method, request.content_type, body
        return answer

    async def _again(self, request: web.Request, number: str, known: Placed, body: bytes) -> web.Response:
        """A session of a lost node, elsewhere, with its neutral and settings. Raises RequestRefused (403)."""
        secret, theirs = str(_member(body, "secret") or ""), known.facts["secret"]
        if not theirs or not hmac.compare_digest(secret.encode(), theirs.encode()):
            raise RequestRefused(403, "only who began the session takes it up again: its secret is another")
        wanted = {name: _member(body, name) for name in ("sdp", "type")}
        wanted |= {name: known.facts[name] for name in ("avatar", "name") if known.facts[name]}
        offer = json.dumps(wanted).encode()
        answer = await self._place(partial(self._forward, request, path="/api/sessions", body=offer))
        if answer.status != 200:
            return answer
        assert isinstance(answer.body, bytes)
        begun = json.loads(answer.body)
        node = answer[NODE]
        member = self.cluster.members[node]
        if known.facts["neutral"] is not None:
            await member.actor.calibrate.remote(begun["id"], known.facts["neutral"])
        for action, (method, kind, value) in known.settings.items():
            path = f"/api/sessions/{begun['id']}/{action}"
            await self._forward(request, member, method=method, path=path, body=value, kind=kind)
        self.sessions[begun["id"]] = Placed(
            node, known.facts | {"id": begun["id"], "secret": begun["secret"]}, known.settings
        )
        self.sessions.pop(number, None)
        self._replaced += 1
        logger.info("a session of a lost node goes on elsewhere")
        return answer

    async def _watch(self, request: web.Request) -> web.Response:
        view = request.match_info["view"]
        found = (one for one in self.sessions.values() if view in (one.facts["view_id"], one.facts["name"]))
        known = next((one for one in found if one.node in self.cluster.members), None)
        body = await request.read()
        if known is None:
            return await self._anywhere(request, body)
        return await self._forward(request, self.cluster.members[known.node], body=body)

    async def _any(self, request: web.Request) -> web.Response:
        return await self._anywhere(request, await request.read())

    async def _anywhere(self, request: web.Request, body: bytes = b"", but: int = 0) -> web.Response:
        """What every node answers alike; but: a status that another may not give.

        Raises RequestRefused (503).
        """
        answer = None
        for member in list(self.cluster.members.values()):
            with suppress(NodeLost):
                answer = await self._forward(request, member, body=body)
                if answer.status != but:
                    break
        if answer is not None:
            return answer
        raise RequestRefused(503, "no node serves yet; try again", retry_after_s=5)

    async def _forward(
        self,
        request: web.Request,
        member: Member,
        method: str | None = None,
        path: str | None = None,
        body: bytes = b"",
        kind: str | None = None,
    ) -> web.Response:
        """The node's answer. Raises NodeLost."""
        assert self._http is not None
        headers = self._headers(request)
        if kind is not None:
            headers["Content-Type"] = kind
        url = member.url + (request.raw_path if path is None else path)
        try:
            async with self._http.request(
                method or request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as reply:
                passed = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP}
                answer = web.Response(status=reply.status, headers=passed, body=await reply.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self._lost(member) from error
        answer[NODE] = member.room.node
        self._placed_by(answer, request, member)
        return answer

    async def _pass_on(self, request: web.Request, member: Member) -> web.StreamResponse:
        """A whole conversation with a node; or its refusal. Raises NodeLost where none begins."""
        assert self._sockets is not None
        headers = {
            name: value
            for name, value in self._headers(request).items()
            if not name.lower().startswith(agents.HEADER_PREFIX)
        }
        connecting = self._sockets.ws_connect(member.url + request.raw_path, headers=headers)
        try:
            node = await asyncio.wait_for(connecting, NODE_LIMIT_S)
        except agents.NodeRefused as refused:
            passed = {name: value for name, value in refused.headers.items() if name.lower() not in _HOP}
            return web.Response(status=refused.status, headers=passed, body=refused.body)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self._lost(member) from error
        return await agents.pass_on(request, node, partial(self._know, member))

    def _headers(self, request: web.Request) -> dict[str, str]:
        """What a node is sent, and on whose behalf."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        seen = headers.get("X-Forwarded-For")
        headers["X-Forwarded-For"] = f"{seen}, {request.remote}" if seen else str(request.remote)
        return headers

    def _lost(self, member: Member) -> NodeLost:
        """It did not answer."""
        self.cluster.forget(member.room.node)
        self.note(monotonic())
        return NodeLost(member.room.node)

    def _placed_by(self, answer: web.Response, request: web.Request, member: Member) -> None:
        """Knows at once of a session that was begun, before its node tells of it."""
        if request.method != "POST" or answer.status not in (200, 201) or not isinstance(answer.body, bytes):
            return
        if answer.status == 201 and request.path.startswith("/whip"):
            number = answer.headers["Location"].rpartition("/")[2]
            self._know(member, {"id": number, "name": request.query.get("name")})
        elif (
            answer.status == 200 and request.path.startswith("/api/sessions") and b'"view_id"' in answer.body
        ):
            self._know(member, json.loads(answer.body))

    def _know(self, member: Member, begun: dict[str, Any]) -> None:
        """A session begins there. begun: what was answered."""
        facts: dict[str, Any] = {"neutral": None, "name": None, "view_id": None, "avatar": None, "secret": ""}
        facts |= {name: begun[name] for name in ("id", *facts) if name in begun}
        member.sessions.append(facts)
        self.sessions[facts["id"]] = Placed(member.room.node, facts)

    # What is for all

    async def _make_token(self, request: web.Request) -> web.Response:
        answer = await self._anywhere(request, await request.read())
        if answer.status == 200 and isinstance(answer.body, bytes):
            await self.cluster.keep(tokens=[*self.cluster.kept["tokens"], json.loads(answer.body)["token"]])
        return answer

    async def _revoke(self, request: web.Request) -> web.Response:
        answer = await self._anywhere(request)
        if answer.status == 200:
            await self.cluster.keep(revoked=[*self.cluster.kept["revoked"], request.match_info["id"]])
        return answer

    async def _revoke_all(self, request: web.Request) -> web.Response:
        await self._operates(request)
        await self.cluster.keep(key=secrets.token_bytes(32), tokens=[], revoked=[])
        return web.json_response({})

    async def _operates(self, request: web.Request) -> None:
        """Raises RequestRefused (401, 403) for whom a node refuses what is the operator's."""
        assert self._http is not None
        answer = await self._ask(request, "/api/tokens")
        if answer.status != 200:
            text = json.loads(answer.body)["error"] if isinstance(answer.body, bytes) else "refused"
            raise RequestRefused(answer.status, text)

    async def _ask(self, request: web.Request, path: str) -> web.Response:
        for member in list(self.cluster.members.values()):
            try:
                return await self._forward(request, member, method="GET", path=path)
            except NodeLost:
                continue
        raise RequestRefused(503, "no node serves yet; try again", retry_after_s=5)

    async def _table(self, request: web.Request) -> web.Response:
        await self._operates(request)
        nodes = [
            {
                "node": node,
                "host": member.host,
                "pid": member.pid,
                "sessions": member.room.running,
                "fits": member.room.fits,
                "picture_ms": member.picture_ms,
                "drains": member.room.drains,
            }
            for node, member in self.cluster.members.items()
        ]
        return web.json_response({"nodes": nodes, "placed_anew": self._replaced, "refused": self._refused})

    async def _drain(self, request: web.Request) -> web.Response:
        await self._operates(request)
        member = self.cluster.members.get(request.match_info["node"])
        on = _member(await request.read(), "on")
        if member is None:
            raise RequestRefused(404, "there is no such node")
        if not isinstance(on, bool):
            raise RequestRefused(400, 'drain needs {"on": true} or {"on": false}')
        member.room.drains = on
        self.cluster.rooms.put(member.room)
        return web.json_response({})

    async def _page(self, _: web.Request) -> web.Response:
        text = (PAGE).read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html")

    async def _healthz(self, _: web.Request) -> web.Response:
        members = self.cluster.members.values()
        facts = {
            "status": "ok" if members else "no node serves",
            "nodes": len(members),
            "sessions": sum(member.room.running for member in members),
            "capacity": sum(member.room.fits for member in members),
        }
        return web.json_response(facts, status=200 if members else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        """Of every node, each line with its node, and of the fleet."""
        await self._operates(request)
        lines = [
            f"avatarcast_fleet_nodes {len(self.cluster.members)}",
            f"avatarcast_fleet_placed_anew_total {self._replaced}",
            f"avatarcast_fleet_refused_total {self._refused}",
        ]
        for node, member in list(self.cluster.members.items()):
            try:
                answer = await self._forward(request, member, path="/metrics")
            except NodeLost:
                continue
            assert isinstance(answer.body, bytes)
            for family in text_string_to_metric_families(answer.body.decode()):
                for sample in family.samples:
                    labels = ",".join(
                        f'{key}="{value}"' for key, value in {**sample.labels, "node": node}.items()
                    )
                    lines.append(f"{sample.name}{{{labels}}} {sample.value}")
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


@web.middleware
async def _told(request: web.Request, handler: Any) -> web.StreamResponse:
    """A refusal of the head's looks like a node's."""
    try:
        response: web.StreamResponse = await handler(request)
    except RequestRefused as error:
        headers = dict(error.headers)
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(int(error.retry_after_s) + 1)
        response = web.json_response({"error": str(error)}, status=error.status, headers=headers)
    except NodeLost:
        response = web.json_response(
            {"error": "the machine of this session was lost; resume it"},
            status=503,
            headers={"Retry-After": "1"},
        )
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _member(body: bytes, name: str) -> Any:
    """Of a JSON object; None of anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None
