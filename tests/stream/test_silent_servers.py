"""STUN and TURN servers that do not answer, or late, hold no answer up; what comes late still helps."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any, cast

import aioice
import aioice.ice
import pytest
from aioice import stun
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import Session
from stream.webrtc.ice_servers import IceServers
from stream.webrtc.media_connection import MediaConnection
from stream.webrtc.negotiation import read_publish_request
from tests.support.direct_call import avatars_of, publish
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Where a STUN and TURN server should be; nobody reads what comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        yield made


def registry_with(*kinds: str, port: int) -> SessionRegistry:
    urls = tuple(f"{kind}:127.0.0.1:{port}" for kind in kinds)
    credentials = {"user": "me", "password": "secret"} if "turn" in kinds else {}
    return SessionRegistry(avatars_of(), RegistryConfig(ice_servers=IceServers(urls, **credentials)))


def ice_of(session: Session) -> MediaConnection:
    return cast(MediaConnection, session.peer()._ice())


async def test_the_answer_does_not_wait_for_silent_servers(server: socket.socket) -> None:
    registry = registry_with("stun", "turn", port=server.getsockname()[1])
    session, connection = await publish(registry, grey_camera())
    assert ice_of(session).asks_servers  # the answer came before they were given up
    assert "a=end-of-candidates" not in connection.remoteDescription.sdp
    await until(lambda: session.metrics.received > 3)
    await connection.close()
    await registry.close()
    left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - {asyncio.current_task()}}  # type: ignore[union-attr]
    assert not [name for name in left if "candidate" in name]


async def test_without_servers_the_candidates_are_all(server: socket.socket) -> None:
    registry = registry_with(port=server.getsockname()[1])
    session, connection = await publish(registry, grey_camera())
    assert "a=end-of-candidates" in connection.remoteDescription.sdp
    assert not ice_of(session).asks_servers
    await connection.close()
    await registry.close()


async def test_a_server_that_answers_late_is_heard(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_with("stun", port=server.getsockname()[1])
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(grey_camera(), "sendonly")
    await peer.setLocalDescription()
    request = read_publish_request(peer.localDescription.sdp, None, None)
    session, _ = await registry.create(request)  # the answer does not reach the publisher
    asked, whence = server.recvfrom(2_048)
    response = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE,
        transaction_id=stun.parse_message(asked).transaction_id,
    )
    response.attributes["XOR-MAPPED-ADDRESS"] = ("127.0.0.9", 9)
    server.sendto(bytes(response), whence)
    ice = ice_of(session)
    await until(lambda: not ice.asks_servers)
    assert [one.type for one in ice.local_candidates] == ["host", "srflx"]
    await peer.close()
    await registry.close()


def without_ipv6(sdp: str) -> str:
    return re.sub(r"a=candidate:(\S+ ){4}\S*:.*\r\n", "", sdp)


async def test_a_relay_that_comes_late_carries_the_call(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other path is there: one end has IPv6 alone, the other IPv4.

    The relay is a socket here: what it needs of TURN is aioice's.
    """
    asked = asyncio.Event()

    async def relayed_late(**asking: Any) -> tuple[aioice.Candidate, aioice.ice.StunProtocol]:
        await asked.wait()
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(
            asking["protocol_factory"], local_addr=("127.0.0.1", 0)
        )
        host, port = protocol.transport.get_extra_info("sockname")
        protocol.local_candidate = aioice.Candidate(
            foundation=candidate_foundation("relay", "udp", host),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "relay"),
            host=host,
            port=port,
            type="relay",
        )
        return protocol.local_candidate, protocol

    registry = registry_with("turn", port=server.getsockname()[1])
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(grey_camera(), "sendonly")
    await peer.setLocalDescription()
    request = read_publish_request(without_ipv6(peer.localDescription.sdp), None, None)
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])
    monkeypatch.setattr(aioice.ice, "relayed_candidate", relayed_late)
    session, answer = await registry.create(request)
    await peer.setRemoteDescription(RTCSessionDescription(without_ipv6(answer.sdp), "answer"))
    asked.set()
    await until(lambda: session.metrics.received > 3)
    await peer.close()
    await registry.close()
