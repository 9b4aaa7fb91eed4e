"""The viewers of one session (WHEP): each joins, is fed, and goes, and none of it touches the presenter.

Event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from aiortc import RTCSessionDescription

from engine.arrays import I420
from stream import tasks
from stream.budgets import Lease
from stream.media.lanes import Lanes, Seat, SharedTrack
from stream.media.stepping import Rendering
from stream.media.tracks import Picture
from stream.media.voice import Voice
from stream.refusal import RequestRefused
from stream.sessions.receiver import Receiver
from stream.sessions.tokens import Grant
from stream.webrtc.offer import Offer
from stream.webrtc.peer import Peer, PeerConfig

logger = logging.getLogger(__name__)

MAX_VIEWERS = 16  # of one session; at worst each costs an encoder


@dataclass
class Viewer(Receiver):
    """A receiver that may share an encoder with others."""

    pictures: SharedTrack

    def seat(self) -> Seat | None:
        """For Lanes; None where it takes no pictures yet."""
        if self.peer.encoder is None:
            return None
        ready = self.peer.connected and not self.pictures.paused
        return Seat(self.pictures, self.peer.encoder, self.link.estimate_bps, ready)


class Audience:
    """Viewers by id, and what they are shown."""

    def __init__(self, peers: PeerConfig, voice: Voice, silent_s: float, connect_s: float) -> None:
        """silent_s: after which a viewer is let go; connect_s: the same before its connection stands."""
        self._peers = peers
        self._voice = voice
        self._silent_limit_s = silent_s
        self._connect_limit_s = connect_s
        self._viewers: dict[str, Viewer] = {}
        self._lanes = Lanes()
        self._newest: Picture | None = None
        self._hanging_up: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    async def add(
        self, offer: Offer, check_open: Callable[[], None], grant: Grant, lease: Lease
    ) -> tuple[str, RTCSessionDescription]:
        """Answer a viewer's offer; gives the viewer's id. Raises RequestRefused.

        check_open: raises where the session has ended meanwhile. grant: by which they came. One that is still
        connecting gives way.
        """
        if len(self._viewers) >= MAX_VIEWERS and not self._give_way():
            raise RequestRefused(503, f"{MAX_VIEWERS} viewers watch already; try again when one has left")
        viewer_id = secrets.token_urlsafe(16)
        peer = Peer(self._peers, lambda reason: self._let_go(viewer_id, reason), lease)
        viewer = Viewer(peer, SharedTrack(), perf_counter_ns(), grant)
        self._viewers[viewer_id] = viewer
        try:
            await peer.accept(offer, viewer.pictures, False, viewer.pictures.start_anew)
            viewer.take_voice(self._voice)
            answer = await peer.answer()
            check_open()
            self.viewer(viewer_id)  # it may have been cut off meanwhile
        except BaseException:
            self._viewers.pop(viewer_id, None)
            await viewer.hang_up(self._voice)
            raise
        if self._newest is not None:  # do not let them wait in front of a black square
            viewer.pictures.push(*self._newest)
        return viewer_id, answer

    def viewer(self, viewer_id: str) -> Viewer:
        """Raises RequestRefused (404)."""
        try:
            return self._viewers[viewer_id]
        except KeyError:
            raise RequestRefused(404, "there is no such viewer: it may have left") from None

    async def remove(self, viewer_id: str) -> None:
        """Hang up on a viewer. Raises RequestRefused (404)."""
        viewer = self.viewer(viewer_id)
        del self._viewers[viewer_id]
        await viewer.hang_up(self._voice)

    def push(self, i420: I420, ticks: int, captured_ns: int | None = None) -> None:
        """Show everybody this picture; see PictureTrack.push."""
        self._newest = (i420, ticks, captured_ns)
        self._lanes.push(self._newest)
        for viewer in self._viewers.values():
            viewer.pictures.push(i420, ticks, captured_ns)

    def fastest_fps(self) -> int:
        """The highest rate that a viewer takes; 0 where nobody watches."""
        watching = (viewer for viewer in self._viewers.values() if not viewer.pictures.paused)
        return max((viewer.pictures.level.fps for viewer in watching), default=0)

    async def tend(self, rendering: Rendering, now_ns: int) -> None:
        """Look at every link; let go of those who have been silent for too long."""
        for viewer_id, viewer in list(self._viewers.items()):
            try:
                await viewer.tend(rendering, now_ns)
            except Exception as error:  # one viewer's link is no reason to end the session
                tasks.failed("viewer", error, partial(self._let_go, viewer_id))
                continue
            if viewer.silent_s(now_ns) > self._silent_limit_s:
                self._let_go(viewer_id, f"silent for {self._silent_limit_s:.0f} s")
            elif viewer.waits_s(now_ns) > self._connect_limit_s:
                self._let_go(viewer_id, f"not connected within {self._connect_limit_s:.0f} s")
            elif viewer.unsent:
                self._let_go(viewer_id, "sending to it has failed")
        seats = [viewer.seat() for viewer in self._viewers.values()]
        await self._lanes.seat([seat for seat in seats if seat is not None])

    def cut_off(self, is_void: Callable[[Grant], bool], why: str) -> None:
        """Hang up on those who came by such a grant."""
        for viewer_id, viewer in list(self._viewers.items()):
            if is_void(viewer.grant):
                self._let_go(viewer_id, f"the token they came by {why}")

    async def close(self) -> None:
        """Hang up on everybody."""
        await tasks.attempt("release", self._lanes.close())
        viewers, self._viewers = list(self._viewers.values()), {}
        await asyncio.gather(*(tasks.attempt("hang up", viewer.hang_up(self._voice)) for viewer in viewers))
        await asyncio.gather(*self._hanging_up, return_exceptions=True)

    def _give_way(self) -> bool:
        """Let the viewer go that has tried to connect for the longest; False where all are connected."""
        now_ns = perf_counter_ns()
        waiting = {viewer_id: viewer.waits_s(now_ns) for viewer_id, viewer in self._viewers.items()}
        longest = max(waiting, key=lambda viewer_id: waiting[viewer_id])
        if not waiting[longest]:
            return False
        self._let_go(longest, "not connected, and another viewer needed the place")
        return True

    def _let_go(self, viewer_id: str, reason: str) -> None:
        viewer = self._viewers.pop(viewer_id, None)
        if viewer is not None:
            logger.info("a viewer has gone: %s", reason)
            task = tasks.start(viewer.hang_up(self._voice), "hang up")
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)
