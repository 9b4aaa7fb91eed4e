"""Candidates that come late (trickle ICE) and new paths for a live connection (ICE restart).

aiortc takes late candidates, but cannot restart ICE. What an ICE restart changes is only the path below DTLS,
so `restart` opens a second aioice connection beside the first, lets both feed one queue, and puts the second
in the first one's place once it is through; DTLS, SRTP and every encoder go on and notice nothing. It reaches
into aiortc 1.16 and aioice 0.13; tests/stream/test_ice.py fails when a new version moves what it relies on.
Once the old path is lost for good aiortc has closed DTLS: then a session is resumed with a new offer instead.

Fragments are those of RFC 8840 section 9, used by WHIP as in RFC 9725 section 4.3. Text from outside: nothing
in it raises anything but RequestRefused.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, field
from typing import cast

import aioice
from aiortc import RTCIceCandidate, RTCIceGatherer, RTCIceServer, RTCIceTransport
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from stream import tasks
from stream.budgets import MOST_CANDIDATES
from stream.refusal import RequestRefused
from stream.webrtc.media_connection import MediaConnection, MediaSockets
from stream.webrtc.negotiation import check_candidates, without_foreign_candidates
from stream.webrtc.offer import PASSWORD, UFRAG

logger = logging.getLogger(__name__)

RESTART_LIMIT_S = 20.0
_NAMED = "candidates_named"  # our mark on a connection: how many its other end has
_GATHERER = "_RTCIceTransport__iceGatherer"


@dataclass(frozen=True, slots=True)
class Fragment:
    """What an SDP fragment says."""

    username: str | None  # of the ICE generation that it is about
    password: str | None = field(repr=False)
    candidates: tuple[RTCIceCandidate, ...] = ()
    complete: bool = False  # no more will come


def read_fragment(text: str, loopback_only: bool) -> Fragment:
    """Parse an SDP fragment. Raises RequestRefused (400). loopback_only: leave other machines' out."""
    check_candidates(text)
    values: dict[str, str] = {}
    candidates: list[RTCIceCandidate] = []
    lines = (without_foreign_candidates(text) if loopback_only else text).splitlines()
    for line in lines:
        name, _, value = line.strip().partition(":")
        if name == "a=candidate":
            candidates.append(_candidate(value))
        else:
            values.setdefault(name, value)
    username, password = values.get("a=ice-ufrag"), values.get("a=ice-pwd")
    for found, wanted in ((username, UFRAG), (password, PASSWORD)):
        if found is not None and not wanted.fullmatch(found):
            raise RequestRefused(
                400, f"ice-ufrag or ice-pwd is {found[:20]!r}; RFC 8839 section 5.4 says how"
            )
    return Fragment(username, password, tuple(candidates), "a=end-of-candidates" in values)


def _candidate(value: str) -> RTCIceCandidate:
    try:
        return candidate_from_sdp(value)
    except (AssertionError, ValueError, IndexError) as error:
        raise RequestRefused(400, f"a candidate cannot be read: {value[:60]!r}") from error


async def add_candidates(connection: aioice.Connection, fragment: Fragment) -> None:
    """Take late candidates; none is taken after the end of candidates was said.

    Raises RequestRefused (400) where the other end has named too many, by now or all in all.
    """
    if connection._remote_candidates_end:
        return
    named = getattr(connection, _NAMED, len(connection._remote_candidates)) + len(fragment.candidates)
    if named > MOST_CANDIDATES:
        raise RequestRefused(
            400, f"{named} candidates since the offer; at most {MOST_CANDIDATES} are taken: restart ICE"
        )
    setattr(connection, _NAMED, named)  # before anything is awaited: a name is asked of the network below
    for candidate in fragment.candidates:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(candidate_to_sdp(candidate)))
    if fragment.complete:
        await connection.add_remote_candidate(None)


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart under way, or over."""

    gatherer: RTCIceGatherer  # our new end
    task: asyncio.Task[bool]  # ends with True when the new path carries the media, False when it failed

    @property
    def connection(self) -> aioice.Connection:
        """Takes the late candidates of the new generation."""
        return self.gatherer._connection

    async def end(self) -> None:
        """Give it up, or let go of what it was where it is over. Not for a path that carries media on."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await _close_quietly(self.connection)  # a task that had not begun yet closes nothing

    def fragment(self, sdp: str) -> str:
        """Our answer. sdp: our description so far, for its BUNDLE group and first section."""
        session, first = re.split(r"(?m)^(?=m=)", sdp)[:2]
        lines = [line for line in session.splitlines() if line.startswith("a=group:")]
        lines += [line for line in first.splitlines() if line.startswith(("m=", "a=mid:"))]
        ours = self.gatherer.getLocalParameters()
        lines += [f"a=ice-ufrag:{ours.usernameFragment}", f"a=ice-pwd:{ours.password}"]
        lines += [f"a=candidate:{candidate_to_sdp(one)}" for one in self.gatherer.getLocalCandidates()]
        if not cast(MediaConnection, self.connection).asks_servers:
            lines.append("a=end-of-candidates")
        return "\r\n".join([*lines, ""])


async def restart(
    transport: RTCIceTransport,
    remote: Fragment,
    ice_servers: list[RTCIceServer],
    sockets: MediaSockets,
) -> Restart:
    """Begin an ICE restart. The old path carries the media until the new one does, or for good.

    Raises RequestRefused: 422 where the connection is not up, or the fragment has no credentials; 503 where
    no media port is free.
    """
    if remote.username is None or remote.password is None:
        raise RequestRefused(422, "an ICE restart needs ice-ufrag and ice-pwd in the fragment")
    if transport.state != "completed":
        raise RequestRefused(
            422, f"ICE is {transport.state}, a restart needs a live path: send a new offer to resume instead"
        )
    gatherer = RTCIceGatherer(ice_servers)
    sockets.use(gatherer)
    try:
        await gatherer.gather()
        _take_after(gatherer._connection, transport._connection, remote)
        await add_candidates(gatherer._connection, remote)
    except BaseException:
        await _close_quietly(gatherer._connection)
        raise
    return Restart(gatherer, tasks.start(_replace(transport, gatherer), "ICE restart"))


def _take_after(fresh: aioice.Connection, old: aioice.Connection, remote: Fragment) -> None:
    fresh.ice_controlling = old.ice_controlling
    fresh.remote_username, fresh.remote_password = remote.username, remote.password
    fresh.remote_is_lite = old.remote_is_lite
    fresh._queue = old._queue  # DTLS waits on this queue: what comes by either path reaches it


async def _replace(transport: RTCIceTransport, gatherer: RTCIceGatherer) -> bool:
    fresh = gatherer._connection
    try:
        await asyncio.wait_for(fresh.connect(), RESTART_LIMIT_S)
    except (ConnectionError, asyncio.TimeoutError):
        logger.info("an ICE restart came to nothing; the old path stays")
        await _close_quietly(fresh)
        return False
    except BaseException:  # cancelled, or what aioice was never meant to raise
        await _close_quietly(fresh)
        raise
    if transport.state != "completed":  # the old path was lost meanwhile, and DTLS with it
        await _close_quietly(fresh)
        return False
    old = transport._connection
    transport._connection, transport._recv, transport._send = fresh, fresh.recv, fresh.send
    setattr(transport, _GATHERER, gatherer)
    fresh._event_waiter, old._event_waiter = old._event_waiter, None  # whose end is the transport's end
    closing = tasks.start(_close_quietly(old), "disconnect")
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:  # halfway, aioice would leave sockets open
        await closing
        raise
    return True


async def _close_quietly(connection: aioice.Connection) -> None:
    """Close one of two connections that share a queue; the queue's reader must not hear of it."""
    connection._queue = asyncio.Queue()
    await connection.close()
