"""What may come in by UDP, decided for each datagram before aioice or aiortc sees it.

Anybody can send to a media port. aioice hands everything that is not a STUN message to DTLS, from whatever
source, and its STUN parser raises more than it says; aiortc ends a call on an empty datagram. So a datagram
goes through here first: its length, its kind by the first byte (RFC 7983 section 7), a well-formed STUN
message that proves the password (RFC 8445 section 7.3), and for everything else a source that has passed an
ICE check of this socket: theirs of us, or ours of them. Either will do, for aioice ends its checks with the
first pair that is nominated, and the other end may go on with another. What is left out is counted by reason
and never logged, for a stranger decides how much it is.

Reaches into aiortc 1.16 and aioice 0.13; tests/stream/test_datagrams.py fails when a new version moves what
it relies on.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import aioice
import aioice.ice
from aioice import mdns, stun

logger = logging.getLogger(__name__)

MOST_BYTES = 1_500  # of a datagram: an Ethernet frame's worth; libsrtp's buffer holds no more either
MOST_AT_ONCE = 32  # datagrams of one socket before everything else has its turn
MOST_SOURCES = 128  # addresses that one connection's other end may come from; a browser has a dozen

EMPTY, TOO_LONG, KIND, BROKEN = "empty", "too long", "kind", "malformed"
STRANGER, PASSWORD, UNASKED, SOURCES = "stranger", "password", "unasked answer", "too many sources"
FULL, ALERT, ELSEWHERE = "queue full", "plaintext alert", "other machine"
REASONS = (EMPTY, TOO_LONG, KIND, BROKEN, STRANGER, PASSWORD, UNASKED, SOURCES, FULL, ALERT, ELSEWHERE)

_FIRST_NOT_STUN = 4  # RFC 7983 section 7: the first byte of others is higher
_WHOLE_DATAGRAM = 65_536
_MAY_READ_ON = sys.platform != "win32"  # there the transport has asked for the next one already
_STUN_HEADER, _DTLS_HEADER, _RTP_HEADER = 20, 13, 12  # bytes
_DTLS_ALERT, _DTLS_LAST_PLAIN_TYPE = 21, 26  # RFC 6347 section 4.1, RFC 9147 section 4
Source = tuple[str, int]


def parse_without_surprise() -> None:
    """Let aioice's parsers raise what their callers expect: of STUN ValueError alone, of mDNS nothing."""
    original = stun.parse_message
    if getattr(original, "without_surprise", False):
        return

    def parse_message(data: bytes) -> stun.Message:
        try:
            return original(data)
        except (struct.error, IndexError) as error:
            raise ValueError(f"malformed STUN message ({error})") from error

    setattr(parse_message, "without_surprise", True)  # noqa: B010  a mark on a function
    stun.parse_message = parse_message
    setattr(mdns, "MDnsProtocol", QuietMdnsProtocol)  # noqa: B010  what it makes from here on


class QuietMdnsProtocol(mdns.MDnsProtocol):
    """Asks the local network for the name behind a candidate; anybody there may send anything."""

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Raises nothing, whatever comes."""
        try:
            super().datagram_received(data, addr)
        except Exception as error:  # of dnspython's parser and of records of a wrong length: an open list
            logger.debug("an mDNS message was left out (%s)", error)


class FilteredProtocol(aioice.ice.StunProtocol):
    """One socket, or one relayed address, of a connection."""

    def __init__(
        self, receiver: aioice.Connection, dropped: Callable[[str], None], local: frozenset[str] | None
    ) -> None:
        """dropped: gets the reason for each datagram left out. local: addresses that may send; None: all."""
        super().__init__(receiver)
        self._dropped = dropped
        self._local = local
        self._passed: set[Source] = set()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """This one and those that wait behind it, up to a number. Raises nothing, whatever comes.

        asyncio reads one in each turn of its loop, so in a flood a call's own would be lost in a full buffer.
        """
        self._take(cast(bytes, data), addr)
        waiting: socket.socket | None = getattr(self.transport, "_sock", None)  # a relay has none
        if waiting is not None and _MAY_READ_ON:
            with suppress(OSError):  # BlockingIOError: all are read
                for _ in range(MOST_AT_ONCE):
                    self._take(*waiting.recvfrom(_WHOLE_DATAGRAM))

    def _take(self, data: bytes, addr: tuple[Any, ...]) -> None:
        source = (addr[0], addr[1])
        reason = self._objection(data, source)
        if reason is not None:
            self._dropped(reason)
        elif data[0] < _FIRST_NOT_STUN:
            super().datagram_received(data, addr)
        else:
            self.receiver.data_received(data, self.local_candidate.component)

    def let_in(self, source: Source) -> None:
        """Our check of this source was answered. One that checks nothing itself is ICE lite."""
        self._passed.add(source)

    def _objection(self, data: bytes, source: Source) -> str | None:
        """Why a datagram is dropped; None: it is not."""
        if not data:
            return EMPTY
        if len(data) > MOST_BYTES:
            return TOO_LONG
        if self._local is not None and source[0] not in self._local:
            return ELSEWHERE
        first = data[0]
        if first < _FIRST_NOT_STUN:
            return self._stun_objection(data, source)
        if 20 <= first < 64:
            if len(data) < _DTLS_HEADER:
                return BROKEN
        elif not 128 <= first < 192:
            return KIND
        elif len(data) < _RTP_HEADER:
            return BROKEN
        if source not in self._passed:
            return STRANGER
        return ALERT if first < 64 and has_plaintext_alert(data) else None

    def _stun_objection(self, data: bytes, source: Source) -> str | None:
        if len(data) < _STUN_HEADER or int.from_bytes(data[4:8], "big") != stun.COOKIE:
            return BROKEN
        try:
            message = stun.parse_message(data)
        except ValueError:
            return BROKEN
        if message.message_class is not stun.Class.REQUEST:
            known = (
                message.message_class is stun.Class.INDICATION or message.transaction_id in self.transactions
            )
            return None if known else UNASKED
        return self._check_objection(message, source)

    def _check_objection(self, message: stun.Message, source: Source) -> str | None:
        """Of a request. One that proves no password gets no answer, or we would send to forged addresses."""
        receiver = self.receiver
        if message.message_method is not stun.Method.BINDING or "PRIORITY" not in message.attributes:
            return BROKEN
        if not (
            receiver._valid_username(message.attributes.get("USERNAME", ""))
            and message.check_message_integrity(receiver.local_password.encode())
        ):
            return PASSWORD
        if source not in self._passed:
            if len(self._passed) >= MOST_SOURCES or len(receiver._remote_candidates) >= MOST_SOURCES:
                return SOURCES
            self._passed.add(source)
        return None


def has_plaintext_alert(data: bytes) -> bool:
    """Whether a DTLS datagram has an unprotected alert among its records (RFC 6347 section 4.1).

    Anybody can forge one, and it ends a handshake; a true one only says sooner what its time limit says too.
    """
    start = 0
    while start + _DTLS_HEADER <= len(data) and data[start] <= _DTLS_LAST_PLAIN_TYPE:
        if data[start] == _DTLS_ALERT and data[start + 3 : start + 5] == b"\0\0":
            return True
        start += _DTLS_HEADER + int.from_bytes(data[start + 11 : start + 13], "big")
    return False
