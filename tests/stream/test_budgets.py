"""What one client may hold, as accounts keep it and as HTTP asks for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from PIL import Image

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer, StampedCamera
from stream.budgets import Account, Accounts, Budgets
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from tests.support.waiting import WAIT_S


def test_a_lease_gives_back_what_it_took_once() -> None:
    account = Account(Budgets(requests=3, body_bytes=100))
    first, second = account.lease(), account.lease()
    assert first.take("requests", 2)
    assert second.take("requests")
    assert not second.take("requests")
    assert first.take("body_bytes", 100)
    assert not second.take("body_bytes")
    first.give_back("requests")
    first.give_back("requests")
    assert second.take("requests", 2)
    assert not second.take("requests")
    first.give_back()
    assert second.take("body_bytes", 100)
    second.give_back()
    first.give_back()
    assert not +account.held


def test_an_account_lasts_while_something_is_held_on_it() -> None:
    accounts = Accounts(Budgets())
    lease = accounts.of("10.0.0.1").lease()
    lease.take("requests", 5)
    assert accounts.of("10.0.0.1").held["requests"] == 5
    assert accounts.of("10.0.0.2").held["requests"] == 0
    del lease
    gc.collect()
    assert len(accounts._accounts) == 0


@asynccontextmanager
async def serving(budgets: Budgets) -> AsyncIterator[str]:
    registry = SessionRegistry(Avatars([echo_avatar()]), RegistryConfig(budgets=budgets))
    server = TestServer(LiveServer(registry, Access()).app())
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


def request_head(length: int) -> bytes:
    fields = f"Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Length: {length}\r\n"
    return f"POST /api/sessions HTTP/1.1\r\n{fields}Content-Type: application/json\r\n\r\n".encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), WAIT_S)
    return int(line.split()[1])


@pytest.mark.parametrize(
    ("budgets", "words"),
    [(Budgets(body_bytes=50_000), b"too much is being sent"), (Budgets(requests=2), b"too many requests")],
    ids=["bytes", "requests"],
)
async def test_what_is_in_hand_of_one_client_is_bounded(budgets: Budgets, words: bytes) -> None:
    """Three requests whose bodies do not end; the third is one too much, and is told so."""
    async with serving(budgets) as url:
        port = int(url.rpartition(":")[2])
        open_ones = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_head(30_000) + b"x" * 20_000)
            await writer.drain()
            open_ones.append((reader, writer))
            await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head(20_000) + b"x" * 20_000)
        answer = await asyncio.wait_for(reader.readuntil(b"}"), WAIT_S)
        assert b"429" in answer
        assert b"Retry-After" in answer
        assert words in answer
        writer.close()
        for reader, writer in open_ones:  # are heard to their end, and then there is room again
            writer.write(b"x" * 10_000)
            assert await status_of(reader) == 400
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_head(20_000) + b"x" * 20_000)
        assert await status_of(reader) == 400
        writer.close()


async def test_pictures_come_a_few_at_a_time() -> None:
    png = BytesIO()
    Image.new("RGB", (16, 16)).save(png, "PNG")
    async with serving(Budgets(pictures_at_once=3.0)) as url, aiohttp.ClientSession() as http:
        peer = AiortcPeer(url, StampedCamera(lambda _: None, 20.0))  # type: ignore[arg-type, return-value]
        body = await peer.offer()
        async with http.post(f"{url}/api/sessions", json=body) as reply:
            session = await reply.json()
        where = f"{url}/api/sessions/{session['id']}/background"
        statuses = []
        for _ in range(4):
            headers = {"Content-Type": "image/png"}
            async with http.put(where, data=png.getvalue(), headers=headers) as reply:
                statuses.append(reply.status)
        assert statuses == [200, 200, 200, 429]
        assert 1 <= int(reply.headers["Retry-After"]) <= 11
        await peer.close()


async def test_offers_that_connect_to_nothing_are_few_for_one_client() -> None:
    async with serving(Budgets(connecting=2)) as url, aiohttp.ClientSession() as http:
        peers, statuses = [], []
        for _ in range(3):
            peer = AiortcPeer(url, StampedCamera(lambda _: None, 20.0))  # type: ignore[arg-type, return-value]
            peers.append(peer)
            async with http.post(f"{url}/api/sessions", json=await peer.offer()) as reply:
                statuses.append(reply.status)
        assert statuses == [200, 200, 429]
        for peer in peers:
            await peer.close()
