"""Who may do what: every route against every right, share links, and names that are kept for a presenter."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import VideoStreamTrack

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer
from stream.http.route import Route
from stream.http.routes_page import PageRoutes
from stream.http.rules import RULES
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.tokens import MAX_LIFETIME_S, Right
from stream.studio.studio import Studio, StudioConfig
from tests.support.direct_call import avatars_of
from tests.support.studio_stage import load
from tests.support.waiting import until

MASTER = "the-operator's-token-of-a-test"

# Written down once more, not taken from the rules: what a change of those must not change unseen.
NEEDED: dict[str, str] = {
    "GET /": "",
    "GET /{file}": "",
    "GET /view/{view}": "",
    "GET /verify": "",
    "GET /healthz": "",
    "POST /api/verify": "present watch studio",
    "POST /api/credentials": "present",
    "GET /api/agent": "present",
    "GET /api/config": "present studio",
    "GET /api/avatars/{name}/preview.jpg": "present studio",
    "GET /metrics": "operate",
    **dict.fromkeys(("GET /api/tokens", "POST /api/tokens", "DELETE /api/tokens"), "operate"),
    "DELETE /api/tokens/{id}": "operate",
    "POST /api/sessions": "present",
    **{
        f"POST /api/sessions/{{id}}/{what}": "present"
        for what in (
            "resume",
            "calibrate",
            "mirror",
            "mute",
            "driver",
            "coach",
            "avatar",
            "background",
            "frame",
            "emotion",
            "eye-contact",
        )
    },
    "PUT /api/sessions/{id}/background": "present",
    "DELETE /api/sessions/{id}": "present",
    "GET /api/sessions/{id}": "present",
    "GET /api/sessions/{id}/snapshot": "present",
    **{f"{method} /whip": "present" for method in ("GET", "POST")},
    **{f"{method} /whip/{{id}}": "present" for method in ("GET", "PATCH", "DELETE")},
    "GET /api/views/{view}": "watch",
    **{f"{method} /whep/{{view}}": "watch" for method in ("GET", "POST")},
    **{f"{method} /whep/{{view}}/{{viewer}}": "watch" for method in ("GET", "PATCH", "DELETE")},
    **{f"OPTIONS {path}": "" for path in ("/whip", "/whip/{id}", "/whep/{view}", "/whep/{view}/{viewer}")},
    "GET /api/studio": "studio",
    "POST /api/studio/recordings": "studio",
    "PUT /api/studio/recordings/{id}/{number}": "studio",
    "PUT /api/studio/recordings/{id}/clip": "studio",
    "POST /api/studio/recordings/{id}/finish": "studio",
    "DELETE /api/studio/recordings/{id}": "studio",
    "DELETE /api/studio/takes/{name}": "studio",
    "DELETE /api/studio/avatars/{name}": "studio",
    **{f"{method} /api/studio/job": "studio" for method in ("POST", "DELETE")},
}
FILLED = {"file": "page.js", "number": "1"}  # else "here"


def full_server(folder: Path) -> LiveServer:
    avatars = Avatars([echo_avatar()])
    studio = Studio(StudioConfig(folder, needs=()), avatars, load)
    return LiveServer(SessionRegistry(avatars), Access(token=MASTER, burst=1e6), studio)


def declared(app: web.Application) -> set[str]:
    """METHOD path of every route, but the HEAD of each GET, and what has a slash more at its end."""
    routes = [(route.method, route.resource) for route in app.router.routes()]
    return {
        f"{method} {resource.canonical.rstrip('/') or '/'}"
        for method, resource in routes
        if resource is not None and method != "HEAD"
    }


async def test_every_route_declares_its_right(tmp_path: Path) -> None:
    assert declared(full_server(tmp_path).app()) == set(RULES) == set(NEEDED)


async def test_a_route_without_a_right_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PageRoutes.routes

    def more(self: PageRoutes) -> list[Route]:
        (first, *_) = routes = before(self)
        return [*routes, Route("GET", "/api/all-recordings", first.handler)]

    monkeypatch.setattr(PageRoutes, "routes", more)
    with pytest.raises(LookupError, match="GET /api/all-recordings has no rule"):
        full_server(tmp_path).app()


@asynccontextmanager
async def served(live: LiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    server = TestServer(live.app())
    await server.start_server()
    async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{server.port}") as http:
        yield http
    await server.close()


async def status(http: aiohttp.ClientSession, route: str, token: str | None) -> int:
    method, _, path = route.partition(" ")
    path = re.sub(r"\{(\w+)\}", lambda found: FILLED.get(found[1], "here"), path)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with http.request(method, path, headers=headers) as reply:
        return reply.status


@pytest.mark.parametrize("route", NEEDED)
async def test_the_matrix(route: str, tmp_path: Path) -> None:
    """No token: 401; another right: 403; the right one: what the route says to a request without a body."""
    needed = set(NEEDED[route].split())
    live = full_server(tmp_path)

    def token(*rights: Right, scope: str = "") -> str:  # anew: DELETE /api/tokens ends those made before
        return live.tokens.make(rights, scope, time.time() + 60, time.time()).text

    async with served(live) as http:
        for bad in (None, "", "wrong", token(Right.WATCH)[:-1] + "!"):
            found = await status(http, route, bad)
            assert (found == 401) is bool(needed), (route, bad, found)
        for right in Right:
            found = await status(http, route, token(right))
            allowed = not needed or right.value in needed or right is Right.OPERATE
            assert (found != 403) is allowed, (route, right, found)
            assert found != 401
        assert await status(http, route, MASTER) not in (401, 403)
        others = [right for right in Right if right.value not in needed and right is not Right.OPERATE]
        if needed and others:
            assert await status(http, route, token(*others)) == 403  # all the others together are not it
        if "{view}" in route and needed:
            assert await status(http, route, token(Right.WATCH, scope="here")) not in (401, 403)
            assert await status(http, route, token(Right.WATCH, scope="elsewhere")) == 403


async def test_what_there_is_not_is_told_to_holders_of_a_token_only(tmp_path: Path) -> None:
    live = full_server(tmp_path)
    watch = live.tokens.make({Right.WATCH}, "", time.time() + 60, time.time()).text
    async with served(live) as http:
        for route, there in (("GET /nothing", 404), ("PUT /whip", 405), ("DELETE /api/studio", 405)):
            assert await status(http, route, None) == 401
            assert await status(http, route, watch) == there


@asynccontextmanager
async def calls() -> AsyncIterator[tuple[LiveServer, aiohttp.ClientSession]]:
    registry = SessionRegistry(avatars_of(), RegistryConfig(least_fps=0.0))
    async with served(live := LiveServer(registry, Access(token=MASTER, burst=1e6))) as http:
        yield live, http


async def asked(
    http: aiohttp.ClientSession, method: str, path: str, token: str, body: Any = None
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.request(method, path, json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def offered(
    http: aiohttp.ClientSession, token: str, path: str = "/api/sessions", **fields: Any
) -> tuple[AiortcPeer, tuple[int, dict[str, Any]]]:
    """A presenter's offer and its answer."""
    peer = AiortcPeer("", VideoStreamTrack())
    return peer, await asked(http, "POST", path, token, {**await peer.offer(), **fields})


async def connect(peer: AiortcPeer, answer: dict[str, Any]) -> None:
    await peer.take_answer(answer["sdp"])
    await until(lambda: peer.state == "connected")


async def test_the_operator_makes_lists_and_revokes_tokens() -> None:
    async with calls() as (_, http):
        wanted = {"rights": ["watch", "present"], "scope": "studio", "hours": 1}
        code, made = await asked(http, "POST", "/api/tokens", MASTER, wanted)
        assert code == 200
        assert abs(made["expires"] - time.time() - 3600) < 30
        listed = {name: made[name] for name in ("id", "rights", "scope", "expires")}
        assert listed == {**listed, "rights": ["present", "watch"], "scope": "studio"}
        assert await asked(http, "GET", "/api/tokens", MASTER) == (200, {"tokens": [listed]})
        assert (await asked(http, "GET", "/api/config", made["token"]))[1]["rights"] == ["present", "watch"]
        assert (await asked(http, "DELETE", f"/api/tokens/{made['id']}", MASTER))[0] == 200
        code, refusal = await asked(http, "GET", "/api/config", made["token"])
        assert (code, "was revoked" in refusal["error"]) == (401, True)
        assert await asked(http, "GET", "/api/tokens", MASTER) == (200, {"tokens": []})


async def test_no_token_outlives_the_one_it_was_made_with() -> None:
    async with calls() as (_, http):
        _, helper = await asked(http, "POST", "/api/tokens", MASTER, {"rights": ["operate"], "hours": 1})
        _, made = await asked(
            http, "POST", "/api/tokens", helper["token"], {"rights": ["watch"], "hours": 100}
        )
        assert made["expires"] == helper["expires"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "a token needs"),
        ({}, "rights is a list"),
        ({"rights": []}, "rights is a list"),
        ({"rights": "watch"}, "rights is a list"),
        ({"rights": [1]}, "rights is a list"),
        ({"rights": ["root"]}, "no right 'root'; there are present, watch, studio, operate"),
        ({"rights": ["watch"], "hours": 0}, "hours is '0'"),
        ({"rights": ["watch"], "hours": True}, "hours is 'True'"),
        ({"rights": ["watch"], "hours": MAX_LIFETIME_S / 3600 + 1}, "up to 720"),
        ({"rights": ["watch"], "hours": "1"}, "hours is '1'"),
        ({"rights": ["watch"], "scope": 5}, "scope is not text"),
        ({"rights": ["watch"], "scope": "a.b"}, "up to 64 letters"),
        ({"rights": ["present"], "scope": "a" * 41}, "letters A-Z"),
        ({"rights": ["studio"], "scope": "x"}, "to present or to watch"),
    ],
)
async def test_tokens_that_are_not_made(body: Any, words: str) -> None:
    async with calls() as (_, http):
        code, refusal = await asked(http, "POST", "/api/tokens", MASTER, body)
        assert (code, words in refusal["error"]) == (400, True), refusal


async def watching(http: aiohttp.ClientSession, view: str, token: str) -> int:
    """The status of a request for what a view's page needs to know."""
    return (await asked(http, "GET", f"/api/views/{view}", token))[0]


async def test_a_share_link_opens_its_session_and_nothing_else() -> None:
    async with calls() as (_, http):
        peer, (_, mine) = await offered(http, MASTER, name="studio")
        other, (_, theirs) = await offered(http, MASTER)
        share = mine["share"]
        assert share.startswith(f"watch.{mine['view_id']}.")
        assert await watching(http, mine["view_id"], share) == 200
        assert await watching(http, "studio", share) == 200
        assert await watching(http, theirs["view_id"], share) == 403
        assert await watching(http, mine["view_id"], theirs["share"]) == 403
        for method, path in (
            ("POST", "/api/sessions"),
            ("POST", f"/api/sessions/{mine['id']}/mute"),
            ("DELETE", f"/api/sessions/{mine['id']}"),
            ("GET", "/api/config"),
            ("POST", "/api/tokens"),
        ):
            assert (await asked(http, method, path, share, {}))[0] == 403
        assert (await asked(http, "DELETE", f"/api/sessions/{mine['id']}", MASTER))[0] == 200
        again, (_, later) = await offered(http, MASTER, name="studio")
        assert await watching(http, "studio", share) == 403  # the name is another session's now
        assert await watching(http, mine["view_id"], share) != 403  # and what it was for is gone
        assert await watching(http, "studio", later["share"]) == 200
        for one in (peer, other, again):
            await one.close()


async def test_who_came_by_a_token_goes_with_it() -> None:
    """A viewer and a presenter are cut off when their tokens are revoked; others stay."""
    async with calls() as (live, http):
        _, present = await asked(http, "POST", "/api/tokens", MASTER, {"rights": ["present"]})
        _, watch = await asked(http, "POST", "/api/tokens", MASTER, {"rights": ["watch"]})
        guest, (_, guests) = await offered(http, present["token"])
        own, (_, owns) = await offered(http, MASTER)
        session = live.registry.session(owns["id"])
        viewers = [await offer_to_watch(http, owns["view_id"], token) for token in (watch["token"], MASTER)]
        assert len(session.audience) == 2
        await asked(http, "DELETE", f"/api/tokens/{watch['id']}", MASTER)
        assert len(session.audience) == 1
        await asked(http, "DELETE", f"/api/tokens/{present['id']}", MASTER)
        await until(lambda: len(live.registry) == 1)
        assert [one.id for one in live.registry] == [owns["id"]]
        assert guests["id"] != owns["id"]
        viewers.append(await offer_to_watch(http, owns["view_id"], owns["share"]))
        assert len(session.audience) == 2
        await asked(http, "DELETE", "/api/tokens", MASTER)  # a new key
        assert len(session.audience) == 1
        assert await watching(http, owns["view_id"], owns["share"]) == 401
        for one in (guest, own):
            await one.close()
        for viewer in viewers:
            await viewer.close()


async def test_who_came_by_a_token_goes_when_it_expires() -> None:
    async with calls() as (live, http):
        now_s = time.time()
        watch = live.tokens.make({Right.WATCH}, "", now_s + 4, now_s).text
        present = live.tokens.make({Right.PRESENT}, "", now_s + 4, now_s).text
        own, (_, owns) = await offered(http, MASTER)
        guest, (code, _) = await offered(http, present)
        viewers = [await offer_to_watch(http, owns["view_id"], token) for token in (watch, owns["share"])]
        session = live.registry.session(owns["id"])
        assert (code, len(live.registry), len(session.audience)) == (200, 2, 2)
        await until(lambda: len(live.registry) == len(session.audience) == 1)
        assert session.end_reason is None
        for one in (own, guest):
            await one.close()
        for viewer in viewers:
            await viewer.close()


async def offer_to_watch(http: aiohttp.ClientSession, view: str, token: str) -> RTCPeerConnection:
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    viewer.addTransceiver("video", "recvonly")
    await viewer.setLocalDescription()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    async with http.post(f"/whep/{view}", data=viewer.localDescription.sdp, headers=headers) as reply:
        assert reply.status == 201, await reply.text()
    return viewer


async def test_a_dropped_session_is_its_presenters_alone() -> None:
    """The public name does not take it up, whatever token comes with it; the secret does."""
    async with calls() as (live, http):
        _, guest = await asked(http, "POST", "/api/tokens", MASTER, {"rights": ["present"]})
        peer, (_, begun) = await offered(http, guest["token"], name="studio")
        await connect(peer, begun)
        (session,) = live.registry
        await until(lambda: session.has_place)
        assert (await refused(http, MASTER, name="studio"))[0] == 409
        await peer.close()  # without a word to the server
        await until(lambda: session.presenter.lost_ns is not None)
        for token, more in ((MASTER, {}), (guest["token"], {}), (MASTER, {"secret": "guess"})):
            code, words = await refused(http, token, name="studio", **more)
            assert (code, "is kept for up to 30 s for its presenter" in words) == (409, True), words
        where = f"/api/sessions/{begun['id']}/resume"
        for more in ({}, {"secret": ""}, {"secret": "guess"}, {"secret": begun["secret"] + "x"}):
            code, words = await refused(http, MASTER, where, **more)
            assert (code, "only who began" in words) == (403, True), words
        again, (code, resumed) = await offered(http, guest["token"], where, secret=begun["secret"])
        assert (code, resumed["id"], resumed["view_id"]) == (200, begun["id"], begun["view_id"])
        assert session.presenter.lost_ns is None
        await again.close()


async def refused(
    http: aiohttp.ClientSession, token: str, path: str = "/api/sessions", **fields: Any
) -> tuple[int, str]:
    """What is said to an offer that is not taken."""
    peer, (code, refusal) = await offered(http, token, path, **fields)
    await peer.close()
    return code, refusal["error"]


async def test_a_name_is_kept_also_where_its_session_made_room() -> None:
    """Else a stranger would fill the server, and have the name."""
    async with calls() as (live, http):
        peer, (_, begun) = await offered(http, MASTER, name="studio")
        await connect(peer, begun)
        (session,) = live.registry
        await until(lambda: session.has_place)
        await peer.close()
        await until(lambda: session.presenter.lost_ns is not None)
        others = []
        for _ in range(2):
            other, (_, answer) = await offered(http, MASTER)
            await connect(other, answer)
            others.append(other)
        await until(lambda: session not in list(live.registry))
        for one in list(live.registry)[1:]:
            await one.close("the test makes room")
        code, words = await refused(http, MASTER, name="studio")
        assert (code, "is kept" in words) == (409, True), words
        again, (code, answer) = await offered(http, MASTER, name="studio", secret=begun["secret"])
        assert (code, answer["name"]) == (200, "studio")
        for peer in (*others, again):
            await peer.close()


async def test_a_publisher_with_the_names_token_comes_back() -> None:
    """As OBS does, which knows no secret: it connects anew, and is the same session for its viewers."""
    async with calls() as (live, http):
        wanted = {"rights": ["present"], "scope": "studio"}
        _, made = await asked(http, "POST", "/api/tokens", MASTER, wanted)
        assert (await refused(http, made["token"], name="other"))[0] == 403
        peer, (code, begun) = await offered(http, made["token"])
        assert (code, begun["name"]) == (200, "studio")
        await connect(peer, begun)
        (session,) = live.registry
        await until(lambda: session.has_place)
        await peer.close()
        await until(lambda: session.presenter.lost_ns is not None)
        again, (code, resumed) = await offered(http, made["token"], name="studio")
        assert (code, resumed["id"]) == (200, begun["id"])
        await again.close()
