"""The presenter of a session: the connection that they come by, which may be lost and taken up again.

Their camera's pictures go to the session, their voice to everybody, and their page hears how it goes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

import av
from aiortc import RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from stream import tasks
from stream.budgets import Lease
from stream.media.stepping import Rendering
from stream.media.tracks import PictureTrack
from stream.media.voice import Voice
from stream.refusal import RequestRefused
from stream.sessions.receiver import Receiver
from stream.webrtc.negotiation import SessionRequest
from stream.webrtc.peer import Link, Peer, PeerConfig

logger = logging.getLogger(__name__)

LAST_WORDS_S = 2.0  # for a page whose data channel does not stand yet


class Presenter:
    """Use: answer() each of their offers, tend() twice a second, close(). Event loop only."""

    def __init__(
        self,
        peers: PeerConfig,
        voice: Voice,
        lease: Lease,
        silent_s: float,
        connect_s: float,
        on_frame: Callable[[av.VideoFrame], None],
        on_other: Callable[[av.AudioFrame], None],
        waits: Callable[[str], bool],
        tell: tasks.Tell,
    ) -> None:
        """lease: what it takes of its client's account until settle().

        on_other: gets what somebody says to them, where that comes too.
        silent_s: after which the connection counts as lost; connect_s: the same before it stands.
        waits: gets the reason why it is lost, and says whether the presenter may come back.
        tell: gets the reason where the session cannot go on.
        """
        self.peer: Peer | None = None  # None: the connection is lost
        self.receiver: Receiver | None = None  # their page, where it takes pictures back
        self.lost_ns: int | None = None  # since when the connection is lost
        self.since_ns = perf_counter_ns()  # when the connection was taken up
        self._peers = peers
        self._voice = voice
        self._lease = lease
        self._silent_limit_s = silent_s
        self._connect_limit_s = connect_s
        self._on_frame = on_frame
        self._on_other = on_other
        self._waits = waits
        self._tell = tell
        self._is_settled = False
        self._receiving: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._hanging_up: set[asyncio.Task[None]] = set()
        self._heard = (0, 0)  # packets from them, and when there was the last new one, in ns

    @property
    def link(self) -> Link:
        """How the connection to their page does."""
        return Link() if self.receiver is None else self.receiver.link

    @property
    def listens(self) -> bool:
        """Their page takes messages."""
        channel = None if self.peer is None else self.peer.channel
        return channel is not None and channel.readyState == "open"

    @property
    def waits_for_key_frame(self) -> bool:
        """The camera's packets come, and no picture can be made of them yet."""
        return self.peer is not None and self.peer.waits_for_key_frame

    def silent_s(self) -> float:
        """Since their last packet, by a look twice a second."""
        return (perf_counter_ns() - self._heard[1]) / 1e9

    async def answer(self, request: SessionRequest, check_open: Callable[[], None]) -> RTCSessionDescription:
        """Answer an offer: they come by its connection from now on, and the one before is hung up.

        check_open: raises where the session has ended meanwhile. Raises RequestRefused.
        """
        assert request.offer is not None
        peer = Peer(self._peers, lambda reason: self._lose(peer, reason), self._lease.account.lease())
        receiver = Receiver(peer, PictureTrack(), perf_counter_ns()) if request.receives else None
        try:
            pictures = None if receiver is None else receiver.pictures
            await peer.accept(request.offer, pictures, takes_camera=True)
            if peer.camera is None and peer.microphone is None:
                raise RequestRefused(400, "the offer has neither camera nor microphone")
            if receiver is not None:
                receiver.take_voice(self._voice)
            answer = await peer.answer()
            check_open()
        except BaseException:
            await self._hang_up(peer, receiver)
            raise
        before, receiver_before = self.peer, self.receiver
        self._take_up(peer, peer.camera, receiver)
        if before is not None:
            await self._hang_up(before, receiver_before)
        return answer

    def settle(self) -> None:
        """The session has a place: nothing more is taken of the client's account for it."""
        self._is_settled = True
        self._lease.give_back()
        if self.peer is not None:
            self.peer.lease.give_back()

    async def tend(self, rendering: Rendering, now_ns: int) -> None:
        """Notice whether they are cut off, and look at the link to their page."""
        await self._listen(now_ns)
        if self.receiver is not None:
            await self.receiver.tend(rendering, now_ns)
            if self.receiver is not None and self.receiver.unsent:
                self._tell("sending pictures to the presenter has failed; the server's log says more")

    def send(self, message: dict[str, Any]) -> None:
        """To their page, which listens."""
        assert self.peer is not None
        assert self.peer.channel is not None
        try:
            self.peer.channel.send(json.dumps(message))
        except (InvalidStateError, ConnectionError):
            logger.info("the page no longer takes messages")

    async def wait_for_page(self) -> None:
        """The camera may come before the data channel does, and then be refused: the page is to hear why."""
        end_ns = perf_counter_ns() + round(LAST_WORDS_S * 1e9)
        while (receiver := self.receiver) is not None and receiver.peer.connected and not self.listens:
            if perf_counter_ns() > end_ns:
                return
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Hang up."""
        for task in (self._receiving, self._hearing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self.peer is not None:
            await tasks.attempt("hang up", self._hang_up(self.peer, self.receiver))
        await asyncio.gather(*self._hanging_up, return_exceptions=True)
        self._lease.give_back()

    def _take_up(self, peer: Peer, camera: MediaStreamTrack | None, receiver: Receiver | None) -> None:
        for task in (self._receiving, self._hearing):
            if task is not None:
                task.cancel()
        self.peer, self.receiver, self.lost_ns = peer, receiver, None
        self.since_ns = perf_counter_ns()
        self._heard = (0, self.since_ns)
        if self._is_settled:
            peer.lease.give_back()
        self._voice.listen(peer.microphone)
        self._receiving = self._hearing = None
        if peer.other is not None:
            self._hearing = tasks.start(self._hear(peer.other), "hear", self._tell)
        if camera is not None:
            self._receiving = tasks.start(self._receive(peer, camera), "receive", self._tell)

    async def _receive(self, peer: Peer, camera: MediaStreamTrack) -> None:
        """Drain the camera's track, whose own queue is unbounded, as fast as it fills."""
        try:
            while True:
                frame = await camera.recv()
                assert isinstance(frame, av.VideoFrame)
                self._on_frame(frame)
        except MediaStreamError:
            self._lose(peer, "the camera's track has ended")

    async def _hear(self, other: MediaStreamTrack) -> None:
        """Drain it, as the camera's."""
        with suppress(MediaStreamError):
            while True:
                frame = await other.recv()
                assert isinstance(frame, av.AudioFrame)
                self._on_other(frame)

    async def _listen(self, now_ns: int) -> None:
        """Notice a presenter who was there and is cut off; ICE takes half a minute to."""
        peer = self.peer
        if peer is None:
            return
        packets, (before, heard_ns) = (await peer.link()).packets_in, self._heard
        limit_s = self._connect_limit_s
        if not packets and not peer.connected and (now_ns - self.since_ns) / 1e9 > limit_s:
            self._lose(peer, f"the connection did not come up within {limit_s:.0f} s")
        elif packets != before:
            self._heard = (packets, now_ns)
        elif packets and (now_ns - heard_ns) / 1e9 > self._silent_limit_s:
            self._lose(peer, "nothing comes from the presenter")

    def _lose(self, peer: Peer, reason: str) -> None:
        """The connection is gone without a word."""
        if peer is not self.peer or not self._waits(reason):
            return
        receiver, self.peer, self.receiver = self.receiver, None, None
        self.lost_ns = perf_counter_ns()
        self._voice.listen(None)
        task = tasks.start(self._hang_up(peer, receiver), "hang up")
        self._hanging_up.add(task)
        task.add_done_callback(self._hanging_up.discard)

    async def _hang_up(self, peer: Peer, receiver: Receiver | None) -> None:
        if receiver is None:
            await peer.close()
        else:
            await receiver.hang_up(self._voice)
