"""One presenter, one avatar: a peer connection, a render thread, two outgoing tracks, one end.

    camera track -> receive task -> [latest wins] -> render thread -> [latest wins] -> AvatarTrack -> encoder
    microphone   -> DelayedAudioTrack (held back by the time a picture takes)       -> encoder

Whatever ends a session (the peer, the page, a silent camera, a broken pipeline, the server) goes through
close(), which releases everything once. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from time import perf_counter_ns

import av
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from stream.aiortc_tuning import encode_cleanly, receive_promptly
from stream.metrics import SessionMetrics
from stream.negotiation import Offer, accept_offer, make_answer, prefer_vp8
from stream.pipeline_pool import PipelinePool
from stream.render_loop import FramePipeline, Incoming, Outgoing, RenderThread
from stream.tracks import AvatarTrack, DelayedAudioTrack, SmoothDelay

logger = logging.getLogger(__name__)

STATS_PERIOD_S = 0.5
SILENT_CAMERA_LIMIT_S = 30.0
JOIN_LIMIT_S = 10.0  # for a render thread to finish its frame
STATS_LABEL = "stats"


class Session:
    """Made for one offer, used on the event loop's thread only."""

    def __init__(
        self, pool: PipelinePool, offer: Offer, mark_pictures: bool, on_end: Callable[[Session], None]
    ) -> None:
        self.id = secrets.token_urlsafe(16)  # whoever knows it may steer the session
        self.metrics = SessionMetrics()
        self.end_reason: str | None = None
        self.runner_reason = ""
        self._pool = pool
        self._offer = offer
        self._mark_pictures = mark_pictures
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._started_ns = perf_counter_ns()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._avatar_track = AvatarTrack()
        self._audio_track: DelayedAudioTrack | None = None
        self._delay = SmoothDelay()
        self._render: RenderThread | None = None
        self._pipeline: FramePipeline | None = None
        self._channel: RTCDataChannel | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """Camera frames never rendered plus rendered frames never encoded, because a newer one was there."""
        return self._avatar_track.dropped + (0 if self._render is None else self._render.slot.dropped)

    async def negotiate(self, sdp: str) -> RTCSessionDescription:
        """Answer the offer and start. On any failure the session must be closed by the caller."""
        transceiver = self._connection.addTransceiver(self._avatar_track, "sendrecv")
        prefer_vp8(transceiver)
        self._connection.on("connectionstatechange", self._on_connection_state)
        self._connection.on("datachannel", self._on_channel)
        await accept_offer(self._connection, sdp)
        receive_promptly(transceiver.receiver)
        encode_cleanly(transceiver)
        camera = transceiver.receiver.track
        for other in self._connection.getTransceivers():
            if other.kind == "audio" and other.receiver.track is not None:
                self._audio_track = DelayedAudioTrack(other.receiver.track, self._delay)
                self._connection.addTrack(self._audio_track)
        self._pipeline = await self._pool.acquire()
        self.runner_reason = self._pipeline.runner_reason
        self._pipeline.set_mirror(self._offer.mirror)
        self._render = RenderThread(
            self._pipeline,
            deliver=lambda outgoing: self._from_thread(self._on_rendered, outgoing),
            failed=lambda: self._from_thread(self._on_failed),
            broken=lambda: self._from_thread(
                self.end, "the renderer failed on every frame, see the server's log"
            ),
            measure=self._offer.measure,
            mark_pictures=self._mark_pictures,
            name=f"render-{self.id[:6]}",
        )
        answer = await make_answer(self._connection)
        self._render.start()
        self._started_ns = perf_counter_ns()
        self._tasks = [
            self._loop.create_task(self._receive(camera, self._render), name="receive"),
            self._loop.create_task(self._watch(), name="watch"),
        ]
        return answer

    def calibrate(self) -> None:
        """Take the presenter's neutral face from the next frames."""
        if self._render is not None:
            self._render.ask(lambda pipeline: pipeline.calibrate())

    def set_mirror(self, on: bool) -> None:
        """Show the avatar as in a mirror, or not."""
        if self._render is not None:
            self._render.ask(lambda pipeline: pipeline.set_mirror(on))

    def end(self, reason: str) -> asyncio.Task[None]:
        """Start closing, for this reason; the first reason stays. The task is done when all is released."""
        if self._closing is None:
            self.end_reason = reason
            logger.info("session %s ends: %s", self.id[:6], reason)
            self._closing = self._loop.create_task(self._release(), name="release")
        return self._closing

    async def close(self, reason: str) -> None:
        """End the session and wait until everything is released."""
        await asyncio.shield(self.end(reason))

    async def _release(self) -> None:
        self._send_stats(ended=self.end_reason)
        if self._render is not None:
            self._render.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._avatar_track.stop()
        if self._audio_track is not None:
            self._audio_track.stop()
        try:
            await asyncio.wait_for(self._connection.close(), JOIN_LIMIT_S)
        except asyncio.TimeoutError:
            logger.error("session %s: the peer connection did not close in %.0f s", self.id[:6], JOIN_LIMIT_S)
        except Exception:  # aiortc fails to close what it half built; the rest must be released all the same
            logger.exception("session %s: the peer connection could not be closed", self.id[:6])
        if self._pipeline is not None:
            stuck = broken = False
            if self._render is not None and self._render.ident is not None:
                await asyncio.to_thread(self._render.join, JOIN_LIMIT_S)
                stuck, broken = self._render.is_alive(), self._render.is_broken
            if stuck:  # closing a pipeline under its own thread would crash the process
                logger.error("session %s: the renderer did not stop in %.0f s", self.id[:6], JOIN_LIMIT_S)
            else:
                await self._pool.release(self._pipeline, reusable=not broken)
        self._on_end(self)

    async def _receive(self, camera: MediaStreamTrack, render: RenderThread) -> None:
        """Drain the camera's track, whose own queue is unbounded, as fast as it fills."""
        try:
            while True:
                frame = await camera.recv()
                assert isinstance(frame, av.VideoFrame)
                now_ns = perf_counter_ns()
                self.metrics.on_received(now_ns)
                render.slot.put(Incoming(frame, now_ns))
        except MediaStreamError:
            self.end("the camera's track has ended")

    async def _watch(self) -> None:
        """Twice a second: tell the page how it goes, and end a session whose camera is silent."""
        while True:
            await asyncio.sleep(STATS_PERIOD_S)
            if self.metrics.silence_s(perf_counter_ns(), self._started_ns) > SILENT_CAMERA_LIMIT_S:
                self.end(f"no frames from the camera for {SILENT_CAMERA_LIMIT_S:.0f} s")
                return
            self._send_stats()

    def _send_stats(self, ended: str | None = None) -> None:
        if self._channel is None or self._channel.readyState != "open":
            return
        if self._audio_track is not None:
            self.metrics.audio_overflows = self._audio_track.overflows
        message = self.metrics.snapshot(perf_counter_ns(), self._started_ns, self.dropped)
        message["audio_delay_ms"] = round(self._delay.delay_ms, 1)
        if ended is not None:
            message["ended"] = ended
        try:
            self._channel.send(json.dumps(message))
        except (InvalidStateError, ConnectionError):
            self._channel = None  # the peer is gone; its connection state will say so

    def _from_thread(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            logger.info("session %s: a frame came after the event loop had closed", self.id[:6])

    def _on_rendered(self, outgoing: Outgoing) -> None:
        self.metrics.on_rendered(outgoing.report, perf_counter_ns())
        self._delay.update(outgoing.report.server_ms)
        self._avatar_track.push(outgoing.i420, outgoing.ticks)

    def _on_failed(self) -> None:
        self.metrics.failed += 1

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == STATS_LABEL:
            self._channel = channel

    def _on_connection_state(self) -> None:
        state = self._connection.connectionState
        if state in ("failed", "closed"):
            self.end(f"the connection is {state}")
