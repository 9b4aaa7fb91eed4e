"""Cameras in by WHIP (RFC 9725), pictures out by WHEP (draft-ietf-wish-whep-03): for programs, not our page.

Both are one negotiation under two names. stream/http/openapi.json has every route.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

from aiohttp import web
from aiortc import RTCSessionDescription

from engine.media.disclosure import SOURCE_TYPE
from stream.http.bodies import LEASE, read_text
from stream.http.route import GRANT, Route
from stream.http.security import SOURCE_TYPE_HEADER
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.sessions.session import Session
from stream.sessions.tokens import Tokens
from stream.webrtc.ice import read_fragment
from stream.webrtc.negotiation import read_publish_request, read_viewer_offer

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')


class WhipRoutes:
    """Publishers and viewers that speak HTTP and WebRTC and nothing else of ours."""

    def __init__(self, registry: SessionRegistry, tokens: Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """All of them."""
        endpoints = {"/whip": self._publish, "/whep/{view}": self._watch}
        resources = {
            "/whip/{id}": (self._patch_publisher, self._end_publisher),
            "/whep/{view}/{viewer}": (self._patch_viewer, self._end_viewer),
        }
        routes = [Route("GET", "/api/views/{view}", self._ice_servers)]
        for path, post in endpoints.items():
            routes += [Route("POST", path, post), Route("OPTIONS", path, _endpoint_options)]
        for path, (patch, delete) in resources.items():
            routes += [Route("PATCH", path, patch), Route("DELETE", path, delete)]
            routes += [Route("OPTIONS", path, _resource_options)]
        return [*routes, *(Route("GET", path, _nothing_to_see) for path in (*endpoints, *resources))]

    async def _ice_servers(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "ice_servers": self._registry.config.ice_servers.for_page(time.time()),
                "digital_source_type": SOURCE_TYPE,
            }
        )

    async def _publish(self, request: web.Request) -> web.Response:
        sdp, grant = await read_text(request, SDP), request[GRANT]
        wanted = read_publish_request(
            sdp, *(request.query.get(field) for field in ("avatar", "name", "driver"))
        )
        name = self._tokens.name_for(grant, wanted.name, time.time())
        account = request[LEASE].account
        session, answer = await self._registry.create(replace(wanted, name=name), grant, account)
        watch = f'</whep/{session.view_id}>; rel="alternate"; type="{SDP}"'
        return self._created(f"/whip/{session.id}", session.peer().ice_tag, answer, [watch])

    async def _watch(self, request: web.Request) -> web.Response:
        view = request.match_info["view"]
        session = self._registry.by_view(view)
        offer = read_viewer_offer(await read_text(request, SDP))
        account = request[LEASE].account
        viewer_id, answer = await session.add_viewer(offer, request[GRANT], account)
        response = self._created(f"/whep/{view}/{viewer_id}", session.peer(viewer_id).ice_tag, answer, [])
        response.headers[SOURCE_TYPE_HEADER] = SOURCE_TYPE
        return response

    def _created(
        self, location: str, tag: str, answer: RTCSessionDescription, links: list[str]
    ) -> web.Response:
        response = web.Response(status=201, body=answer.sdp.encode(), content_type=SDP)
        response.headers["Location"] = location
        response.headers["ETag"] = f'"{tag}"'
        response.headers["Accept-Patch"] = FRAGMENT
        for link in [*self._registry.config.ice_servers.link_headers(time.time()), *links]:
            response.headers.add("Link", link)
        return response

    async def _patch_publisher(self, request: web.Request) -> web.Response:
        return await _patch(request, self._registry.session(request.match_info["id"]), None)

    async def _patch_viewer(self, request: web.Request) -> web.Response:
        session = self._registry.by_view(request.match_info["view"])
        return await _patch(request, session, request.match_info["viewer"])

    async def _end_publisher(self, request: web.Request) -> web.Response:
        await self._registry.session(request.match_info["id"]).close("the publisher stopped it")
        return web.Response()

    async def _end_viewer(self, request: web.Request) -> web.Response:
        session = self._registry.by_view(request.match_info["view"])
        await session.audience.remove(request.match_info["viewer"])
        return web.Response()


async def _patch(request: web.Request, session: Session, viewer_id: str | None) -> web.Response:
    """Late candidates, or an ICE restart where the fragment has other credentials (RFC 9725 section 4.3)."""
    condition = request.headers.get("If-Match")
    if condition is None:
        raise RequestRefused(428, 'If-Match is missing; send the ETag of the 201, or "*" to restart ICE')
    text = await read_text(request, FRAGMENT)
    peer = session.peer(viewer_id)
    if not _matches(condition, peer.ice_tag):
        raise RequestRefused(412, "If-Match names an ICE session that has been replaced; restart ICE")
    ufrag = read_fragment(text, loopback_only=False).username
    if ufrag is None or ufrag == peer.remote_ufrag:
        await peer.add_candidates(text)
        return web.Response(status=204)
    ours = await peer.restart_ice(text)
    headers = {"ETag": f'"{peer.ice_tag}"'}
    return web.Response(body=ours.encode(), content_type=FRAGMENT, headers=headers)


def _matches(condition: str, tag: str) -> bool:
    """Whether If-Match holds (RFC 9110 section 13.1.1); a "*" may be in quotes, as in RFC 9725 figure 4."""
    if condition.strip() == "*":
        return True
    return any(not weak and found in ("*", tag) for weak, found in _ENTITY_TAG.findall(condition))


async def _endpoint_options(_: web.Request) -> web.Response:
    return web.Response(headers={"Allow": "GET, POST, OPTIONS", "Accept-Post": SDP})


async def _resource_options(_: web.Request) -> web.Response:
    return web.Response(headers={"Allow": "GET, PATCH, DELETE, OPTIONS", "Accept-Patch": FRAGMENT})


async def _nothing_to_see(_: web.Request) -> web.Response:
    """RFC 9725 section 4.1: these resources have no representation."""
    return web.Response(status=204)
