"""Slow, endless, oversized and odd requests over plain sockets, to a server with the limits of a real one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

import stream.http.bodies
from benchmarks.live.echo_server import echo_avatar
from stream.http.security import Access
from stream.http.server import CONNECTION_LIMITS, LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from tests.support.waiting import WAIT_S


@pytest.fixture
async def port() -> AsyncIterator[int]:
    registry = SessionRegistry(Avatars([echo_avatar()]))
    server = TestServer(LiveServer(registry, Access(token="a-token-of-a-test")).app())
    await server.start_server(**CONNECTION_LIMITS | {"keepalive_timeout": 1.0})
    assert server.port is not None
    yield server.port
    await server.close()
    assert not len(registry)


async def said(port: int, *pieces: bytes) -> bytes:
    """Send these, one after another; the first that the server says, or b"" where it just closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(16_384), WAIT_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def head(path: str = "/whip", method: str = "POST", **fields: str) -> bytes:
    """A request up to its body; fields with _ for -. Latin-1: one character is one byte."""
    named = {"Host": "127.0.0.1", "Authorization": "Bearer a-token-of-a-test"} | fields
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


async def test_headers_that_never_end(port: int) -> None:
    """One byte at a time keeps no connection open: the time runs from its start."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    closed = asyncio.ensure_future(reader.read())
    sent = 0
    while not closed.done():
        assert sent < WAIT_S / 0.05
        sent += 1
        with suppress(ConnectionError):
            writer.write(b"X")
            await writer.drain()
        await asyncio.wait([closed], timeout=0.05)
    assert closed.exception() is not None or closed.result() == b""
    writer.close()


async def test_a_body_that_never_ends(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.http.bodies, "TEXT_LIMIT_S", 0.2)
    answer = await said(port, head(Content_Type="application/sdp", Content_Length="100"), b"v=0")
    assert answer.startswith(b"HTTP/1.1 408 ")
    chunked = head(Content_Type="application/sdp", Transfer_Encoding="chunked")
    assert (await said(port, chunked, b"3\r\nv=0\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can hang up in the middle of a body; it must not fill the log."""
    registry = SessionRegistry(Avatars([echo_avatar()]))
    server = TestServer(LiveServer(registry, Access()).app())
    await server.start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(Content_Type="application/sdp", Content_Length="100", Expect="100-continue"))
    assert b" 100 " in await reader.readline()  # it now waits for the body
    writer.transport.abort()
    await server.close()  # waits for the request's end
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_sizes(port: int) -> None:
    """Refused by what is announced, and by what comes where nothing was announced."""
    sdp = {"Content_Type": "application/sdp"}
    assert (await said(port, head(**sdp, Content_Length="99999999999"))).startswith(b"HTTP/1.1 413 ")
    chunk = b"10000\r\n" + 65_536 * b"x" + b"\r\n"
    assert b" 413 " in await said(port, head(**sdp, Transfer_Encoding="chunked"), chunk, chunk, chunk)
    assert b" 400 " in await said(port, head(X=100_000 * "x"))
    assert b" 400 " in await said(port, head(**{f"X{number}": "x" for number in range(500)}))
    assert b" 400 " in await said(port, head(path="/" + 100_000 * "x"))


@pytest.mark.parametrize("name", ["Host", "Authorization"])
async def test_a_field_that_comes_twice(port: int, name: str) -> None:
    """Which one a proxy in front went by, nobody knows."""
    twice = head("/healthz", "GET").replace(b"\r\n", f"\r\n{name}: evil.example\r\n".encode(), 1)
    assert re.match(rb"HTTP/1\.\d 400 ", await said(port, twice))


ODD = {
    "token in no text": head(Authorization="Bearer \xff\xfe"),
    "origin in no text": head(Origin="https://\xff"),
    "path in no text": head(path="/\xff\xfe", method="GET"),
    "quoted path in no text": head(path="/api/avatars/%ff%fe/preview.jpg", method="GET"),
    "query in no text": head(path="/whip?name=%ff", Content_Type="application/sdp", Content_Length="0"),
    "negative length": head(Content_Length="-1"),
    "two framings": head(Content_Length="5", Transfer_Encoding="chunked"),
    "broken chunks": head(Content_Type="application/sdp", Transfer_Encoding="chunked") + b"nonsense\r\n",
    "packed": head(Content_Type="application/sdp", Content_Encoding="gzip", Content_Length="2") + b"\x1f\x8b",
    "unknown expectation": head(Expect="a miracle", Content_Length="0"),
    "upgrade": head("/whip", "GET", Upgrade="websocket", Connection="Upgrade"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "zeros": bytes(1_000) + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_requests(port: int, name: str) -> None:
    answer = await said(port, ODD[name])
    assert answer == b"" or re.match(rb"HTTP/\d\.\d (2|4)\d\d ", answer), answer[:200]
    assert (await said(port, head("/healthz", "GET"))).startswith(b"HTTP/1.1 200 ")  # and goes on serving


async def test_a_flood_is_told_to_wait() -> None:
    registry = SessionRegistry(Avatars([echo_avatar()]))
    server = TestServer(LiveServer(registry, Access(requests_per_s=0.01, burst=20.0)).app())
    await server.start_server()
    async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{server.port}") as http:
        statuses = []
        for _ in range(6):
            async with http.post("/whip", data="x", headers={"Content-Type": "application/sdp"}) as reply:
                statuses.append(reply.status)
        assert statuses == [400, 400, 429, 429, 429, 429]  # an offer counts for five, malformed nine
        assert int(reply.headers["Retry-After"]) > 0
    await server.close()
