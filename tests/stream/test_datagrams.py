"""What strangers send to a media port ends nothing, grows nothing and is counted."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import aioice
import pytest
from aioice import mdns, stun, turn
from aiortc import RTCDtlsTransport, RTCIceGatherer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.live.peer import AiortcPeer
from benchmarks.robustness.datagrams import corpus
from stream.refusal import RequestRefused
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.webrtc import datagram_filter
from stream.webrtc.datagram_filter import (
    MOST_AT_ONCE,
    MOST_BYTES,
    MOST_SOURCES,
    FilteredProtocol,
    QuietMdnsProtocol,
    has_plaintext_alert,
    parse_without_surprise,
)
from stream.webrtc.media_connection import MOST_WAITING, MediaConnection, MediaSockets
from tests.support.direct_call import WatchingPeer, avatars_of, present, publish
from tests.support.grey_camera import grey_camera
from tests.support.waiting import WAIT_S, until

EXAMPLES = int(os.environ.get("AVATARCAST_FUZZ_EXAMPLES", "400"))
ALERT = bytes.fromhex("15fefd0000000000000000000202") + b"\x28"  # fatal: handshake_failure
MALFORMED_STUN = bytes.fromhex("000300082112a442bb46e1769b59d9b9b886adb1000d0001fa000000")
UNREADABLE = {
    datagram_filter.EMPTY: b"",
    datagram_filter.TOO_LONG: b"\x80" * (MOST_BYTES + 1),
    datagram_filter.KIND: b"\xff" * 100,
    datagram_filter.BROKEN: MALFORMED_STUN,
}
FOREIGN = [ALERT, b"\x16" * 200, b"\x80\x60" + bytes(200), b"\x80\xc8" + bytes(40)]
HERE, MOVED = ("127.0.0.1", 40_000), ("127.0.0.1", 40_001)


@pytest.fixture
async def registry() -> AsyncIterator[SessionRegistry]:
    made = SessionRegistry(avatars_of())
    yield made
    await made.close()


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield made


def dropped(registry: SessionRegistry) -> dict[str, int]:
    """Datagrams by reason, those that there were."""
    (metric,) = registry.telemetry._datagrams.collect()
    return {
        one.labels["reason"]: int(one.value) for one in metric.samples if one.value and "total" in one.name
    }


def ports(connection: aioice.Connection) -> list[tuple[str, int]]:
    """Where a connection of ours listens, IPv4."""
    assert connection._protocols
    assert all(isinstance(protocol, FilteredProtocol) for protocol in connection._protocols)
    names = [protocol.transport.get_extra_info("sockname") for protocol in connection._protocols]
    return [name for name in names if ":" not in name[0]]


async def test_strangers_end_no_call(registry: SessionRegistry, stranger: socket.socket) -> None:
    peer = AiortcPeer("", grey_camera())
    session = await present(registry, peer)
    viewer = WatchingPeer()
    await viewer.watch(session)
    await until(lambda: len(viewer.arrivals) > 3)
    for viewed in (None, viewer.viewer_id):
        for port in ports(session.peer(viewed)._ice()):
            for blob in [*UNREADABLE.values(), *FOREIGN]:
                stranger.sendto(blob, port)
    await until(lambda: set(dropped(registry)) >= {*UNREADABLE, datagram_filter.STRANGER})
    seen, received = len(viewer.arrivals), session.metrics.received
    await until(lambda: len(viewer.arrivals) > seen + 10 and session.metrics.received > received + 10)
    assert peer.state == viewer.connection.connectionState == "connected"
    await viewer.close()
    await peer.close()


async def test_forged_in_the_callers_name_they_end_none_either(registry: SessionRegistry) -> None:
    """A source address is easily forged, so nothing unprotected may do harm, even from the right one."""
    session, connection = await publish(registry, grey_camera())
    await until(lambda: session.metrics.received > 3)
    pair = connection.getTransceivers()[0].receiver.transport.transport._connection._nominated[1]
    raw = getattr(pair.protocol.transport, "_sock")  # noqa: B009  asyncio itself sends nothing empty
    longer = [b"\x80\x60" + bytes(size) for size in (MOST_BYTES - 2, MOST_BYTES, 9_000)]
    short = [bytes([first]) * size for first in (0, 22, 64, 128, 255) for size in (1, 2, 11, 20)]
    for blob in [*UNREADABLE.values(), *FOREIGN, *longer, *short]:
        raw.sendto(blob, pair.remote_addr)
    await until(lambda: set(dropped(registry)) >= {*UNREADABLE, datagram_filter.ALERT})
    received = session.metrics.received
    await until(lambda: session.metrics.received > received + 10)
    assert connection.connectionState == "connected"
    await connection.close()


@pytest.mark.parametrize(
    "blob", [b"", ALERT, MALFORMED_STUN, b"\x16" * 200], ids=["empty", "alert", "stun", "dtls"]
)
async def test_before_the_handshake_a_stranger_stops_no_call(
    registry: SessionRegistry, stranger: socket.socket, blob: bytes
) -> None:
    peer = AiortcPeer("", grey_camera())
    take_answer = peer.take_answer

    async def later(sdp: str) -> None:
        for session in registry:
            for port in ports(session.peer()._ice()):
                stranger.sendto(blob, port)
        await until(lambda: dropped(registry))
        await take_answer(sdp)

    peer.take_answer = later  # type: ignore[method-assign]
    session = await present(registry, peer)
    await until(lambda: session.metrics.received > 3)
    assert sum(dropped(registry).values()) >= 1
    await peer.close()


async def test_a_forged_alert_of_the_caller_ends_no_handshake(
    registry: SessionRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = RTCDtlsTransport.start

    async def start_with_alert(self: RTCDtlsTransport, parameters: Any) -> None:
        if not isinstance(self.transport._connection, MediaConnection):  # the caller's end
            for _ in range(3):
                await self.transport._send(ALERT)
        await start(self, parameters)

    monkeypatch.setattr(RTCDtlsTransport, "start", start_with_alert)
    session, connection = await publish(registry, grey_camera())
    await until(lambda: session.metrics.received > 3)
    assert dropped(registry)[datagram_filter.ALERT] >= 1
    await connection.close()


async def filtered(loopback_only: bool = True) -> tuple[FilteredProtocol, Counter[str]]:
    """A socket that nobody has called yet, and what it leaves out."""
    parse_without_surprise()
    gatherer, counts = RTCIceGatherer([]), Counter[str]()
    sockets = MediaSockets(lambda reason: counts.update([reason]), loopback_only)
    sockets.use(gatherer)
    await gatherer.gather()
    with pytest.raises(RuntimeError, match="already"):
        sockets.use(gatherer)
    protocol = gatherer._connection._protocols[0]
    assert isinstance(protocol, FilteredProtocol)
    return protocol, counts


def check(protocol: FilteredProtocol, password: str | None = None, priority: bool = True) -> bytes:
    """A binding request as the other end of this connection sends it."""
    connection = protocol.receiver
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{connection.local_username}:them"
    if priority:
        request.attributes["PRIORITY"] = 1
    request.add_message_integrity((password or connection.local_password).encode())
    return bytes(request)


async def test_what_waits_for_the_connection_is_bounded() -> None:
    """A session that nobody goes on with holds 1.5 MB at most, whoever sends what."""
    protocol, counts = await filtered()
    hello = b"\x16\xfe\xfd" + bytes(500)
    for _ in range(3 * MOST_WAITING):
        protocol.datagram_received(hello, HERE)
    assert counts == {datagram_filter.STRANGER: 3 * MOST_WAITING}
    protocol.let_in(HERE)
    for _ in range(3 * MOST_WAITING):
        protocol.datagram_received(hello, HERE)
    assert protocol.receiver._queue.qsize() == MOST_WAITING
    assert counts[datagram_filter.FULL] == 2 * MOST_WAITING
    await protocol.receiver.close()


async def test_whoever_proves_the_password_is_heard() -> None:
    """The other end may begin with DTLS before our check of it is answered, or on a pair that we never check:

    aioice ends its checks with the first pair that is nominated. Waiting for them left one call in fifty
    without a handshake.
    """
    protocol, counts = await filtered()
    hello = b"\x16\xfe\xfd" + bytes(50)
    protocol.datagram_received(hello, HERE)
    protocol.datagram_received(check(protocol), HERE)
    protocol.datagram_received(hello, MOVED)
    protocol.datagram_received(ALERT, HERE)
    assert protocol.receiver._queue.empty()
    protocol.datagram_received(hello, HERE)
    assert protocol.receiver._queue.get_nowait() == (hello, 1)
    assert counts == {datagram_filter.STRANGER: 2, datagram_filter.ALERT: 1}
    await protocol.receiver.close()


async def test_a_check_without_the_password_gets_no_answer(stranger: socket.socket) -> None:
    protocol, counts = await filtered()
    address = protocol.transport.get_extra_info("sockname")
    stranger.settimeout(WAIT_S)
    forged = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    for blob in (bytes(forged), check(protocol, "x" * 22), check(protocol, priority=False), bytes(answer)):
        stranger.sendto(blob, address)
    good = check(protocol)
    stranger.sendto(good, address)
    reply = await asyncio.get_running_loop().run_in_executor(None, stranger.recv, 2_048)
    assert stun.parse_message(reply).transaction_id == good[8:20]  # the only answer, and the first
    assert counts == {datagram_filter.BROKEN: 2, datagram_filter.PASSWORD: 1, datagram_filter.UNASKED: 1}
    await protocol.receiver.close()


@pytest.mark.skipif(sys.platform == "win32", reason="the system reads ahead by itself")
async def test_what_waits_is_read_in_one_go(stranger: socket.socket) -> None:
    """A turn of the loop for each lets a flood fill the buffer, where a call's own datagrams are lost."""
    protocol, counts = await filtered()
    for _ in range(MOST_AT_ONCE):
        stranger.sendto(b"\x80" * 100, protocol.transport.get_extra_info("sockname"))
    for _ in range(4):
        await asyncio.sleep(0)
    assert counts == {datagram_filter.STRANGER: MOST_AT_ONCE}
    await protocol.receiver.close()


async def test_one_caller_has_a_bounded_number_of_addresses() -> None:
    protocol, counts = await filtered()
    for port in range(1, 2 * MOST_SOURCES + 1):
        protocol.datagram_received(check(protocol), ("127.0.0.1", port))
    assert counts == {datagram_filter.SOURCES: MOST_SOURCES}
    await protocol.receiver.close()


async def test_local_means_local() -> None:
    """A server that only this machine may reach hears nobody else, not even with the right password."""
    protocol, counts = await filtered()
    addresses = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    for number, address in enumerate(["127.0.0.1", "::1", *addresses], 1):
        protocol.datagram_received(check(protocol), (address, 40_000))
        assert len(protocol.receiver._early_checks) == number
    for address in ("192.0.2.77", "10.0.0.9", "2001:db8::1"):
        protocol.datagram_received(check(protocol), (address, 40_000))
    assert counts == {datagram_filter.ELSEWHERE: 3}
    await protocol.receiver.close()
    anybodys, counts = await filtered(loopback_only=False)
    anybodys.datagram_received(check(anybodys), ("192.0.2.77", 40_000))
    assert len(anybodys.receiver._early_checks) == 1
    await anybodys.receiver.close()


async def test_media_comes_in_by_the_ports_that_are_set() -> None:
    """Each connection takes one port of the range; when there is none left it is refused, and told why."""
    wanted = free_ports(2)
    registry = SessionRegistry(avatars_of(), RegistryConfig(max_sessions=3, media_ports=wanted))
    calls = [await publish(registry, grey_camera()) for _ in wanted]
    for session, _ in calls:
        await until(lambda: session.metrics.received > 3)  # noqa: B023  awaited here
    used = [{port for _, port in ports(session.peer()._ice())} for session, _ in calls]
    assert set.union(*used) == {*wanted}
    with pytest.raises(RequestRefused, match=r"all media ports are in use: .* --media-ports") as refusal:
        await publish(registry, grey_camera())
    assert refusal.value.status == 503
    assert len(registry) == 2
    with pytest.raises(RequestRefused, match="all media ports are in use") as refusal:
        await calls[0][0].peer().restart_ice("a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n")
    assert refusal.value.status == 503
    received = calls[0][0].metrics.received
    await until(lambda: calls[0][0].metrics.received > received + 3)
    for _, connection in calls:
        await connection.close()
    await registry.close()


def free_ports(count: int) -> range:
    """So many UDP ports in a row that nobody has on 127.0.0.1."""
    for first in range(40_000, 60_000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(
                    ("127.0.0.1", port)
                )
            return range(first, first + count)
    raise OSError("no free ports")


def test_alerts_are_found_wherever_they_stand() -> None:
    hello = b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", 30) + bytes(30)
    protected = ALERT[:3] + b"\0\1" + ALERT[5:]
    assert has_plaintext_alert(ALERT)
    assert has_plaintext_alert(hello + ALERT)
    assert not has_plaintext_alert(hello + hello)
    assert not has_plaintext_alert(protected)
    assert not has_plaintext_alert(ALERT[:12])
    assert not has_plaintext_alert(b"\x2f" + ALERT)  # a record of DTLS 1.3, which is protected


SEEDS = corpus()
ATTRIBUTE = st.tuples(
    st.sampled_from(sorted(stun.ATTRIBUTES_BY_TYPE)) | st.integers(0, 65_535), st.binary(max_size=24)
)
ATTRIBUTES = st.lists(ATTRIBUTE, max_size=5)
KIND = st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011]) | st.integers(0, 0x3FFF)


def stun_message(kind: int, attributes: list[tuple[int, bytes]], transaction: bytes) -> bytes:
    body = b"".join(
        struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    return struct.pack("!HHI", kind, len(body), stun.COOKIE) + transaction + body


def with_faults(seed: bytes, faults: list[tuple[int, int]], length: int) -> bytes:
    data = bytearray(seed)
    for place, value in faults:
        if data:
            data[place % len(data)] = value
    return bytes(data[: length % (len(data) + 1)])


FAULTS = st.lists(st.tuples(st.integers(0, 1_500), st.integers(0, 255)), max_size=6)
DATAGRAMS = (
    st.binary(max_size=100)
    | st.builds(with_faults, st.sampled_from(SEEDS), FAULTS, st.integers(0, 1_500))
    | st.builds(stun_message, KIND, ATTRIBUTES, st.binary(min_size=12, max_size=12))
)


def signed(attributes: list[tuple[int, bytes]], connection: aioice.Connection) -> bytes:
    """A check that proves the password and has any attributes besides."""
    user = f"{connection.local_username}:{connection.remote_username}".encode()
    message = stun_message(0x0001, [(0x0006, user), (0x0024, b"\0\0\0\1"), *attributes], bytes(12))
    message = message[:2] + struct.pack("!H", len(message) - 20 + 24) + message[4:]
    return (
        message + struct.pack("!HH", 8, 20) + hmac.digest(connection.local_password.encode(), message, "sha1")
    )


class Wire:
    """Two connections of ICE that are up; what is fed to the first, and what came of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.failures: list[Any] = []
        self.counts = Counter[str]()
        loop.set_exception_handler(lambda _, context: self.failures.append(context))

    async def open(self) -> None:
        parse_without_surprise()
        self.ends = [RTCIceGatherer([]), RTCIceGatherer([])]
        for gatherer in self.ends:
            MediaSockets(lambda reason: self.counts.update([reason])).use(gatherer)
            await gatherer.gather()
        self.ours, theirs = self.ends[0]._connection, self.ends[1]._connection
        theirs.ice_controlling = True
        for one, other in ((self.ours, theirs), (theirs, self.ours)):
            one.remote_username, one.remote_password = other.local_username, other.local_password
            for candidate in other.local_candidates:
                await one.add_remote_candidate(candidate)
            await one.add_remote_candidate(None)
        await asyncio.gather(self.ours.connect(), theirs.connect())
        self.pair = self.ours._nominated[1]

    async def feed(self, data: bytes, source: tuple[str, int]) -> None:
        self.pair.protocol.datagram_received(data, source)
        await asyncio.sleep(0)
        assert self.ours._queue.qsize() <= MOST_WAITING
        assert len(self.ours._remote_candidates) <= MOST_SOURCES
        if not self.ours._queue.empty():
            assert source != HERE
            assert self.ours._queue.get_nowait() == (data, 1)
            assert 12 <= len(data) <= MOST_BYTES
            assert 20 <= data[0] < 64 or 128 <= data[0] < 192

    async def close(self) -> None:
        for gatherer in self.ends:
            await gatherer._connection.close()


def test_fuzzed_datagrams(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing raises, nothing is logged, nothing unbounded is kept, and only the other end is passed on."""
    loop = asyncio.new_event_loop()
    wire = Wire(loop)

    @given(DATAGRAMS | ATTRIBUTES, st.booleans())
    @settings(max_examples=EXAMPLES)
    def throw(what: bytes | list[tuple[int, bytes]], forged: bool) -> None:
        stranger, data = (HERE, what) if isinstance(what, bytes) else (MOVED, signed(what, wire.ours))
        loop.run_until_complete(wire.feed(data, wire.pair.remote_addr if forged else stranger))

    try:
        loop.run_until_complete(wire.open())
        caplog.clear()
        with caplog.at_level("WARNING"):
            throw()
        assert not wire.failures
        assert not caplog.records
        assert wire.pair is wire.ours._nominated[1]
    finally:
        loop.run_until_complete(wire.close())
        loop.close()


@given(KIND, ATTRIBUTES, st.binary(min_size=12, max_size=12))
@example(0x3, [(0x000D, b"\xfa")], bytes(12))
@example(0x1, [(0x0009, b"\0\0\4\1\xff")], bytes(12))
def test_the_parser_of_stun_raises_what_it_says(
    kind: int, attributes: list[tuple[int, bytes]], transaction: bytes
) -> None:
    parse_without_surprise()
    with suppress(ValueError):
        stun.parse_message(stun_message(kind, attributes, transaction))


@given(DATAGRAMS)
async def test_whatever_a_turn_server_sends_raises_nothing(data: bytes) -> None:
    parse_without_surprise()
    client = turn.TurnClientUdpProtocol(HERE, "user", "password", 600, 500)
    client.datagram_received(data, HERE)


MDNS_ANSWER = bytes.fromhex("0000840000000001000000000161056c6f63616c000001800100000078000400000000")


@given(DATAGRAMS | st.builds(with_faults, st.just(MDNS_ANSWER), FAULTS, st.integers(0, 60)))
@example(MDNS_ANSWER[:-6] + b"\0\1\0")
async def test_whatever_comes_by_mdns_raises_nothing(data: bytes) -> None:
    parse_without_surprise()
    protocol = mdns.MDnsProtocol()
    assert isinstance(protocol, QuietMdnsProtocol)
    protocol.datagram_received(data, HERE)
