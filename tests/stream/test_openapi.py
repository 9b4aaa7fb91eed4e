"""stream/http/openapi.json and API.md against the server: its routes, its rules, its answers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import VideoStreamTrack
from PIL import Image

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer
from engine.media.invisible_mark import with_bits
from engine.provenance.mark_bits import bits_of
from stream.http.rules import RULES
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.tokens import Right
from stream.studio.studio import Studio, StudioConfig
from stream.webrtc.ice_servers import IceServers
from tests.support.api_document import (
    CHECKED,
    DOCUMENT,
    FOLDER,
    KINDS,
    NOTES,
    OPERATIONS,
    faults,
    members,
    mismatches,
    references,
    resolved,
    schemas,
    within,
)
from tests.support.studio_stage import CONSENT, FAKE, load
from tests.support.waiting import until

MASTER = "the-operator's-token-of-a-test"
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


# --- the document by itself


def test_the_document_is_openapi() -> None:
    """What OpenAPI 3.1 asks for, as far as it is used here."""
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"] == metadata.version("avatarcast")
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for operation in OPERATIONS.values() for tag in operation["tags"]} == tags
    for route, operation in OPERATIONS.items():
        method, path = route.split(" ")
        assert method in ("GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"), route
        assert path.startswith("/"), route
        assert operation["summary"], route
        assert any(re.fullmatch("[1-5][0-9]{2}", status) for status in operation["responses"]), route
        for status, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9]{2}|default", status), route
            assert resolved(response)["description"], (route, status)
        parameters = operation.get("parameters", [])
        assert all(one["in"] in ("path", "query", "header") and "schema" in one for one in parameters), route
        in_path = [one["name"] for one in parameters if one["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path), route
        assert all(one["required"] is True for one in parameters if one["in"] == "path"), route
        if "requestBody" in operation:
            assert method in ("PUT", "POST", "PATCH"), route
            assert operation["requestBody"]["content"], route


def test_references_lead_somewhere_and_nothing_is_left_over() -> None:
    named = set(references(DOCUMENT))
    components = DOCUMENT["components"]
    assert named == {
        f"#/components/{kind}/{name}" for kind in ("responses", "schemas") for name in components[kind]
    }
    assert set(components["securitySchemes"]) == {"bearer"}
    assert components["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_no_schema_says_what_is_not_checked_here() -> None:
    every = [*schemas(DOCUMENT["paths"]), *schemas(DOCUMENT["components"]["responses"])]
    every += [part for schema in DOCUMENT["components"]["schemas"].values() for part in within(schema)]
    for schema in every:
        assert set(schema) <= CHECKED | NOTES, schema
        kinds = schema.get("type", [])
        assert {*([kinds] if isinstance(kinds, str) else kinds)} <= set(KINDS), schema
        assert set(schema.get("required", ())) <= set(members(schema)), schema
        if "pattern" in schema:
            re.compile(schema["pattern"])


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"id": "a", "rights": [], "scope": "", "expires": 5},
        {"id": "a", "rights": ["watch", "see"], "scope": "", "expires": 5},
        {"id": "a", "rights": ["watch"], "scope": None, "expires": 5},
        {"id": "a", "rights": ["watch"], "scope": "", "expires": True},
        {"id": "a", "rights": ["watch"], "scope": "", "expires": 5.5},
        {"id": "a", "rights": ["watch"], "scope": "", "expires": 5, "more": 1},
    ],
)
def test_what_is_not_as_documented_is_found(value: Any) -> None:
    token = {"$ref": "#/components/schemas/Token"}
    assert not faults({"id": "a", "rights": ["watch"], "scope": "", "expires": 5}, token)
    assert faults(value, token)


# --- the document against the rules


def test_every_route_is_documented_with_its_rule() -> None:
    assert set(OPERATIONS) == set(RULES)  # and those are the server's: tests/stream/test_rights.py
    for route, rule in RULES.items():
        operation = OPERATIONS[route]
        rule_there = [operation[f"x-{name}"] for name in ("rights", "view", "from-anywhere", "cost")]
        rights = [right.value for right in Right if right in rule.rights]
        assert rule_there == [rights, rule.view, rule.from_anywhere, rule.cost], route
        assert operation["security"] == ([{"bearer": []}] if rights else []), route
        assert ({"401", "403"} <= set(operation["responses"])) is bool(rights), route


def test_the_introduction_lists_every_route_with_its_rights() -> None:
    text = (FOLDER / "API.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| `(/[^` ]*)` \| ([^|]*) \|", text, re.MULTILINE)
    listed = {f"{method} {path}": re.findall(r"\w+", rights) for method, path, rights in rows}
    assert len(listed) == len(rows)
    assert listed == {route: operation["x-rights"] for route, operation in OPERATIONS.items()}


# --- the document against answers


@dataclass
class Caller:
    """Asks a server by operation; every answer must be as documented."""

    http: aiohttp.ClientSession
    live: LiveServer
    answered: set[str] = field(default_factory=set)  # operations that were, with success

    async def __call__(
        self,
        operation_id: str,
        body: Any = None,
        kind: str = "application/json",
        token: str | None = MASTER,
        headers: dict[str, str] | None = None,
        **path: Any,
    ) -> tuple[int, Any, Any]:
        """Status, decoded body, header fields. path: the parameters."""
        ((route, operation),) = (one for one in OPERATIONS.items() if one[1]["operationId"] == operation_id)
        method, pattern = route.split(" ")
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            fields["Content-Type"] = kind
            body = json.dumps(body) if kind == "application/json" else body
        async with self.http.request(
            method, pattern.format(**path), data=body, headers=fields | (headers or {})
        ) as reply:
            data = await reply.read()
            wanted = operation["responses"].get(str(reply.status))
            assert wanted is not None, (route, reply.status, data)
            response = resolved(wanted)
            content = response.get("content")
            for name, header in response.get("headers", {}).items():
                if header.get("required"):
                    assert not faults(reply.headers[name], header["schema"]), (route, name)
            answer: Any = data
            if content is None:
                assert not data, route
            else:
                assert reply.content_type in content, (route, reply.content_type)
                if reply.content_type == "application/json":
                    answer = json.loads(data)
                    assert not faults(answer, content[reply.content_type]["schema"]), (route, answer)
            if reply.status < 300:
                self.answered.add(operation_id)
            return reply.status, answer, reply.headers

    async def good(self, operation_id: str, *args: Any, **options: Any) -> Any:
        """The body of a success."""
        status, answer, _ = await self(operation_id, *args, **options)
        assert status < 300, (operation_id, answer)
        return answer


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[Caller]:
    """A server with all that there is: two avatars, a studio with an avatar made there, STUN and TURN."""
    (folder / "made-here.avatar").write_bytes(b"an avatar")
    avatars = Avatars([replace(echo_avatar(), preview_jpeg=b"\xff\xd8 a JPEG"), echo_avatar(name="second")])
    forever = (sys.executable, "-c", FAKE % "time.sleep(60)")
    studio = Studio(StudioConfig(folder, minutes=(0.5, 5.0), enroll=forever, needs=()), avatars, load)
    studio.offer_avatars()
    ice_servers = IceServers(("stun:127.0.0.1:9", "turn:127.0.0.1:9"), user="me", password="secret")
    registry = SessionRegistry(avatars, RegistryConfig(runner="null", ice_servers=IceServers()))
    live = LiveServer(registry, Access(token=MASTER, burst=1e6), studio)
    server = TestServer(live.app())
    await server.start_server()
    try:
        async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{server.port}") as http:
            caller = Caller(http, live)
            registry.config = replace(registry.config, ice_servers=ice_servers)
            assert len((await caller.good("config"))["ice_servers"]) == 2
            assert len((await caller.good("view", view="any"))["ice_servers"]) == 2
            registry.config = replace(registry.config, ice_servers=IceServers())  # nobody is asked there
            yield caller
    finally:
        await server.close()


@asynccontextmanager
async def presenting(call: Caller) -> AsyncIterator[tuple[AiortcPeer, dict[str, Any]]]:
    peer = AiortcPeer("", VideoStreamTrack())
    try:
        session = await call.good("createSession", {**await peer.offer(), "name": "here", "avatar": None})
        await peer.take_answer(session["sdp"])
        await until(lambda: call.live.registry.session(session["id"]).has_place)  # the name is its own now
        yield peer, session
    finally:
        await peer.close()


@asynccontextmanager
async def offering(direction: str) -> AsyncIterator[str]:
    """The SDP of a peer that sends, or receives, video."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.addTransceiver(VideoStreamTrack() if direction == "sendonly" else "video", direction)
        await peer.setLocalDescription()
        yield peer.localDescription.sdp
    finally:
        await peer.close()


async def ask_page_and_server(call: Caller) -> None:
    for operation in ("page", "health", "metrics"):
        await call.good(operation, token=None if operation != "metrics" else MASTER)
    await call.good("pageFile", token=None, file="page.js")
    await call.good("viewPage", token=None, view="here")
    await call.good("verifyPage", token=None)
    picture = BytesIO()
    Image.new("RGB", (128, 128), (90, 120, 60)).save(picture, "PNG")
    assert (await call.good("verify", picture.getvalue(), "image/png"))["verdict"] == "nothing found"
    marked = BytesIO()
    shown = with_bits(np.full((256, 256, 3), 120, np.uint8), bits_of("ab" * 32)())
    Image.fromarray(shown).save(marked, "PNG")
    await call.good("addCredentials", marked.getvalue(), "image/png")
    assert (await call("addCredentials", picture.getvalue(), "image/png"))[0] == 409
    assert (await call("addCredentials", b"", "image/webp"))[0] == 415
    assert (await call("verify", b"no film", "video/mp4"))[0] == 400
    assert (await call("verify", b"", "image/gif"))[0] == 415
    await call.good("preview", name="echo")
    assert (await call("preview", name="second"))[0] == 404
    assert (await call("pageFile", file="none.js"))[0] == 404
    assert (await call("agent"))[0] == 400  # no WebSocket
    async with call.http.ws_connect("/api/agent", headers={"Authorization": f"Bearer {MASTER}"}) as socket:
        assert set(await socket.receive_json()) >= {"type", "id", "view_id", "name", "share", "avatar"}
        call.answered.add("agent")
    made = await call.good("makeToken", {"rights": ["watch"], "scope": "here", "hours": 0.5})
    assert (await call("config", token=made["token"]))[0] == 403
    assert len((await call.good("tokens"))["tokens"]) == 1
    await call.good("revokeToken", id=made["id"])
    await call.good("revokeTokens")
    assert (await call("view", token=made["token"], view="here"))[0] == 401


async def ask_session(call: Caller, session: dict[str, Any]) -> None:
    steered: list[tuple[str, Any]] = [
        ("calibrate", None),
        ("mirror", {"on": True}),
        ("frame", {"frame": "1280x720"}),
        ("emotion", {"strengths": {"happy": 0.5, "surprised": 0.2}}),
        ("eyeContact", {"on": True}),
        ("mute", {"on": False}),
        ("setDriver", {"driver": "both", "only_own_voice": True}),
        ("coach", {"lines": 720}),
        ("switchAvatar", {"name": "second"}),
        ("background", {"kind": "color", "color": "#00b140"}),
    ]
    for operation, body in steered:
        await call.good(operation, body, id=session["id"])
        assert (await call(operation, body, id="nobody"))[0] == 404
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    await call.good("backgroundPicture", picture.getvalue(), "image/png", id=session["id"])
    assert (await call("backgroundPicture", b"none", "image/png", id=session["id"]))[0] == 400
    assert (await call("backgroundPicture", b"none", "image/gif", id=session["id"]))[0] == 415
    assert (await call("mute", " " * 200_000, id=session["id"]))[0] == 413
    async with offering("recvonly") as sdp:
        again = {"sdp": sdp, "type": "offer", "secret": "not this"}
        assert (await call("resumeSession", again, id=session["id"]))[0] == 400  # it sends nothing
    peer = AiortcPeer("", VideoStreamTrack())
    try:
        again = {**await peer.offer(), "secret": "not this"}
        assert (await call("resumeSession", again, id=session["id"]))[0] == 403
        assert (await call("createSession", {**again, "name": "here"}))[0] == 409
        assert (await call("createSession", {**again, "avatar": "none"}))[0] == 404
        resumed = await call.good("resumeSession", again | {"secret": session["secret"]}, id=session["id"])
        assert resumed["id"] == session["id"]
        await peer.take_answer(resumed["sdp"])
    finally:
        await peer.close()


async def ask_whip_and_whep(call: Caller) -> None:
    endpoints: dict[str, dict[str, Any]] = {"publish": {}, "watch": {"view": "here"}}
    for kind, path in endpoints.items():
        await call.good(f"{kind}Nothing", **path)
        await call.good(f"{kind}Options", token=None, **path)
        assert (await call(kind, "no SDP", SDP, **path))[0] == 400
    async with offering("sendonly") as publisher, offering("recvonly") as viewer:
        _, _, published = await call("publish", publisher, SDP)
        _, _, watching = await call("watch", viewer, SDP, view="here")
        assert (await call("watch", viewer, SDP, view="nobody"))[0] == 404
        whip: dict[str, Any] = {"id": published["Location"].removeprefix("/whip/")}
        viewer_id = watching["Location"].removeprefix("/whep/here/")
        whep: dict[str, Any] = {"view": "here", "viewer": viewer_id}
        for kind, path, tag in (("Publisher", whip, published["ETag"]), ("Viewer", whep, watching["ETag"])):
            plain = kind.lower()
            await call.good(f"{plain}Nothing", **path)
            await call.good(f"{plain}Options", token=None, **path)
            late = "a=end-of-candidates\r\n"
            await call.good(f"patch{kind}", late, FRAGMENT, headers={"If-Match": tag}, **path)
            assert (await call(f"patch{kind}", late, FRAGMENT, **path))[0] == 428
            other = {"If-Match": '"another"'}
            assert (await call(f"patch{kind}", late, FRAGMENT, headers=other, **path))[0] == 412
            await call.good(f"end{kind}", **path)
            assert (await call(f"end{kind}", **path))[0] == 404


async def ask_studio(call: Caller, session: dict[str, Any]) -> None:
    wanted = {"session": session["id"], "kind": "video/webm", **CONSENT}
    begun = await call.good("beginRecording", wanted)
    assert (await call("beginRecording", wanted))[0] == 409
    assert (await call("finishRecording", id=begun["id"]))[0] == 400
    await call.good("setConsentClip", b"said", "video/webm", id=begun["id"])
    await call.good("addChunk", b"one", "video/webm", id=begun["id"], number="0")
    assert (await call("addChunk", b"three", "video/webm", id=begun["id"], number="2"))[0] == 409
    await call.good("finishRecording", id=begun["id"])
    assert (await call("finishRecording", id=begun["id"]))[0] == 404
    given_up = await call.good("beginRecording", wanted)
    await call.good("discardRecording", id=given_up["id"])
    take = begun["name"]
    assert (await call("cancelJob"))[0] == 404
    assert (await call("makeAvatar", {"take": take, "minutes": 7}))[0] == 400
    await call.good("makeAvatar", {"take": take, "minutes": 0.5})
    assert (await call("makeAvatar", {"take": take, "minutes": 0.5}))[0] == 409
    assert (await call("deleteTake", name=take))[0] == 409
    studio = await call.good("studio")
    assert (len(studio["takes"]), studio["avatars"], studio["job"]["state"]) == (1, ["made-here"], "running")
    await call.good("cancelJob")
    await call.good("deleteTake", name=take)
    assert (await call.good("forgetAvatar", name="made-here"))["removed"]
    assert (await call("forgetAvatar", name="made-here"))[0] == 404


async def test_every_answer_is_as_documented(tmp_path: Path) -> None:
    async with calling(tmp_path) as call:
        await ask_page_and_server(call)
        assert (await call.good("studio"))["job"] is None
        async with presenting(call) as (_, session):
            await ask_session(call, session)
            await ask_whip_and_whep(call)
            await ask_studio(call, session)
            await call.good("sessionGoesOn", id=session["id"])
            await call.good("snapshot", id=session["id"])
            await call.good("endSession", id=session["id"])
            assert (await call("endSession", id=session["id"]))[0] == 404
        assert call.answered == {operation["operationId"] for operation in OPERATIONS.values()}


async def test_who_has_no_token_is_told_so(tmp_path: Path) -> None:
    async with calling(tmp_path) as call:
        for operation in OPERATIONS.values():
            if operation["x-rights"]:
                parameters = operation.get("parameters", [])
                path: dict[str, Any] = {one["name"]: "1" for one in parameters if one["in"] == "path"}
                assert (await call(operation["operationId"], token=None, **path))[0] == 401


BODIES: dict[str, list[Any]] = {
    "mirror": [{"on": True}, {"on": 1}, {"on": None}, {}, []],
    "emotion": [
        {},
        {"valence": -0.5, "arousal": 1},
        {"text": "worried, then relieved"},
        {"strengths": {}},
        [],
    ]
    + [{"strengths": {"sad": sad}} for sad in (1, 0.5, 1.1, -0.1, "1", None, True)]
    + [{"valence": 2, "arousal": 0}, {"valence": 1}, {"text": 5}, {"text": ""}, {"strengths": {"merry": 1}}],
    "eyeContact": [{"on": True}, {"on": 1}, {}],
    "frame": [{"frame": frame} for frame in ("auto", "square", "960x540", "wide", "", 720)] + [{}, []],
    "mute": [{"on": False}, {"on": "true"}, {}],
    "setDriver": [{"driver": driver} for driver in ("voice", "both", "camera", "mouse", "", 5, None)]
    + [{"driver": "both", "only_own_voice": on} for on in (False, None, "yes", 1)]
    + [{}, []],
    "coach": [{"lines": 1}, {"lines": 8192}, {"lines": None}, {}]
    + [{"lines": lines} for lines in (0, 8193, 720.5, "720", True)],
    "switchAvatar": [{"name": "second"}, {"name": "none"}, {"name": 5}, {"name": None}, {}],
    "background": [{"kind": "original"}, {"kind": "color", "color": "#00B140"}, {"kind": "picture"}, {}]
    + [{"kind": "color", "color": color} for color in ("green", "#00b1400", 5, None)],
    "beginRecording": [{}]
    + [
        {"session": "nobody", "kind": "video/mp4", **CONSENT} | change
        for change in ({}, {"agreed": 1}, {"agreed": False}, {"kind": "text/html"}, {"who": "  "}, {"who": 5})
    ],
    "makeAvatar": [[], "take", {"take": "nobody's", "minutes": 5.0}],
    "makeToken": [[], {}, {"rights": []}, {"rights": "watch"}, {"rights": ["see"]}, {"rights": [5]}]
    + [{"rights": ["watch", "present"], "scope": "here", "hours": 720}]
    + [{"rights": ["watch"], "scope": scope} for scope in (None, "", "A_b-9", "a" * 64, "a" * 65, "a b", 5)]
    + [{"rights": ["watch"], "hours": hours} for hours in (0.01, 0, -1, 720.5, "12", True, None)],
    "createSession": [[], {}, {"sdp": " ", "type": "offer"}, {"sdp": "v=0", "type": "answer"}]
    + [{"name": name} for name in ("Here", "a" * 41, "", 5)]
    + [
        {"driver": "mouse"},
        {"driver": None},
        {"mirror": 1},
        {"measure": "yes"},
        {"avatar": 5},
        {"secret": None},
    ],
}


async def test_bodies_are_taken_as_documented(tmp_path: Path) -> None:
    """What a schema allows is not called wrong, and what it forbids is refused."""
    async with (
        calling(tmp_path) as call,
        presenting(call) as (_, session),
        offering("sendrecv") as sdp,
    ):
        for name, bodies in BODIES.items():
            (operation,) = (one for one in OPERATIONS.values() if one["operationId"] == name)
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            path = {"id": session["id"]} if "parameters" in operation else {}
            for body in bodies:
                if name == "createSession" and isinstance(body, dict) and "sdp" not in body and body:
                    body = {"sdp": sdp, "type": "offer"} | body
                status, answer, _ = await call(name, body, **path)
                wrong = mismatches(body, schema)
                assert status >= 400 if wrong else status != 400, (name, body, answer, wrong)
