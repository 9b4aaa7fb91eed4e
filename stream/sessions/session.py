"""One presenter and their viewers: from the camera's frames to everybody's pictures and sound, and one end.

    camera     -> receive task -> [newest] -> Performer's thread -> [newest] -> PictureTrack of each viewer
    microphone -> Voice (held back by the time a picture takes)  -> [bounded] -> VoiceTrack of each viewer

The presenter's connection may be lost and taken up again (`resume`): performer, viewers and ids stay.
Whatever ends a session goes through close(), which releases everything once. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import av
from aiortc import RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import VIDEO_CLOCK_RATE, MediaStreamError, MediaStreamTrack

from engine.render.background import Background
from stream import tasks
from stream.budgets import Account, Lease
from stream.media.stepping import FULL, LADDER, RateGate
from stream.media.tracks import PictureTrack
from stream.media.voice import SmoothDelay, Voice
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars
from stream.render.metrics import SessionMetrics
from stream.render.performer import Performer
from stream.render.pipeline_pool import PipelinePools
from stream.render.render_loop import Incoming, Outgoing, capture_ticks
from stream.sessions.audience import Audience
from stream.sessions.receiver import Receiver, Rendering
from stream.sessions.telemetry import Telemetry
from stream.sessions.tokens import OPERATOR, Claim, Grant
from stream.webrtc.negotiation import SessionRequest
from stream.webrtc.offer import Offer
from stream.webrtc.peer import Link, Peer, PeerConfig
from stream.webrtc.picture_size import TOO_LARGE

logger = logging.getLogger(__name__)

WATCH_PERIOD_S = 0.5
LAST_WORDS_S = 2.0  # for a page whose data channel does not stand yet


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session waits for what does not come, in seconds."""

    silent_camera_s: float = 30.0
    silent_presenter_s: float = 8.0  # without a packet: the connection counts as lost, before ICE says so
    silent_viewer_s: float = 30.0
    connect_s: float = 10.0  # for a connection to stand
    resume_s: float = 30.0  # for a presenter whose connection was lost to come back


class Session:
    """Made by a registry, used on the event loop's thread only."""

    def __init__(
        self,
        avatars: Avatars,
        pools: PipelinePools,
        peers: PeerConfig,
        limits: SessionLimits,
        request: SessionRequest,
        claim: Claim,
        telemetry: Telemetry,
        lease: Lease,
        on_camera: Callable[[Session], None],
        on_end: Callable[[Session], None],
    ) -> None:
        """lease: what its connections take of its client's account until the session has a place.

        on_camera: called with the first picture; gives the session a place or raises RequestRefused.
        """
        self.id = secrets.token_urlsafe(16)  # whoever presents and knows it may steer the session
        self.view_id = secrets.token_urlsafe(16)  # viewers find it by this, or by its name
        self.name = request.name
        self.claim = claim
        self.metrics = SessionMetrics()
        self.end_reason: str | None = None
        self.has_place = False  # it counts, for its camera's pictures come or have come
        self.lost_ns: int | None = None  # since when the presenter's connection is lost
        self._avatars = avatars
        self._peers = peers
        self._limits = limits
        self._telemetry = telemetry
        self._lease = lease
        self._on_camera = on_camera
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._started_ns = perf_counter_ns()
        self._performer = Performer(pools, avatars.find(request.avatar), request.mirror, request.measure)
        self._delay = SmoothDelay()
        self._voice = Voice(self._delay, self.end)
        self._gate = RateGate(VIDEO_CLOCK_RATE)
        self._presenter: Peer | None = None
        self._own: Receiver | None = None  # the presenter's page, where it takes pictures back
        self._audience = Audience(peers, self._voice, limits.silent_viewer_s, limits.connect_s)
        self._receiving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._hanging_up: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._heard = (0, 0)  # packets from the presenter, and when there was the last new one, in ns
        self._key_frames_asked = 0  # over the presenter's connection, that telemetry knows of
        self._counted = (0, 0)  # frames dropped and failed that telemetry knows of

    @property
    def avatar(self) -> str:
        """The name of the avatar that is shown."""
        return self._performer.avatar.name

    @property
    def runner_reason(self) -> str:
        """What runs the network, and why."""
        return self._performer.runner_reason or "chosen when the models are loaded, with the first picture"

    @property
    def dropped(self) -> int:
        """Camera frames never rendered plus rendered frames never encoded, because a newer one was there."""
        return self._performer.dropped + (0 if self._own is None else self._own.pictures.dropped)

    @property
    def viewers(self) -> int:
        """How many watch besides the presenter."""
        return len(self._audience)

    async def start(self, request: SessionRequest) -> RTCSessionDescription:
        """Answer the first offer and start. Raises RequestRefused; the caller must then close."""
        peer, own = await self._accept(request)
        try:
            answer = await peer.answer()
            self._check_open()
        except BaseException:
            await self._hang_up(peer, own)
            raise
        self._take_up(peer, own)
        self._watching = tasks.start(self._watch(), "watch", self.end)
        return answer

    async def resume(self, request: SessionRequest) -> RTCSessionDescription:
        """Answer a new offer of the same presenter, and hang up the old connection. Raises RequestRefused."""
        self._check_open()
        peer, own = await self._accept(request)
        try:
            answer = await peer.answer()
            self._check_open()
        except BaseException:
            await self._hang_up(peer, own)
            raise
        before, own_before = self._presenter, self._own
        self._take_up(peer, own)
        if before is not None:
            await self._hang_up(before, own_before)
        logger.info("the presenter is back")
        return answer

    def calibrate(self) -> None:
        """Take the presenter's neutral face from the next frames."""
        self._performer.calibrate()

    def set_mirror(self, on: bool) -> None:
        """Show the avatar as in a mirror, or not."""
        self._performer.set_mirror(on)

    def set_muted(self, on: bool) -> None:
        """Send silence instead of the presenter's voice, or not."""
        self._voice.muted = on

    def set_background(self, background: Background) -> None:
        """Show the person before this."""
        self._performer.set_background(background)

    def set_coach(self, recorded_lines: int | None) -> None:
        """Tell the page what of a recording of so many lines was seen, from now on; None: no longer."""
        self._performer.set_coach(recorded_lines)

    async def switch_avatar(self, name: str) -> None:
        """Go on as another avatar, over the same connections. Raises RequestRefused (404, 503)."""
        self._check_open()
        await self._performer.switch(self._avatars.find(name))

    async def add_viewer(
        self, offer: Offer, grant: Grant = OPERATOR, account: Account | None = None
    ) -> tuple[str, RTCSessionDescription]:
        """Answer a viewer who came by this grant; gives the viewer's id. Raises RequestRefused.

        account: of whose client; None: of nobody.
        """
        self._check_open()
        return await self._audience.add(offer, self._check_open, grant, (account or Account()).lease())

    def cut_off_viewers(self, is_void: Callable[[Grant], bool], why: str) -> None:
        """Hang up on those who came by such a grant."""
        self._audience.cut_off(is_void, why)

    async def remove_viewer(self, viewer_id: str) -> None:
        """Hang up on a viewer. Raises RequestRefused (404)."""
        await self._audience.remove(viewer_id)

    def ice_tag(self, viewer_id: str | None = None) -> str:
        """Names our end of the ICE session with the presenter, or with this viewer. Raises RequestRefused."""
        return self._peer(viewer_id).ice_tag

    def remote_ufrag(self, viewer_id: str | None = None) -> str | None:
        """Names the other end of it. Raises RequestRefused (404)."""
        return self._peer(viewer_id).remote_ufrag

    async def add_candidates(self, sdpfrag: str, viewer_id: str | None = None) -> None:
        """Take late candidates of the presenter, or of this viewer. Raises RequestRefused."""
        await self._peer(viewer_id).add_candidates(sdpfrag)

    async def restart_ice(self, sdpfrag: str, viewer_id: str | None = None) -> str:
        """Find a new path to the presenter, or to this viewer; gives our fragment. Raises RequestRefused."""
        return await self._peer(viewer_id).restart_ice(sdpfrag)

    def end(self, reason: str) -> asyncio.Task[None]:
        """Start closing, for this reason; the first reason stays. The task is done when all is released."""
        if self._closing is None:
            self.end_reason = reason
            logger.info("the session ends: %s", reason)
            self._closing = tasks.start(self._release(), "release")
        return self._closing

    async def close(self, reason: str) -> None:
        """End the session and wait until everything is released."""
        await asyncio.shield(self.end(reason))

    @property
    def waits_for_key_frame(self) -> bool:
        """The camera's packets come, and no picture can be made of them yet."""
        return self._presenter is not None and self._presenter.waits_for_key_frame

    def silent_s(self) -> float:
        """Since the presenter's last packet, by a look twice a second."""
        return (perf_counter_ns() - self._heard[1]) / 1e9

    def stats(self) -> dict[str, Any]:
        """One message of the "stats" data channel."""
        now_ns = perf_counter_ns()
        self.metrics.failed = self._performer.failed
        self.metrics.audio_overflows = self._voice.overflows
        link = Link() if self._own is None else self._own.link
        level = FULL if self._own is None else self._own.pictures.level
        message = self.metrics.snapshot(now_ns, self._started_ns, self.dropped, link.encode_ms)
        words = level.words
        if self._performer.failing:
            message["state"] = "the renderer fails"
            words = "The renderer failed; a still picture is shown until it works again."
        if self.waits_for_key_frame:
            message["state"] = "waits for a key frame"
        if self._presenter is not None and (size := self._presenter.too_large) is not None:
            words = TOO_LARGE.format(*size)
        if self._performer.coach is not None:
            message["coach"] = self._performer.coach.report()
        return {
            **message,
            "rtt_ms": link.rtt_ms,
            "audio_delay_ms": round(self._delay.delay_ms, 1),
            "view_id": self.view_id,
            "avatar": self.avatar,
            "muted": self._voice.muted,
            "resolution": round(self._performer.avatar.size_px * level.scale),
            "message": words,
            "viewers": self.viewers,
        }

    def _check_open(self) -> None:
        if self._closing is not None:
            raise RequestRefused(404, "the session has ended")

    def _peer(self, viewer_id: str | None) -> Peer:
        if viewer_id is not None:
            return self._audience.viewer(viewer_id).peer
        if self._presenter is None:
            raise RequestRefused(404, "the presenter's connection is lost: send a new offer to resume")
        return self._presenter

    async def _accept(self, request: SessionRequest) -> tuple[Peer, Receiver | None]:
        """A connection for the presenter, not yet taken up. Raises RequestRefused."""
        peer = Peer(self._peers, lambda reason: self._on_lost(peer, reason), self._lease.account.lease())
        own = Receiver(peer, PictureTrack(), perf_counter_ns()) if request.receives else None
        try:
            await peer.accept(request.offer, None if own is None else own.pictures, takes_camera=True)
            if peer.camera is None:
                raise RequestRefused(400, "the offer has no camera")
            if own is not None:
                own.take_voice(self._voice)
        except BaseException:
            await self._hang_up(peer, own)
            raise
        return peer, own

    def _take_up(self, peer: Peer, own: Receiver | None) -> None:
        """The presenter comes by this connection from now on."""
        assert peer.camera is not None
        if self._receiving is not None:
            self._receiving.cancel()
        self._presenter, self._own, self.lost_ns = peer, own, None
        self._started_ns, self.metrics.last_frame_ns = perf_counter_ns(), None
        self._heard = (0, self._started_ns)
        if self.has_place:
            peer.lease.give_back()
        self._voice.listen(peer.microphone)
        self._receiving = tasks.start(self._receive(peer, peer.camera), "receive", self.end)

    async def _hang_up(self, peer: Peer, own: Receiver | None) -> None:
        if own is None:
            await peer.close()
        else:
            await own.hang_up(self._voice)

    def _on_lost(self, peer: Peer, reason: str) -> None:
        """The presenter's connection is gone without a word: keep everything for a while."""
        if peer is not self._presenter or self._closing is not None:
            return
        if not self.has_place:
            self.end(reason)
            return
        logger.info("%s; the session waits %.0f s", reason, self._limits.resume_s)
        own, self._presenter, self._own = self._own, None, None
        self.lost_ns = perf_counter_ns()
        self._voice.listen(None)
        task = tasks.start(self._hang_up(peer, own), "hang up")
        self._hanging_up.add(task)
        task.add_done_callback(self._hanging_up.discard)

    async def _release(self) -> None:
        if not self.metrics.rendered:
            await self._page_listens()
        tasks.guard("last words", None, self._send_stats, self.end_reason)
        for task in (self._watching, self._receiving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._presenter is not None:
            await tasks.attempt("hang up", self._hang_up(self._presenter, self._own))
        await tasks.attempt("hang up", self._audience.close())
        await asyncio.gather(*self._hanging_up, return_exceptions=True)
        await tasks.attempt("release", self._voice.close())
        await tasks.attempt("release", self._performer.close())
        self._lease.give_back()
        self._on_end(self)

    async def _page_listens(self) -> None:
        """The camera may come before the data channel does, and then be refused: the page is to hear why."""
        end_ns = perf_counter_ns() + round(LAST_WORDS_S * 1e9)
        while (own := self._own) is not None and own.peer.connected and perf_counter_ns() < end_ns:
            if own.peer.channel is not None:
                return
            await asyncio.sleep(0.02)

    async def _receive(self, peer: Peer, camera: MediaStreamTrack) -> None:
        """Drain the camera's track, whose own queue is unbounded, as fast as it fills."""
        try:
            while True:
                frame = await camera.recv()
                assert isinstance(frame, av.VideoFrame)
                if not self.has_place:
                    self._take_place()
                incoming = Incoming(frame, perf_counter_ns())
                self.metrics.on_received(incoming.arrived_ns)
                self._telemetry.frame_received(incoming.arrived_ns)
                if self._gate.passes(capture_ticks(incoming), self._wanted_fps()):
                    self._performer.put(incoming)
                else:
                    self.metrics.skipped += 1
        except MediaStreamError:
            self._on_lost(peer, "the camera's track has ended")
        except RequestRefused as refusal:
            self.end(str(refusal))

    def _take_place(self) -> None:
        """Pictures come: only now a pipeline is taken up. Raises RequestRefused where there is no room."""
        self._check_open()
        self._on_camera(self)
        self.has_place = True
        self._lease.give_back()
        if self._presenter is not None:
            self._presenter.lease.give_back()
        tasks.start(self._perform(), "start", self.end)

    async def _perform(self) -> None:
        try:
            await self._performer.start(self._on_rendered, self.id[:6], self.end)
        except RequestRefused as refusal:
            self.end(str(refusal))

    def _wanted_fps(self) -> int:
        """What the receiver with the highest rate takes: nothing is rendered for nobody's use."""
        if self._performer.coach is not None:
            return LADDER[-1].fps  # enough to see a blink; the camera's picture is being recorded meanwhile
        own = 0 if self._own is None else self._own.pictures.level.fps
        return max(own, self._audience.fastest_fps()) or LADDER[-1].fps

    def _on_rendered(self, outgoing: Outgoing) -> None:
        report, now_ns = outgoing.report, perf_counter_ns()
        if outgoing.is_failure:
            self.metrics.frames_out.tick(now_ns)
        else:
            self.metrics.on_rendered(report, now_ns)
            self._telemetry.frame_rendered(report, now_ns)
            link = Link() if self._own is None else self._own.link
            self._delay.update(report.server_ms + (link.encode_ms or 0.0))
        captured_ns = now_ns - round(report.server_ms * 1e6)
        if self._own is not None:
            self._own.pictures.push(outgoing.i420, outgoing.ticks, captured_ns)
        self._audience.push(outgoing.i420, outgoing.ticks, captured_ns)

    async def _watch(self) -> None:
        """Twice a second: look at every link, tell the page how it goes, end what is idle or dead."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now_ns = perf_counter_ns()
            if reason := self._idle_reason(now_ns):
                self.end(reason)
                return
            await self._listen_for_presenter(now_ns)
            self._count_losses()
            rendering = self._rendering(now_ns)
            if self._own is not None:
                await self._own.tend(rendering, now_ns)
                if self._own is not None and self._own.unsent:
                    self.end("sending pictures to the presenter has failed; the server's log says more")
                    return
            await self._audience.tend(rendering, now_ns)
            self._send_stats()

    async def _listen_for_presenter(self, now_ns: int) -> None:
        """Notice a presenter who was there and is cut off; ICE takes half a minute to."""
        peer = self._presenter
        if peer is None:
            return
        packets, (before, heard_ns) = (await peer.link()).packets_in, self._heard
        limit_s = self._limits.connect_s
        if not packets and not peer.connected and (now_ns - self._started_ns) / 1e9 > limit_s:
            self._on_lost(peer, f"the connection did not come up within {limit_s:.0f} s")
        elif packets != before:
            self._heard = (packets, now_ns)
        elif packets and (now_ns - heard_ns) / 1e9 > self._limits.silent_presenter_s:
            self._on_lost(peer, "nothing comes from the presenter")

    def _count_losses(self) -> None:
        """What was dropped or has failed since the last look."""
        dropped, failed = self.dropped, self._performer.failed
        asked = 0 if self._presenter is None else self._presenter.key_frames_asked
        self._telemetry.key_frames_asked(max(asked - self._key_frames_asked, 0))
        self._key_frames_asked = asked
        self._telemetry.frames_dropped(max(dropped - self._counted[0], 0))
        for _ in range(failed - self._counted[1]):
            self._telemetry.frame_failed()
        self._counted = (dropped, failed)

    def _idle_reason(self, now_ns: int) -> str | None:
        limits = self._limits
        if not self._avatars.has(self._performer.avatar):
            return "its avatar was deleted"
        if self.lost_ns is not None:
            waited_s = (now_ns - self.lost_ns) / 1e9
            return "the presenter did not come back" if waited_s > limits.resume_s else None
        if self.metrics.silence_s(now_ns, self._started_ns) > limits.silent_camera_s:
            if self._presenter is not None and self._presenter.too_large is not None:
                return "the camera's pictures are too large"
            return f"no frames from the camera for {limits.silent_camera_s:.0f} s"
        return None

    def _rendering(self, now_ns: int) -> Rendering:
        metrics = self.metrics
        fps_in, fps_out = metrics.frames_in.rate_hz(now_ns), metrics.frames_out.rate_hz(now_ns)
        return Rendering(fps_in, fps_out, metrics.render_ms())

    def _send_stats(self, ended: str | None = None) -> None:
        channel = None if self._presenter is None else self._presenter.channel
        if channel is None or channel.readyState != "open":
            return
        message = self.stats()
        if ended is not None:
            message["ended"] = ended
        try:
            channel.send(json.dumps(message))
        except (InvalidStateError, ConnectionError):
            logger.info("the page no longer takes messages")
