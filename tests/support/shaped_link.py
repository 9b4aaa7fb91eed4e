"""A bad network on the loopback interface: loss, delay, jitter and a rate limit, in a UDP relay.

A relay and not the kernel's netem: it needs no rights, no namespace and no kernel module, and both ends stay
where they are. It sees the datagrams of one call, of both directions, as a router would: encrypted, whole.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from functools import partial

LOOPBACK = "127.0.0.1"
QUEUE_MS = 200.0  # what waits longer than this for a slow link is dropped, as in a home router
_PRIORITY = 2_130_706_431  # of a host candidate, RFC 8445 section 5.1.2.1


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One way of the network; both ways are alike."""

    loss_percent: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # standard deviation of the delay; datagrams keep their order
    rate_kbit: float | None = None  # per second; None: no limit
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.loss_percent < 100:
            raise ValueError(f"loss_percent={self.loss_percent}: must be from 0 to below 100")
        if self.delay_ms < 0 or self.jitter_ms < 0:
            raise ValueError(f"delay_ms={self.delay_ms}, jitter_ms={self.jitter_ms}: must not be negative")
        if self.rate_kbit is not None and self.rate_kbit <= 0:
            raise ValueError(f"rate_kbit={self.rate_kbit}: must be above 0")


class Link:
    """Says when a datagram comes out at the other end. Time is an argument."""

    def __init__(self, config: LinkConfig, seed: int) -> None:
        self.passed = self.lost = self.overflowed = 0
        self._config = config
        self._random = random.Random(seed)
        self._free_ns = 0  # when the sender's side is done with what it has
        self._last_ns = 0

    def due_ns(self, size_bytes: int, now_ns: int) -> int | None:
        """None: it gets lost."""
        config = self._config
        if self._random.random() < config.loss_percent / 100:
            self.lost += 1
            return None
        sent_ns = now_ns
        if config.rate_kbit is not None:
            begin_ns = max(now_ns, self._free_ns)
            if begin_ns - now_ns > QUEUE_MS * 1e6:
                self.overflowed += 1
                return None
            sent_ns = self._free_ns = begin_ns + round(size_bytes * 8e6 / config.rate_kbit)
        delay_ms = max(0.0, self._random.gauss(config.delay_ms, config.jitter_ms))
        self._last_ns = max(self._last_ns, sent_ns + round(delay_ms * 1e6))
        self.passed += 1
        return self._last_ns


class _End(asyncio.DatagramProtocol):
    """One socket of the relay; its peer is whoever on 127.0.0.1 sent last."""

    def __init__(self, link: Link) -> None:
        self.link = link  # what comes in here goes out through it
        self.other: _End | None = None
        self.peer: tuple[str, int] | None = None
        self.transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr[0] != LOOPBACK:
            return  # a check from another interface of this machine: this call has one path
        self.peer = addr
        assert self.other is not None
        due_ns = self.link.due_ns(len(data), time.monotonic_ns())
        if due_ns is not None:
            wait_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
            asyncio.get_running_loop().call_later(wait_s, self.other.send, data)

    def send(self, data: bytes) -> None:
        if self.peer is not None and self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.peer)


@dataclass
class ShapedRelay:
    """Between one caller and the server. Use: open(), give each the other's SDP through us, close()."""

    config: LinkConfig
    to_server: Link = field(init=False)
    to_caller: Link = field(init=False)

    async def open(self) -> None:
        """Take two ports."""
        self.to_server, self.to_caller = (
            Link(self.config, self.config.seed),
            Link(self.config, -self.config.seed),
        )
        self._caller_end, self._server_end = _End(self.to_server), _End(self.to_caller)
        self._caller_end.other, self._server_end.other = self._server_end, self._caller_end
        loop = asyncio.get_running_loop()
        for end in (self._caller_end, self._server_end):
            end.transport, _ = await loop.create_datagram_endpoint(
                partial(_same, end), local_addr=(LOOPBACK, 0)
            )

    def for_server(self, offer_sdp: str) -> str:
        """The caller's offer as the server shall see it."""
        return with_only_candidate(offer_sdp, _port(self._server_end))

    def for_caller(self, answer_sdp: str) -> str:
        """The server's answer as the caller shall see it."""
        return with_only_candidate(answer_sdp, _port(self._caller_end))

    def close(self) -> None:
        """Release the ports; what is on its way is lost."""
        for end in (self._caller_end, self._server_end):
            if end.transport is not None:
                end.transport.close()


def _same(end: _End) -> _End:
    return end


def _port(end: _End) -> int:
    assert end.transport is not None
    port = end.transport.get_extra_info("sockname")[1]
    assert isinstance(port, int)
    return port


def with_only_candidate(sdp: str, port: int) -> str:
    """The description with one ICE candidate per section, 127.0.0.1 at that port, instead of its own."""
    lines: list[str] = []
    replaced = False
    for line in sdp.splitlines():
        if line.startswith("m="):
            replaced = False
        if line.strip() == "a=end-of-candidates":
            continue
        if line.startswith("a=candidate:"):
            if not replaced:
                lines.append(f"a=candidate:1 1 udp {_PRIORITY} {LOOPBACK} {port} typ host")
                lines.append("a=end-of-candidates")
            replaced = True
            continue
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"
