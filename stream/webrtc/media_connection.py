"""The sockets that media comes in by: on which addresses and ports they are, each behind the datagram filter.

aioice opens one on every address of the machine, at any port, and reads without end what comes. Those of a
server that only this machine may reach take nothing from another machine's address. They are not on loopback
addresses alone, for Firefox pairs no address of its own with one of these; and Linux gives what a machine
sends to itself the interface of its address, so they cannot be bound to the loopback interface either.

Reaches into aiortc 1.16 and aioice 0.13; tests/stream/test_datagrams.py fails when a new version moves what
it relies on.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

import aioice
import aioice.ice
from aioice import turn
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCIceGatherer

from stream.refusal import RequestRefused
from stream.webrtc.datagram_filter import FULL, FilteredProtocol

logger = logging.getLogger(__name__)

SERVERS_WAIT_S = 0.5  # an answer waits so long for STUN and TURN servers
SERVERS_LIMIT_S = 10.0  # what comes until then still helps
MOST_WAITING = 1_024  # datagrams for DTLS and SRTP that nobody has taken up: 4 s of a camera's
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class MediaSockets:
    """Where connections open their sockets, and who hears of what is dropped there."""

    dropped: Callable[[str], None]  # gets one of stream.webrtc.datagram_filter.REASONS for each datagram
    loopback_only: bool = True  # nothing comes in from another machine
    ports: range | None = None  # UDP; None: any that is free

    def each(self) -> int:
        """How many sockets a connection opens, without one to a TURN server."""
        return len(aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True))

    def use(self, gatherer: RTCIceGatherer) -> None:
        """Let the connection of this gatherer, which has not gathered yet, open its sockets so."""
        connection = gatherer._connection
        if connection._local_candidates_start:
            raise RuntimeError("the gatherer has opened its sockets already")
        connection.__class__ = MediaConnection  # aiortc makes it, and has no way to be given another
        cast(MediaConnection, connection).sockets = self

    def open(self, address: str) -> socket.socket:
        """A socket on an address of this machine. Raises OSError, EADDRINUSE where no port is free."""
        if self.ports is None:
            return _bound(address, 0)
        for port in random.sample(self.ports, len(self.ports)):
            try:
                return _bound(address, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, "all of its media ports are in use")


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


_Found = tuple[aioice.Candidate, aioice.ice.StunProtocol | None]  # the protocol of a relayed address


def _found(task: asyncio.Task[_Found]) -> _Found | None:
    """What a STUN or TURN server gave; None: nothing."""
    if task.cancelled():
        return None
    if error := task.exception():
        logger.info("a STUN or TURN server gave no address: %s", str(error) or type(error).__name__)
        return None
    return task.result()


class MediaConnection(aioice.Connection):
    """An ICE connection whose sockets are all filtered, and whose queue does not grow without end."""

    sockets: MediaSockets
    _sources: frozenset[str] | None = None  # addresses that datagrams may come from; None: any
    _asking: frozenset[asyncio.Task[_Found]] = frozenset()  # servers that have not answered yet

    @property
    def asks_servers(self) -> bool:
        """More candidates of our own may come."""
        return bool(self._asking)

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: float = SERVERS_WAIT_S
    ) -> list[aioice.Candidate]:
        """Open the sockets; ask the STUN and TURN servers.

        What takes longer than `timeout` s is not in the answer. A relayed address that comes later than that
        is one to send from: its checks tell the other side of it.
        Raises RequestRefused (503) where a range of ports is set and none of it is free.
        """
        if self.sockets.loopback_only:
            self._sources = frozenset({*LOOPBACK, *addresses})
        hosts = await self._open_hosts(component, addresses)
        self._protocols += hosts
        candidates = [protocol.local_candidate for protocol in hosts]
        asked: list[Coroutine[Any, Any, _Found]] = []
        if self.stun_server is not None:
            asked += [
                aioice.ice.server_reflexive_candidate(protocol, self.stun_server)
                for protocol in hosts
                if ":" not in protocol.local_candidate.host
            ]
        if self.turn_server is not None:
            asked.append(
                aioice.ice.relayed_candidate(
                    component=component,
                    hide_related_address=self._transport_policy is aioice.TransportPolicy.RELAY,
                    protocol_factory=self._protocol,
                    turn_server=self.turn_server,
                    turn_username=self.turn_username,
                    turn_password=self.turn_password,
                    turn_ssl=self.turn_ssl,
                    turn_transport=self.turn_transport,
                )
            )
        if not asked:
            return candidates
        asking = [asyncio.create_task(asyncio.wait_for(each, SERVERS_LIMIT_S)) for each in asked]
        try:
            done, late = await asyncio.wait(asking, timeout=timeout)
        except asyncio.CancelledError:
            for task in asking:
                task.cancel()
            raise
        for task in done:
            if (found := _found(task)) is not None:
                candidates.append(found[0])
                self._take_relay(found[1])
        self._asking = frozenset(late)
        for task in late:
            task.add_done_callback(self._take_late)
        return candidates

    def _take_late(self, task: asyncio.Task[_Found]) -> None:
        """A server has answered, or will not."""
        self._asking -= {task}
        if (found := _found(task)) is not None:
            candidate, relay = found
            if self._check_list_done:  # a path is found, or it is all over
                if relay is not None:
                    relay.transport.close()
            else:
                self._local_candidates.append(candidate)
                self._take_relay(relay)
        if self._early_checks_done and not self._check_list_done:
            self._check_list_maybe_fail()

    def _take_relay(self, relay: aioice.ice.StunProtocol | None) -> None:
        if relay is None:
            return
        self._protocols.append(relay)
        for remote in self._remote_candidates:
            self._pair_remote_candidate(remote)
        self.sort_check_list()

    def _remote_candidates_expected(self) -> bool:
        """Whether checks go on: more candidates of the other end may come, or of ours."""
        return self.asks_servers or super()._remote_candidates_expected()

    async def close(self) -> None:
        """Close the connection."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await super().close()

    async def _open_hosts(self, component: int, addresses: list[str]) -> list[FilteredProtocol]:
        hosts = []
        full = False
        for address in addresses:
            try:
                hosts.append(await self._open(address, component))
            except OSError as error:
                logger.info("no media socket on %s (%s)", address, error.strerror)
                full = full or error.errno == errno.EADDRINUSE
        if full and not hosts:
            raise RequestRefused(
                503, "all media ports are in use: end a session, or serve with more --media-ports"
            )
        return hosts

    async def _open(self, address: str, component: int) -> FilteredProtocol:
        sock = self.sockets.open(address)
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(self._protocol, sock=sock)
        host, port = sock.getsockname()[:2]
        protocol.local_candidate = aioice.Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=host,
            port=port,
            type="host",
        )
        return protocol

    def _protocol(self) -> FilteredProtocol:
        return FilteredProtocol(self, self.sockets.dropped, self._sources)

    def check_state(self, pair: aioice.ice.CandidatePair, state: aioice.ice.CandidatePair.State) -> None:
        """A check has come this far."""
        super().check_state(pair, state)
        if state is aioice.ice.CandidatePair.State.SUCCEEDED and isinstance(pair.protocol, FilteredProtocol):
            pair.protocol.let_in(pair.remote_addr)

    def data_received(self, data: bytes, component: int) -> None:
        """A datagram for DTLS or SRTP."""
        if self._queue.qsize() >= MOST_WAITING:
            self.sockets.dropped(FULL)
        else:
            super().data_received(data, component)
