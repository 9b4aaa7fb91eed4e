"""The bad network: what it loses, delays and holds back, by our own clock; real datagrams through it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shaped_link import LOOPBACK, QUEUE_MS, Link, LinkConfig, ShapedRelay, with_only_candidate

MS = 1_000_000
SDP = "\r\n".join(
    [
        "v=0",
        "m=video 5000 UDP/TLS/RTP/SAVPF 97",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
        "a=candidate:2 1 udp 2130706175 10.0.0.7 5001 typ host",
        "a=end-of-candidates",
        "a=mid:0",
        "m=application 5000 UDP/DTLS/SCTP webrtc-datachannel",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
        "a=end-of-candidates",
        "a=mid:1",
        "",
    ]
)


def test_delay() -> None:
    link = Link(LinkConfig(delay_ms=20), seed=1)
    assert [link.due_ns(100, now * MS) for now in (0, 7)] == [20 * MS, 27 * MS]


def test_a_slow_link_sends_one_after_the_other() -> None:
    """1,000 kbit/s: 1,250 bytes take 10 ms."""
    link = Link(LinkConfig(rate_kbit=1_000), seed=1)
    assert [link.due_ns(1_250, 0) for _ in range(3)] == [10 * MS, 20 * MS, 30 * MS]
    assert link.due_ns(1_250, 100 * MS) == 110 * MS  # it was idle meanwhile


def test_a_full_queue_overflows() -> None:
    link = Link(LinkConfig(rate_kbit=1_000), seed=1)
    due = [link.due_ns(1_250, 0) for _ in range(40)]
    fits = round(QUEUE_MS / 10) + 1
    assert None not in due[:fits]
    assert due[fits:] == [None] * (40 - fits)
    assert (link.passed, link.overflowed, link.lost) == (fits, 40 - fits, 0)


def test_losses_come_at_their_rate() -> None:
    link = Link(LinkConfig(loss_percent=10), seed=1)
    lost = sum(link.due_ns(100, index * MS) is None for index in range(5_000))
    assert lost == link.lost
    assert 400 < lost < 600


@given(st.lists(st.integers(0, 30), min_size=1), st.floats(0, 50), st.integers(0, 99))
def test_datagrams_keep_their_order_and_none_is_early(
    gaps_ms: list[int], jitter_ms: float, seed: int
) -> None:
    link = Link(LinkConfig(delay_ms=30, jitter_ms=jitter_ms, rate_kbit=5_000), seed)
    now_ns, last_ns = 0, 0
    for gap_ms in gaps_ms:
        now_ns += gap_ms * MS
        due_ns = link.due_ns(1_000, now_ns)
        assert due_ns is not None
        assert due_ns > now_ns
        assert due_ns >= last_ns
        last_ns = due_ns


@pytest.mark.parametrize(
    "field", [{"loss_percent": 100.0}, {"delay_ms": -1.0}, {"jitter_ms": -1.0}, {"rate_kbit": 0.0}]
)
def test_impossible_networks_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        LinkConfig(**field)


def test_every_section_has_the_relay_as_its_only_candidate() -> None:
    lines = with_only_candidate(SDP, 6_000).splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate")]
    assert candidates == [f"a=candidate:1 1 udp 2130706431 {LOOPBACK} 6000 typ host"] * 2
    assert lines.count("a=end-of-candidates") == 2
    assert lines.index("a=mid:0") < lines.index("m=application 5000 UDP/DTLS/SCTP webrtc-datachannel")


class Inbox(asyncio.DatagramProtocol):
    """One end of a call: keeps what comes."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.put_nowait(data)


async def test_datagrams_go_both_ways_through_the_relay() -> None:
    loop = asyncio.get_running_loop()
    relay = ShapedRelay(LinkConfig(delay_ms=1))
    await relay.open()
    ports = [
        int(sdp.split(f"{LOOPBACK} ")[1].split()[0]) for sdp in (relay.for_caller(SDP), relay.for_server(SDP))
    ]
    caller, caller_inbox = await loop.create_datagram_endpoint(Inbox, remote_addr=(LOOPBACK, ports[0]))
    server, server_inbox = await loop.create_datagram_endpoint(Inbox, remote_addr=(LOOPBACK, ports[1]))
    try:
        server.sendto(b"nobody to hear it yet")  # but now the relay knows where the server is
        await asyncio.sleep(0)
        while server_inbox.got.empty():
            caller.sendto(b"check")  # as ICE does, until there is an answer
            await asyncio.sleep(0.01)
        server.sendto(b"answer")
        while await caller_inbox.got.get() != b"answer":
            pass
        assert await server_inbox.got.get() == b"check"
        assert relay.to_caller.passed == 2
        assert relay.to_server.passed >= 1
    finally:
        caller.close()
        server.close()
        relay.close()
        await asyncio.sleep(0)
