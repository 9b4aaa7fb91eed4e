"""One presenter and their viewers: from the camera's frames to everybody's pictures and sound, and one end.

    camera     -> receive task -> [newest] -> Performer's thread -> [newest] -> PictureTrack of each viewer
    microphone -> Voice (held back by the time a picture takes)  -> [bounded] -> VoiceTrack of each viewer
    microphone -> Performer's thread, where a voice may drive; pictures are then made without a camera, too

The presenter's connection may be lost and taken up again (`resume`): performer, viewers and ids stay.
Whatever ends a session goes through close(), which releases everything once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any

import av
from aiortc import RTCSessionDescription
from aiortc.mediastreams import VIDEO_CLOCK_RATE

from engine.arrays import I420
from stream import tasks
from stream.budgets import Account, Lease
from stream.media.picture_clock import PictureClock
from stream.media.stepping import FULL, LADDER, Efforts, RateGate, Rendering
from stream.media.voice import SmoothDelay, Voice
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars, ServedAvatar
from stream.render.live_voice import DRIVES, HOLD_S
from stream.render.metrics import SessionMetrics
from stream.render.performer import Performer
from stream.render.pipeline_pool import PipelinePools
from stream.render.render_loop import Incoming, Outgoing, capture_ticks
from stream.sessions.audience import Audience
from stream.sessions.presenter import Presenter
from stream.sessions.telemetry import Telemetry
from stream.sessions.tokens import OPERATOR, Claim, Grant
from stream.webrtc.negotiation import SessionRequest
from stream.webrtc.offer import Offer
from stream.webrtc.peer import Peer, PeerConfig
from stream.webrtc.picture_size import TOO_LARGE

logger = logging.getLogger(__name__)

WATCH_PERIOD_S = 0.5
CAMERA, VOICE = "camera", "voice"  # of DRIVERS
VOICE_FPS = 25  # of pictures that no camera frame belongs to
LEAST_STEP_S = 0.02  # between two of them, where one is hurried
CAMERA_GONE_S = 0.12  # without a frame: pictures are made without it


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
        self._delay = SmoothDelay()
        self.voice = Voice(self._delay, self.end, self._on_sound)
        self.driver = request.driver  # of stream.webrtc.negotiation.DRIVERS
        self.by_voice = False  # the voice drove the last picture
        self._held = False  # what was shown in it went with an earlier sound
        self.by_agent = request.offer is None  # who comes by no connection, but sends a voice ahead of time
        hold_s = 0.0 if self.by_agent else HOLD_S
        self.performer = Performer(
            pools, avatars.find(request.avatar), request.mirror, request.measure, hold_s
        )
        self.presenter = Presenter(
            peers,
            self.voice,
            lease,
            limits.silent_presenter_s,
            limits.connect_s,
            on_frame=self._on_frame,
            on_other=self._on_other,
            waits=self._waits,
            tell=self.end,
        )
        self.audience = Audience(peers, self.voice, limits.silent_viewer_s, limits.connect_s)
        self._avatars = avatars
        self._limits = limits
        self._telemetry = telemetry
        self._on_camera = on_camera
        self._on_end = on_end
        self._server_wants_own_voice = request.only_own_voice
        self.set_only_own_voice(on=False)
        self.performer.set_voice(self.driver != CAMERA)
        self._gate = RateGate(VIDEO_CLOCK_RATE)
        self._efforts = Efforts(perf_counter_ns())
        self._clock = PictureClock()
        self._sound_ns = 0  # when there was sound last
        self._ticking: asyncio.Task[None] | None = None  # pictures where no camera gives any
        self._hurry = asyncio.Event()  # the next of them is wanted at once
        self._frame_px = (0, 0)  # width, height of the last picture
        self._shown: tuple[I420, ServedAvatar] | None = None  # the last one that is no failure, and of whom
        self._switching = 0  # calls that wait for another avatar: of whom a picture is cannot be said
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._counted = (0, 0, 0)  # frames dropped, failed, key frames asked for that telemetry knows of

    @property
    def dropped(self) -> int:
        """Camera frames never rendered plus rendered frames never encoded, because a newer one was there."""
        receiver = self.presenter.receiver
        return self.performer.dropped + (0 if receiver is None else receiver.pictures.dropped)

    @property
    def shown(self) -> tuple[I420, ServedAvatar]:
        """The last picture, as it was before any codec, and whom it shows. Raises RequestRefused (409)."""
        if self._shown is None:
            raise RequestRefused(409, "no picture is there yet; try again in a second")
        return self._shown

    async def start(self, request: SessionRequest) -> RTCSessionDescription:
        """Answer the first offer and start. Raises RequestRefused; the caller must then close."""
        answer = await self.presenter.answer(request, self._check_open)
        self._watching = tasks.start(self._watch(), "watch", self.end)
        return answer

    def begin(self) -> None:
        """Start without an offer, for an agent."""
        self._watching = tasks.start(self._watch(), "watch", self.end)

    async def resume(self, request: SessionRequest) -> RTCSessionDescription:
        """Answer a new offer of the same presenter, and hang up the old connection. Raises RequestRefused."""
        self._check_open()
        answer = await self.presenter.answer(request, self._check_open)
        if not request.receives:  # a page steers, a publisher says it with each offer
            self.set_driver(request.driver)
        logger.info("the presenter is back")
        return answer

    def set_driver(self, driver: str) -> None:
        """Who drives from now on: of DRIVERS. Raises RequestRefused (400, 404)."""
        self._check_open()
        if self.by_agent and driver != VOICE:
            raise RequestRefused(400, f"driver is {driver!r}; an agent has no camera: voice is needed")
        self.driver = driver
        self.performer.set_voice(driver != CAMERA)
        self._tick()

    def set_only_own_voice(self, on: bool) -> None:
        """See `Performer.set_only_own_voice`; where the server wants it so, it stays so."""
        self.performer.set_only_own_voice(on or self._server_wants_own_voice)

    def hush(self) -> None:
        """Nothing more is said of what was heard; the mouth shuts, and no picture of that waits its turn."""
        self.voice.hush()
        self.performer.hush()
        self._hurry.set()

    async def switch_avatar(self, name: str) -> None:
        """Go on as another avatar, over the same connections. Raises RequestRefused (404, 503)."""
        self._check_open()
        self._switching += 1
        try:
            await self.performer.switch(self._avatars.find(name))
        finally:
            self._switching -= 1

    async def add_viewer(
        self, offer: Offer, grant: Grant = OPERATOR, account: Account | None = None
    ) -> tuple[str, RTCSessionDescription]:
        """Answer a viewer who came by this grant; gives the viewer's id. Raises RequestRefused.

        account: of whose client; None: of nobody.
        """
        self._check_open()
        return await self.audience.add(offer, self._check_open, grant, (account or Account()).lease())

    def peer(self, viewer_id: str | None = None) -> Peer:
        """The connection of this viewer, or of the presenter. Raises RequestRefused (404)."""
        if viewer_id is not None:
            return self.audience.viewer(viewer_id).peer
        if self.presenter.peer is None:
            raise RequestRefused(404, "the presenter's connection is lost: send a new offer to resume")
        return self.presenter.peer

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

    def stats(self) -> dict[str, Any]:
        """One message of the "stats" data channel."""
        now_ns = perf_counter_ns()
        presenter, performer = self.presenter, self.performer
        level = FULL if presenter.receiver is None else presenter.receiver.pictures.level
        by_voice = self.driver == VOICE or self.by_voice
        message = self.metrics.snapshot(
            now_ns, presenter.since_ns, self.dropped, presenter.link.encode_ms, by_voice
        )
        words = level.words or self._efforts.words
        if performer.failing:
            message["state"] = "the renderer fails"
            words = "The renderer failed; a still picture is shown until it works again."
        if presenter.waits_for_key_frame and not by_voice:
            message["state"] = "waits for a key frame"
        if presenter.peer is not None and (size := presenter.peer.too_large) is not None:
            words = TOO_LARGE.format(*size)
        if performer.coach is not None:
            message["coach"] = performer.coach.report()
        return {
            **message,
            "failed": performer.failed,
            "audio_overflows": self.voice.overflows,
            "rtt_ms": presenter.link.rtt_ms,
            "audio_delay_ms": round(self._delay.delay_ms, 1),
            "view_id": self.view_id,
            "avatar": performer.avatar.name,
            "driver": self.driver,
            "driven_by": VOICE if by_voice else CAMERA,
            "lips_by_voice": performer.lips_by_voice,
            "voice_is": performer.voice_is,
            "voice_refused": performer.refuses_voice,
            "conversation": None if performer.conversation is None else performer.conversation.value,
            "muted": self.voice.muted,
            "frame": [round(side * level.scale) for side in self._frame_px],
            "message": words,
            "viewers": len(self.audience),
        }

    def _check_open(self) -> None:
        if self._closing is not None:
            raise RequestRefused(404, "the session has ended")

    def _waits(self, reason: str) -> bool:
        """The presenter's connection is gone without a word: whether all is kept for a while."""
        if self._closing is not None:
            return False
        if not self.has_place:
            self.end(reason)
            return False
        logger.info("%s; the session waits %.0f s", reason, self._limits.resume_s)
        return True

    async def _release(self) -> None:
        if not self.metrics.rendered:
            await self.presenter.wait_for_page()
        tasks.guard("last words", None, self._send_stats, self.end_reason)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await tasks.attempt("hang up", self.presenter.close())
        await tasks.attempt("hang up", self.audience.close())
        await tasks.attempt("release", self.voice.close())
        await tasks.attempt("release", self.performer.close())
        self._on_end(self)

    def _on_frame(self, frame: av.VideoFrame) -> None:
        """Of the camera."""
        if not self._placed():
            return
        arrived_ns = perf_counter_ns()
        ticks = self._clock.of_camera(capture_ticks(Incoming(frame, arrived_ns)), arrived_ns)
        incoming = Incoming(frame, arrived_ns, ticks)
        self.metrics.on_received(arrived_ns)
        self._telemetry.frame_received(arrived_ns)
        if self.driver == VOICE:
            self.metrics.skipped += 1
        elif self._gate.passes(capture_ticks(incoming), self._wanted_fps()):
            self.performer.put(incoming)
        else:
            self.metrics.skipped += 1

    def _on_sound(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """Of the microphone."""
        self._sound_ns = arrived_ns
        if self.driver != CAMERA and self._placed():
            self.performer.hear(frame, arrived_ns)

    def _on_other(self, frame: av.AudioFrame) -> None:
        """Of who speaks to the presenter: listened to where the voice drives."""
        if self.driver != CAMERA:
            self.performer.hear_frame_of_other(frame, perf_counter_ns())

    def _placed(self) -> bool:
        """Something comes of the presenter: whether there is room for them, or else the session ends."""
        if not self.has_place:
            try:
                self._take_place()
            except RequestRefused as refusal:
                self.end(str(refusal))
        return self.has_place

    def _tick(self) -> None:
        """Pictures are made also where no camera frame comes, as long as a voice may drive."""
        if self.driver != CAMERA and self.has_place and self._ticking is None:
            self._ticking = tasks.start(self._make_moments(), "moments", self.end)

    async def _make_moments(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            before_s, due_s = due_s, max(due_s + 1 / VOICE_FPS, loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), due_s - loop.time())
                due_s = max(before_s + LEAST_STEP_S, loop.time())
                await asyncio.sleep(due_s - loop.time())
            self._hurry.clear()
            now_ns = perf_counter_ns()
            unseen_s = (now_ns - self.metrics.last_frame_ns) / 1e9
            if self.driver == CAMERA:
                self._ticking = None  # `set_driver` begins anew
                return
            if self.driver != VOICE and unseen_s < CAMERA_GONE_S:
                continue
            if self.presenter.lost_ns is None:
                ticks = self._clock.of_voice(now_ns)
                if self._gate.passes(ticks, self._wanted_fps()):
                    self.metrics.frames_in.tick(now_ns)
                    self.performer.put(Incoming(None, now_ns, ticks))

    def _take_place(self) -> None:
        """Something comes: only now a pipeline is taken up. Raises RequestRefused where there is no room."""
        self._check_open()
        self._on_camera(self)
        self.has_place = True
        self.presenter.settle()
        self._tick()
        tasks.start(self._perform(), "start", self.end)

    async def _perform(self) -> None:
        try:
            await self.performer.start(self._on_rendered, self.id[:6], self.end)
        except RequestRefused as refusal:
            self.end(str(refusal))

    def _wanted_fps(self) -> int:
        """What the receiver with the highest rate takes: nothing is rendered for nobody's use."""
        if self.performer.coach is not None:
            return LADDER[-1].fps  # enough to see a blink; the camera's picture is being recorded meanwhile
        receiver = self.presenter.receiver
        own_fps = 0 if receiver is None else receiver.pictures.level.fps
        return max(own_fps, self.audience.fastest_fps()) or LADDER[-1].fps

    def _on_rendered(self, outgoing: Outgoing) -> None:
        report, now_ns = outgoing.report, perf_counter_ns()
        self._frame_px = outgoing.i420.shape[1], outgoing.i420.shape[0] * 2 // 3
        if outgoing.is_failure:
            self.metrics.frames_out.tick(now_ns)
        else:
            if not self._switching:
                self._shown = outgoing.i420, self.performer.avatar
            self.metrics.on_rendered(report, now_ns)
            self._telemetry.frame_rendered(report, now_ns)
            was = self.by_voice, self._held
            self.by_voice, self._held = report.voice_share >= DRIVES, report.held_ms > 0
            taken_ms = report.server_ms + report.held_ms + (self.presenter.link.encode_ms or 0.0)
            self._delay.update(taken_ms, at_once=(self.by_voice, self._held) != was)
        captured_ns = now_ns - round((report.server_ms + report.held_ms) * 1e6)
        if self.presenter.receiver is not None:
            self.presenter.receiver.pictures.push(outgoing.i420, outgoing.ticks, captured_ns)
        self.audience.push(outgoing.i420, outgoing.ticks, captured_ns)

    async def _watch(self) -> None:
        """Twice a second: look at every link, tell the page how it goes, end what is idle or dead."""
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now_ns = perf_counter_ns()
            if reason := self._idle_reason(now_ns):
                self.end(reason)
                return
            self._count_losses()
            metrics = self.metrics
            rates_hz = metrics.frames_in.rate_hz(now_ns), metrics.frames_out.rate_hz(now_ns)
            rendering = self._relieved(Rendering(*rates_hz, metrics.render_ms()), now_ns)
            await self.presenter.tend(rendering, now_ns)
            await self.audience.tend(rendering, now_ns)
            self._send_stats()

    def _relieved(self, rendering: Rendering, now_ns: int) -> Rendering:
        """Less is done for each picture where that helps; only then fewer are sent."""
        before = self._efforts.effort
        if (effort := self._efforts.update(rendering, self._wanted_fps(), now_ns)) != before:
            self.performer.set_effort(effort)
        return replace(rendering, relieved=self._efforts.least)

    def _count_losses(self) -> None:
        """What was dropped or has failed since the last look."""
        dropped, failed = self.dropped, self.performer.failed
        asked = 0 if self.presenter.peer is None else self.presenter.peer.key_frames_asked
        self._telemetry.key_frames.inc(max(asked - self._counted[2], 0))
        self._telemetry.dropped.inc(max(dropped - self._counted[0], 0))
        self._telemetry.failed.inc(failed - self._counted[1])
        self._counted = (dropped, failed, asked)

    def _idle_reason(self, now_ns: int) -> str | None:
        limits, presenter = self._limits, self.presenter
        if not self._avatars.has(self.performer.avatar):
            return "its avatar was deleted"
        if presenter.lost_ns is not None:
            waited_s = (now_ns - presenter.lost_ns) / 1e9
            return "the presenter did not come back" if waited_s > limits.resume_s else None
        silence_s = self.metrics.silence_s(now_ns, presenter.since_ns)
        if self.driver != CAMERA:
            silence_s = min(silence_s, (now_ns - max(self._sound_ns, presenter.since_ns)) / 1e9)
        if silence_s > limits.silent_camera_s:
            if presenter.peer is not None and presenter.peer.too_large is not None:
                return "the camera's pictures are too large"
            what = "no frames from the camera" if self.driver == CAMERA else "neither frames nor sound"
            return f"{what} for {limits.silent_camera_s:.0f} s"
        return None

    def _send_stats(self, ended: str | None = None) -> None:
        if self.presenter.listens:
            self.presenter.send(self.stats() if ended is None else {**self.stats(), "ended": ended})
