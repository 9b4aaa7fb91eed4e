"""Late candidates and new paths: fragments are checked, and an ICE restart carries a live call over."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aioice
import pytest
from aiortc import RTCConfiguration, RTCIceGatherer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_to_sdp
from hypothesis import given
from hypothesis import strategies as st

from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.webrtc import ice
from stream.webrtc.aiortc_tuning import gather_on_loopback
from stream.webrtc.ice import Fragment, read_fragment
from stream.webrtc.media_connection import MediaSockets
from stream.webrtc.negotiation import read_publish_request
from tests.support.direct_call import WatchingPeer, avatars_of, publish
from tests.support.grey_camera import grey_camera
from tests.support.waiting import WAIT_S, until

HOST = "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host"
CREDENTIALS = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"


def test_a_fragment_as_rfc_9725_shows_one() -> None:
    text = (
        CREDENTIALS + "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + HOST + "\r\n"
        "a=candidate:2 1 udp 1 192.0.2.1 3478 typ srflx raddr 10.0.0.1 rport 1\r\na=end-of-candidates\r\n"
    )
    fragment = read_fragment(text, loopback_only=False)
    assert (fragment.username, fragment.password) == ("abcd", "abcdefghijklmnopqrstuv")
    assert [candidate.ip for candidate in fragment.candidates] == ["127.0.0.1", "192.0.2.1"]
    assert fragment.complete
    kept = read_fragment(text, loopback_only=True)  # no packet to another machine
    assert [candidate.ip for candidate in kept.candidates] == ["127.0.0.1"]
    assert not kept.complete


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=candidate:1 1 udp", "cannot be read"),
        ("a=candidate:1 x udp y 127.0.0.1 z typ host", "cannot be read"),
        ("a=ice-ufrag:a b", "RFC 8839"),
        ("a=ice-pwd:short", "RFC 8839"),
        ("\r\n".join([HOST] * 65), "65 candidates"),
        ("\r\n".join(["a=candidate:x"] * 2_000), "2000 candidates"),  # counted before any is read
    ],
)
def test_fragments_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(RequestRefused, match=words) as refusal:
        read_fragment(text, loopback_only=False)
    assert refusal.value.status == 400


@given(
    text=st.text(max_size=300)
    | st.lists(st.sampled_from([HOST, "a=mid:0", "m=x", "a=candidate:"])).map("\n".join)
)
def test_nothing_in_a_fragment_raises_anything_else(text: str) -> None:
    with contextlib.suppress(RequestRefused):
        assert isinstance(read_fragment(text, loopback_only=True), Fragment)


async def test_a_call_whose_candidates_come_late() -> None:
    """Neither side knows an address of the other from the offer; the fragment brings them."""
    gather_on_loopback()
    registry = SessionRegistry(avatars_of())
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver(grey_camera(), "sendonly")
    await connection.setLocalDescription()
    sdp = connection.localDescription.sdp
    lines = [line for line in sdp.splitlines() if "candidate" in line]
    bare = "\r\n".join(line for line in sdp.splitlines() if line not in lines) + "\r\n"
    session, answer = await registry.create(read_publish_request(bare, None, None))
    theirs = [line for line in answer.sdp.splitlines() if "candidate" not in line]
    await connection.setRemoteDescription(RTCSessionDescription("\r\n".join(theirs) + "\r\n", "answer"))
    await session.peer().add_candidates("\r\n".join(["a=mid:0", *lines]))
    await until(lambda: session.metrics.received > 3)
    await session.peer().add_candidates(HOST)  # after the end of candidates: too late, and no error
    await connection.close()
    await registry.close()


async def test_an_ice_restart_carries_a_live_call_over() -> None:
    """New credentials, new sockets, the same DTLS: the old path is closed and pictures go on.

    Both ends restart with stream.webrtc.ice; the caller plays the browser, in the controlling role.
    """
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera())
    viewer = WatchingPeer()
    await viewer.watch(session)
    await until(lambda: len(viewer.arrivals) > 5)
    transport = connection.getTransceivers()[0].receiver.transport.transport
    old_path, old_tag = transport._connection, session.peer().ice_tag

    gatherer = RTCIceGatherer([])
    await gatherer.gather()
    answer = await session.peer().restart_ice(offered(gatherer))
    assert session.peer().ice_tag != old_tag
    assert answer.startswith("a=group:BUNDLE ")
    with pytest.raises(RequestRefused, match="is going on"):
        await session.peer().restart_ice(offered(gatherer))
    ours = read_fragment(answer, loopback_only=True)
    assert await swapped(transport, gatherer, ours)
    await until(lambda: not old_path._local_candidates)

    assert transport._connection is gatherer._connection
    assert connection.connectionState == "connected"
    received = session.metrics.received
    await until(lambda: session.metrics.received > received + 20)
    assert session.presenter.lost_ns is None
    tag = session.peer().ice_tag
    assert tag not in ("", old_tag)
    await connection.close()
    await until(lambda: session.presenter.lost_ns is not None)  # whose end is still noticed
    await viewer.close()
    await registry.close()


async def test_a_call_that_ends_while_the_old_path_closes_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aioice closes one socket after the other, and cancelled in between it forgets the rest."""
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera())
    await until(lambda: session.metrics.received > 3)
    ours = session.peer()
    transport = ours._transport()
    old_sockets = [protocol.transport for protocol in transport._connection._protocols]
    closing = asyncio.Event()
    close = aioice.ice.StunProtocol.close

    async def close_slowly(self: aioice.ice.StunProtocol) -> None:
        closing.set()
        await asyncio.sleep(0.05)
        await close(self)

    monkeypatch.setattr(aioice.ice.StunProtocol, "close", close_slowly)
    gatherer = RTCIceGatherer([])
    await gatherer.gather()
    answer = await session.peer().restart_ice(offered(gatherer))
    theirs = connection.getTransceivers()[0].receiver.transport.transport
    swapping = asyncio.create_task(swapped(theirs, gatherer, read_fragment(answer, loopback_only=True)))
    await until(
        lambda: transport._connection.remote_username == gatherer.getLocalParameters().usernameFragment
    )
    await asyncio.wait_for(closing.wait(), WAIT_S)
    await registry.close()
    assert old_sockets
    assert all(socket.is_closing() for socket in old_sockets)
    await swapping
    await connection.close()


async def test_a_restart_that_comes_to_nothing_leaves_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "RESTART_LIMIT_S", 0.2)
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera())
    with pytest.raises(RequestRefused, match="a restart needs a live path") as refusal:
        await session.peer().restart_ice(CREDENTIALS)
    assert refusal.value.status == 422
    await until(lambda: session.metrics.received > 3)
    with pytest.raises(RequestRefused, match="needs ice-ufrag and ice-pwd"):
        await session.peer().restart_ice(HOST)
    tag = session.peer().ice_tag
    await session.peer().restart_ice(CREDENTIALS + HOST)  # nobody answers there
    await until(lambda: session.peer().ice_tag == tag)
    received = session.metrics.received
    await until(lambda: session.metrics.received > received + 5)
    await connection.close()
    await registry.close()


async def test_candidates_are_counted_over_the_whole_call() -> None:
    """2,176 of them, 64 at a time, brought another presenter from 26.5 to 1.8 pictures a second."""
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera(), complete=False)
    path = session.peer()._ice()
    offered_already = len(path._remote_candidates)
    assert 0 < offered_already < 30

    def hosts(first: int, count: int) -> str:
        return "\r\n".join(HOST.replace("127.0.0.1", f"127.0.1.{first + number}") for number in range(count))

    await session.peer().add_candidates(hosts(1, 20))
    room = 64 - offered_already - 20
    late = [session.peer().add_candidates(hosts(30 + number, room // 2)) for number in range(40)]  # at once
    results = await asyncio.gather(*late, return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert len(refused) == 38
    assert all(isinstance(one, RequestRefused) and one.status == 400 for one in refused)
    assert "at most 64 are taken" in str(refused[0])
    assert len(path._remote_candidates) <= 64
    await connection.close()
    await registry.close()


async def test_of_many_restarts_at_once_one_is_begun_and_a_minute_has_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether one was going on was looked at before sockets were opened: 40 of 40 passed, 160 sockets."""
    monkeypatch.setattr(ice, "RESTART_LIMIT_S", 0.1)
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera())
    await until(lambda: session.metrics.received > 3)
    tag = session.peer().ice_tag
    for begun in range(4):
        many = await asyncio.gather(
            *(session.peer().restart_ice(CREDENTIALS + HOST) for _ in range(40)), return_exceptions=True
        )
        answers = [one for one in many if isinstance(one, str)]
        refusals = {one.status for one in many if isinstance(one, RequestRefused)}
        assert (len(answers), refusals) == ((1, {422}) if begun < 3 else (0, {429}))
        await until(lambda: session.peer().ice_tag == tag)
    received = session.metrics.received
    await until(lambda: session.metrics.received > received + 5)
    await connection.close()
    await registry.close()


async def test_a_restart_of_a_call_that_ends_meanwhile_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera())
    await until(lambda: session.metrics.received > 3)
    peer, made, use = session.peer(), list[RTCIceGatherer](), MediaSockets.use

    def use_and_end(sockets: MediaSockets, gatherer: RTCIceGatherer) -> None:
        use(sockets, gatherer)
        made.append(gatherer)
        peer._closed = True  # as closing says first; the rest of it follows below

    monkeypatch.setattr(MediaSockets, "use", use_and_end)
    with pytest.raises(RequestRefused, match="ended meanwhile"):
        await session.peer().restart_ice(CREDENTIALS + HOST)
    assert not made[0]._connection._protocols
    await registry.close()
    await connection.close()


def offered(gatherer: RTCIceGatherer) -> str:
    """The fragment with which a browser asks for a restart."""
    ours = gatherer.getLocalParameters()
    lines = [f"a=ice-ufrag:{ours.usernameFragment}", f"a=ice-pwd:{ours.password}"]
    lines += [f"a=candidate:{candidate_to_sdp(candidate)}" for candidate in gatherer.getLocalCandidates()]
    return "\r\n".join(lines)


async def swapped(transport: Any, gatherer: RTCIceGatherer, remote: Fragment) -> bool:
    """The caller's half: its new path takes the old one's place."""
    fresh: aioice.Connection = gatherer._connection
    fresh.ice_controlling = True
    fresh.remote_username, fresh.remote_password = remote.username, remote.password
    fresh._queue = transport._connection._queue
    await ice.add_candidates(fresh, remote)
    return await ice._replace(transport, gatherer)
