"""Connections of HTTP clients from accept() on: how many one client has, and who gives way to the next.

asyncio's own server shows a connection only once its TLS handshake is over, so that silent ones held every
descriptor of the process for a minute. Here each counts from its first packet. A connection without a request
in hand gives way, the one that was silent longest first: whoever asks is always served.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from aiohttp import web

from stream import tasks
from stream.budgets import Budgets, RateLimiter
from stream.http.client_address import Network, client_key, is_among

logger = logging.getLogger(__name__)

_MOST_WITHOUT_LIMIT = 512  # connections, where the system does not say how many descriptors there are
_NO_DESCRIPTOR_S = 0.05  # to wait for one to be free
_BREATH_S = 0.05  # after one was turned away: to wake for each of a flood costs more than to close them
_MOST_IN_A_ROW = 64  # taken in without a turn for others


@dataclass(eq=False)
class _Connection:
    client: str | None  # None: a proxy, which has many
    protocol: asyncio.BaseProtocol
    accepted: socket.socket | None  # until the handshake begins
    requests: int = 0  # in hand
    transport: asyncio.Transport | None = None  # None: the handshake goes on
    handshake: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        if self.transport is not None:
            return self.transport.is_closing()
        return self.handshake is not None and self.handshake.done()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()
            if self.accepted is not None:
                self.accepted.close()


class Door:
    """Use: open(), busy() around each request, close(). Event loop only."""

    def __init__(self, budgets: Budgets, proxies: Sequence[Network], turned_away: Callable[[], None]) -> None:
        """proxies: whose connections are not one client's; turned_away: called for each that is closed."""
        self._budgets = budgets
        self._proxies = proxies
        self._tell_turned_away = turned_away
        self._turned_away_count = 0
        self._rates = RateLimiter(budgets.connections_per_s, budgets.connections_at_once)
        self._connections: dict[asyncio.BaseProtocol, _Connection] = {}  # silent longest first
        self._most = most_connections()
        self._accepting: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        self._forget_closed()
        return len(self._connections)

    def open(self, listener: socket.socket, server: web.Server, tls: ssl.SSLContext | None) -> None:
        """Begin to accept. listener: non-blocking; closed by its owner, after close()."""
        self._accepting = tasks.start(self._accept(listener, server, tls), "accept")

    async def close(self) -> None:
        """Accept no more, and give up handshakes. Connections that are up are the server's to close."""
        waiting = [one for one in self._connections.values() if one.transport is None]
        if self._accepting is not None:
            self._accepting.cancel()
        for one in waiting:
            one.close()
        begun = [self._accepting, *(one.handshake for one in waiting)]
        await asyncio.gather(*(task for task in begun if task is not None), return_exceptions=True)

    @contextmanager
    def busy(self, protocol: asyncio.BaseProtocol) -> Iterator[None]:
        """Inside, this connection does not give way to others."""
        connection = self._connections.get(protocol)
        if connection is None:  # came by another door
            yield
            return
        connection.requests += 1
        try:
            yield
        finally:
            connection.requests -= 1
            if self._connections.pop(protocol, None) is not None:
                self._connections[protocol] = connection  # was silent least long

    async def _accept(self, listener: socket.socket, server: web.Server, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            turned_away = self._turned_away_count
            try:
                first = await loop.sock_accept(listener)
                for accepted, address in chain([first], islice(_waiting(listener), _MOST_IN_A_ROW)):
                    tasks.guard("accept", None, self._admit, accepted, str(address[0]), server, tls)
            except OSError as error:  # no descriptor is left, or whoever came has gone
                logger.warning("a connection could not be accepted: %s", error)
                self._make_room(None)
                await asyncio.sleep(_NO_DESCRIPTOR_S)
            else:
                await asyncio.sleep(_BREATH_S if self._turned_away_count > turned_away else 0)

    def _admit(
        self, accepted: socket.socket, address: str, server: web.Server, tls: ssl.SSLContext | None
    ) -> None:
        client = None if is_among(address, self._proxies) else client_key(address, (), ())
        if client is not None and self._rates.take(client, 1.0, time.monotonic()):
            accepted.close()
            self._turn_away()
            return
        self._forget_closed()
        mine = sum(one.client == client for one in self._connections.values())
        has_room = client is None or mine < self._budgets.connections or self._make_room(client)
        if not has_room or (len(self._connections) >= self._most and not self._make_room(None)):
            accepted.close()
            self._turn_away()
            return
        connection = _Connection(client, server(), accepted)
        self._connections[connection.protocol] = connection
        connection.handshake = tasks.start(self._greet(connection, tls), "handshake", expected=(OSError,))

    async def _greet(self, connection: _Connection, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        accepted, connection.accepted = connection.accepted, None
        assert accepted is not None
        transport, _ = await loop.connect_accepted_socket(
            lambda: connection.protocol,
            accepted,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self._budgets.handshake_s,
        )
        connection.transport = transport

    def _turn_away(self) -> None:
        self._turned_away_count += 1
        self._tell_turned_away()

    def _make_room(self, client: str | None) -> bool:
        """Close the connection of this client, or of any, that was silent longest; False where none is."""
        for connection in self._connections.values():
            if connection.requests == 0 and client in (None, connection.client):
                connection.close()
                self._connections.pop(connection.protocol)
                self._turn_away()
                return True
        return False

    def _forget_closed(self) -> None:
        closed = [protocol for protocol, one in self._connections.items() if one.is_closed]
        for protocol in closed:
            del self._connections[protocol]


def _waiting(listener: socket.socket) -> Iterator[tuple[socket.socket, Any]]:
    """Whoever waits to be accepted now. Raises OSError as accept() does."""
    with suppress(BlockingIOError):
        while True:
            accepted, address = listener.accept()
            accepted.setblocking(False)
            yield accepted, address


def most_connections() -> int:
    """Half of the descriptors that this process may have; the others are for media and files."""
    if sys.platform == "win32":
        return _MOST_WITHOUT_LIMIT
    import resource  # not there on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_WITHOUT_LIMIT if soft == resource.RLIM_INFINITY else max(soft // 2, 16)
