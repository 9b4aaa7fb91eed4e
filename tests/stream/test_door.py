"""Connections that say nothing hold nobody up: whoever asks is served, with TLS and without."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from benchmarks.live.echo_server import echo_avatar
from stream.budgets import Budgets
from stream.http.door import Door
from stream.http.exposure import listen
from stream.http.security import Access
from stream.http.server import CONNECTION_LIMITS, LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from tests.support.certificate import certificate_for_this_machine
from tests.support.waiting import WAIT_S

MANY = Budgets(connections_per_s=1e4, connections_at_once=1e4, handshake_s=10 * WAIT_S)
HANDSHAKE_S = Budgets().handshake_s


class Served:
    """A server behind its door, and those who come to it."""

    def __init__(self, live: LiveServer, port: int, trusted: ssl.SSLContext | None) -> None:
        self.live = live
        self.port = port
        self.url = f"{'http' if trusted is None else 'https'}://127.0.0.1:{port}"
        self._trusted = trusted
        self._silent: list[socket.socket] = []

    @property
    def door(self) -> Door:
        return self.live.door

    async def silent(self, count: int, source: str = "127.0.0.1") -> list[socket.socket]:
        """So many connections that say nothing."""
        loop, made = asyncio.get_running_loop(), []
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            one.bind((source, 0))
            await loop.sock_connect(one, ("127.0.0.1", self.port))
            made.append(one)
        await asyncio.sleep(0.05)
        self._silent += made
        return made

    async def ask(self) -> int:
        """The status of a request over a connection of its own."""
        connector = aiohttp.TCPConnector(ssl=self._trusted or False)
        async with aiohttp.ClientSession(connector=connector) as http:
            return (await http.get(f"{self.url}/healthz")).status

    def close(self) -> None:
        for one in self._silent:
            one.close()


@asynccontextmanager
async def served(
    budgets: Budgets, tls: tuple[Path, Path] | None = None, access: Access | None = None
) -> AsyncIterator[Served]:
    registry = SessionRegistry(Avatars([echo_avatar()]), RegistryConfig(budgets=budgets))
    live = LiveServer(registry, access or Access())
    runner = web.AppRunner(live.app(), access_log=None, **CONNECTION_LIMITS)
    await runner.setup()
    assert runner.server is not None
    ours = theirs = None
    if tls is not None:
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(*tls)
        theirs = ssl.create_default_context(cafile=str(tls[0]))
    with listen("127.0.0.1", 0) as listener:
        live.door.open(listener, runner.server, ours)
        server = Served(live, listener.getsockname()[1], theirs)
        yield server
        server.close()
        await live.door.close()
        await runner.cleanup()


async def is_closed(one: socket.socket) -> bool:
    """By the other end, soon."""
    try:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 1), WAIT_S)
    except ConnectionError:
        return True
    return data == b""


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    return certificate_for_this_machine(tmp_path)


@pytest.mark.parametrize("with_tls", [False, True])
async def test_silent_connections_give_way_to_whoever_asks(
    with_tls: bool, tls_files: tuple[Path, Path]
) -> None:
    """300 of them held every descriptor for 51 s: a TLS handshake that does not begin is not counted."""
    async with served(MANY, tls_files if with_tls else None) as server:
        for _ in range(3):
            silent = await server.silent(50)
            assert len(server.door) <= Budgets().connections
            assert await asyncio.wait_for(server.ask(), WAIT_S) == 200
        assert await is_closed(silent[0])
        text, _ = server.live.registry.telemetry.exposition(0)
        assert b"avatarcast_connections_turned_away_total 0.0" not in text


async def test_a_handshake_that_never_ends_is_given_up(tls_files: tuple[Path, Path]) -> None:
    async with served(Budgets(handshake_s=HANDSHAKE_S / 10), tls_files) as server:
        (silent,) = await server.silent(1)
        assert len(server.door) == 1
        assert await asyncio.wait_for(is_closed(silent), 0.8 * HANDSHAKE_S)
        assert len(server.door) == 0
        assert await server.ask() == 200


async def test_a_connection_with_a_request_in_hand_does_not_give_way() -> None:
    async with served(replace(MANY, connections=2)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Origin: http://127.0.0.1\r\nContent-Length: 5\r\n\r\n{"
        )
        await asyncio.sleep(0.1)
        await server.silent(10)
        assert await server.ask() == 200
        writer.write(b'"a":')
        assert b"400 Bad Request" in await asyncio.wait_for(reader.read(100), WAIT_S)  # heard to its end
        writer.close()


async def test_a_client_that_comes_too_often_waits_and_others_do_not() -> None:
    async with served(Budgets(connections_per_s=0.1, connections_at_once=5.0)) as server:
        silent = await server.silent(10, source="127.0.0.2")
        assert await is_closed(silent[-1])
        assert len(server.door) == 5
        assert await server.ask() == 200  # from another address


async def test_all_clients_together_leave_descriptors_for_the_media() -> None:
    async with served(MANY) as server:
        server.door._most = 20
        for host in range(2, 7):
            await server.silent(10, source=f"127.0.0.{host}")
            assert len(server.door) <= 20
        assert await server.ask() == 200


async def test_a_trusted_proxy_may_have_many() -> None:
    proxies = (ip_network("127.0.0.0/24"),)
    few = Budgets(connections=2, connections_at_once=2.0)
    async with served(few, access=Access(proxies=proxies)) as server:
        await server.silent(10)
        assert len(server.door) == 10


async def test_where_no_descriptor_is_left_a_silent_connection_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, 3

    async def sock_accept(listener: socket.socket) -> Any:
        nonlocal failures
        accepted = await accept(listener)
        if failures:
            failures -= 1
            accepted[0].close()
            raise OSError(errno.EMFILE, "Too many open files")
        return accepted

    async with served(Budgets()) as server:
        (first,) = await server.silent(1)
        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        await server.silent(1)
        await server.silent(3)
        assert await is_closed(first)
        assert await server.ask() == 200


async def test_a_flood_that_is_turned_away_wakes_the_server_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, woken = asyncio.get_running_loop(), 0
    accept = loop.sock_accept

    async def sock_accept(listener: socket.socket) -> Any:
        nonlocal woken
        accepted = await accept(listener)
        woken += 1
        return accepted

    async with served(Budgets(connections_at_once=2.0, connections_per_s=0.01)) as server:
        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        flood = await asyncio.gather(*(server.silent(1, source="127.0.0.2") for _ in range(60)))
        assert await is_closed(flood[-1][0])
        assert woken < 20  # was once for each
        assert await server.ask() == 200  # from another address
