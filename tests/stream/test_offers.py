"""Whatever is sent to the server, it answers with one JSON line and a 4xx, and goes on serving."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aiohttp.test_utils import TestServer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from stream.webrtc.negotiation import read_request, without_foreign_candidates

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    registry = SessionRegistry(Avatars([echo_avatar()]))
    access = Access(requests_per_s=1e3, burst=1e5)
    http = TestServer(LiveServer(registry, access).app())
    await http.start_server()
    yield f"http://127.0.0.1:{http.port}"
    assert not len(registry)  # whatever was refused left nothing behind
    await http.close()


async def real_offer(audio: bool = True) -> dict[str, Any]:
    peer = AiortcPeer("", VideoStreamTrack(), AudioStreamTrack() if audio else None)
    body = await peer.offer()
    await peer.close()
    return body


async def send(
    url: str, data: bytes | str, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, str]:
    """Status and error line; every response must be JSON with an error of one line."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, data=data, headers=JSON if headers is None else headers) as reply,
    ):
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        error = (await reply.json())["error"]
        assert isinstance(error, str)
        assert error
        assert "\n" not in error
        return reply.status, error


async def serves(url: str) -> None:
    """The server still takes a good offer, and lets go of it."""
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/api/sessions", json=await real_offer()) as reply:
            assert reply.status == 200
            session = await reply.json()
        assert session["type"] == "answer"
        assert session["avatar"] == "echo"
        async with http.delete(f"{url}/api/sessions/{session['id']}") as reply:
            assert reply.status == 200


GARBAGE: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "not JSON"),
    ("no json", b"\xff\xfe\x00", 400, "not JSON"),
    ("half json", b'{"sdp": "v=0', 400, "not JSON"),
    ("deep json", b"[" * 60_000 + b"]" * 60_000, 400, "JSON"),  # Python 3.14 can read it
    ("number", b"7", 400, "JSON int"),
    ("null", b"null", 400, "JSON NoneType"),
    ("list", b"[]", 400, "JSON list"),
    ("empty object", b"{}", 400, "sdp is missing"),
    ("sdp of a wrong type", b'{"sdp": 5, "type": "offer"}', 400, "sdp is missing"),
    ("blank sdp", b'{"sdp": " \\n", "type": "offer"}', 400, "sdp is missing"),
    ("answer", b'{"sdp": "v=0", "type": "answer"}', 400, "'offer' is needed"),
    ("no type", b'{"sdp": "v=0"}', 400, "'offer' is needed"),
    ("measure of a wrong type", b'{"sdp": "v=0", "type": "offer", "measure": 1}', 400, "measure is"),
    ("no media", b'{"sdp": "v=0\\r\\n", "type": "offer"}', 400, "no video"),
    ("bad m line", b'{"sdp": "v=0\\r\\nm=video\\r\\n", "type": "offer"}', 400, "cannot be read"),
    (
        "lone surrogate",
        b'{"sdp": "v=0\\r\\nm=video 9 X 96\\r\\na=mid:\\ud800\\r\\na=sendrecv\\r\\n", "type": "offer"}',
        400,
        "",
    ),
    ("huge", b'{"sdp": "' + b"x" * 200_000 + b'"}', 413, "larger than"),
]


@pytest.mark.parametrize(
    ("body", "status", "words"), [case[1:] for case in GARBAGE], ids=[c[0] for c in GARBAGE]
)
async def test_garbage_bodies(url: str, body: bytes, status: int, words: str) -> None:
    got, error = await send(f"{url}/api/sessions", body)
    assert got == status, error
    assert words in error


async def test_wrong_content_types(url: str) -> None:
    body = json.dumps(await real_offer())
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        status, error = await send(f"{url}/api/sessions", body, {"Content-Type": kind})
        assert status == 415, error
    await serves(url)


async def test_truncated_real_offers(url: str) -> None:
    """A real offer cut anywhere is refused or, cut within its last lines, served; never a 5xx."""
    offer = await real_offer()
    sdp = offer["sdp"]
    statuses = set()
    async with aiohttp.ClientSession() as http:
        for end in range(0, len(sdp), max(1, len(sdp) // 60)):
            async with http.post(f"{url}/api/sessions", json=offer | {"sdp": sdp[:end]}) as reply:
                statuses.add(reply.status)
                body = await reply.json()
                assert ("error" in body) == (reply.status == 400)
            if reply.status == 200:
                await http.delete(f"{url}/api/sessions/{body['id']}")
    assert 400 in statuses
    assert statuses <= {200, 400}
    await serves(url)


async def test_mangled_real_offers(url: str) -> None:
    """Every kind of line gone, doubled, emptied or with nonsense in it, one at a time."""
    offer = await real_offer()
    lines = offer["sdp"].split("\r\n")
    seen: set[str] = set()
    async with aiohttp.ClientSession() as http:
        for index, line in enumerate(lines):
            kind = line.split(":")[0].split(" ")[0]
            if not line or kind in seen:
                continue
            seen.add(kind)
            for replacement in ([], [line, line], [line[:2]], [f"{kind}:-1 zz 99999999999"], [kind + ":"]):
                sdp = "\r\n".join([*lines[:index], *replacement, *lines[index + 1 :]])
                async with http.post(f"{url}/api/sessions", json=offer | {"sdp": sdp}) as reply:
                    assert reply.status in (200, 400), (reply.status, replacement)
                    body = await reply.json()
                if reply.status == 200:
                    await http.delete(f"{url}/api/sessions/{body['id']}")
    assert len(seen) > 15
    await serves(url)


async def test_offers_that_are_well_formed_but_not_usable(url: str) -> None:
    offer = await real_offer()
    sdp: str = offer["sdp"]
    video, audio = sdp.index("m=video"), sdp.index("m=audio")
    cases = {
        "no video to send and receive": sdp.replace("a=sendrecv", "a=recvonly"),
        "no video to send and receive ": (sdp[:video] + sdp[audio:]).replace("BUNDLE 0 1 2", "BUNDLE 1 2"),
        "it is XY9, XY8": sdp.replace("VP8/90000", "XY9/90000").replace("H264/90000", "XY8/90000"),
        "a=ice-ufrag is missing": sdp.replace("a=ice-ufrag", "a=x-ufrag"),
        "a=fingerprint is missing": sdp.replace("a=fingerprint", "a=x-fingerprint"),
        "cannot be read": sdp.replace("a=mid:0", "a=candidate:x\r\na=mid:0"),
        "one mid each": sdp.replace("a=mid:1", "a=mid:0"),
        "500 are read": sdp + "a=x\r\n" * 500,
        "candidates; at most 64": sdp.replace("a=mid:0", "a=candidate:x\r\n" * 65 + "a=mid:0"),
        "one mid each ": sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1"),
    }
    for words, changed in cases.items():
        assert changed != sdp
        status, error = await send(f"{url}/api/sessions", json.dumps(offer | {"sdp": changed}))
        assert status == 400
        assert words.strip() in error
    await serves(url)


@given(text=st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        read_request({"type": "offer", "sdp": text})
    assert refusal.value.status == 400


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
@settings(max_examples=60, deadline=None)
def test_any_json_is_refused_in_words(value: Any) -> None:
    for body in (value, {"type": "offer", "sdp": value}, {"type": value, "sdp": "v=0"}):
        with pytest.raises(RequestRefused):
            read_request(body)


async def test_other_sites_are_refused(url: str) -> None:
    body = json.dumps(await real_offer())
    for headers in (
        JSON | {"Origin": "https://evil.example"},
        JSON | {"Origin": "null"},
        JSON | {"Origin": "http://127.0.0.1:1"},
        JSON | {"Host": "rebound.example"},
        JSON | {"Host": "[::1"},
    ):
        status, error = await send(f"{url}/api/sessions", body, headers)
        assert status in (400, 403), error
    status, _ = await send(f"{url}/api/sessions/x", "", {"Origin": "https://evil.example"}, "DELETE")
    assert status == 403
    await serves(url)


async def test_unknown_paths_methods_and_sessions(url: str) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/api/sessions", 405),
        ("PUT", "/api/sessions", 405),
        ("POST", "/api/sessions/none/calibrate", 404),
        ("POST", "/api/sessions/none/mirror", 404),
        ("DELETE", "/api/sessions/none", 404),
        ("GET", "/preview.jpg", 404),
        ("GET", "/api/avatars/none/preview.jpg", 404),
        ("GET", "/api/avatars/..%2F..%2Fetc%2Fpasswd/preview.jpg", 404),
        ("GET", "/api/avatars/../../../etc/passwd", 404),
        ("GET", "/../pyproject.toml", 404),
        ("GET", "/view/..%2F..%2Fserver.py", 404),
    ):
        assert (await send(f"{url}{path}", "", method=method))[0] == status, path


async def test_page_and_health(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            async with http.get(url + path) as reply:
                assert reply.status == 200
                assert reply.content_type == kind
                assert "script-src 'self'" in reply.headers["Content-Security-Policy"]
                assert reply.headers["X-Content-Type-Options"] == "nosniff"
                assert "http://" not in (await reply.text()).replace("http://localhost", "").replace(
                    "http://www.w3.org/2000/svg", ""
                )  # nothing is fetched from elsewhere
        async with http.get(f"{url}/healthz") as reply:
            assert await reply.json() == {"status": "ok", "sessions": 0, "capacity": 2}


def test_foreign_candidates_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No packet to an address of the offer's choosing, no mDNS query; ICE still waits for the browser."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["192.0.2.7", "fd00::7"])
    hosts = ["192.0.2.7", "203.0.113.9", "0f1e-22.local", "127.0.0.1", "fd00::7", "::1", "printer"]
    lines = [f"a=candidate:{n} 1 udp 1 {host} 500{n} typ host" for n, host in enumerate(hosts)]
    sdp = "\r\n".join(["v=0", "m=video 9 X 96", *lines, "a=candidate:9 1", "a=end-of-candidates"]) + "\r\n"
    kept = without_foreign_candidates(sdp)
    assert [line.split()[4] for line in kept.splitlines() if "candidate:" in line] == [
        "192.0.2.7",
        "127.0.0.1",
        "fd00::7",
        "::1",
    ]
    assert "end-of-candidates" not in kept
    all_here = "v=0\r\n" + lines[0] + "\r\na=end-of-candidates\r\n"
    assert without_foreign_candidates(all_here) == all_here
