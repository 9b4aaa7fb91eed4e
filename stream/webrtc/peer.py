"""One answered peer connection: what comes in over it, what goes out, how its link does, and its one end.

Knows nothing of sessions or HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import cast

import aioice
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamTrack
from aiortc.stats import RTCRemoteInboundRtpStreamStats, RTCTransportStats

from stream import tasks
from stream.budgets import RESTARTS_AT_ONCE, RESTARTS_PER_MIN, Lease, RateLimiter
from stream.media.encoders import EncoderChoice, RenderedEncoder
from stream.media.tracks import PictureTrack
from stream.media.voice import VoiceTrack
from stream.refusal import RequestRefused
from stream.webrtc import ice
from stream.webrtc.aiortc_tuning import (
    encode_cleanly,
    hear_key_frame_requests,
    prefer_codec,
    receive_promptly,
    report_steadily,
    take_one_stream,
    tell_receivers,
)
from stream.webrtc.camera_buffer import PromptJitterBuffer
from stream.webrtc.ice_servers import IceServers
from stream.webrtc.media_connection import MediaConnection, MediaSockets
from stream.webrtc.negotiation import accept_offer, make_answer, without_foreign_candidates
from stream.webrtc.offer import Offer
from stream.webrtc.picture_size import Size

logger = logging.getLogger(__name__)

CLOSE_LIMIT_S = 10.0
STATS_LABEL = "stats"
NO_DTLS = (  # OpenSSL says "wrong curve" of the P-224 that FFmpeg makes certificates on with GnuTLS
    "DTLS failed; FFmpeg's WHIP muxer needs a certificate on P-256, by -cert_file and -key_file: "
    "see stream/README.md"
)


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """How to answer."""

    encoder: EncoderChoice
    sockets: MediaSockets
    ice_servers: IceServers = field(default_factory=IceServers)


@dataclass(frozen=True, slots=True)
class Link:
    """How a connection does, by its own and the other side's reports."""

    packets_in: int = 0
    sent_bytes: int = 0  # of encoded video
    estimate_bps: int | None = None  # what the receiver says it can take (REMB)
    lost: float = 0.0  # share of the last report's video packets
    rtt_ms: float | None = None
    encode_ms: float | None = None  # per picture, median


class Peer:
    """Use: accept(), answer(), close(). `on_lost` gets the reason, once, unless close() came first."""

    def __init__(self, config: PeerConfig, on_lost: Callable[[str], None], lease: Lease) -> None:
        """lease: what the connection takes of its client's account; given back when it is closed."""
        self.camera: MediaStreamTrack | None = None
        self.microphone: MediaStreamTrack | None = None
        self.other: MediaStreamTrack | None = None  # what somebody says to them
        self.channel: RTCDataChannel | None = None  # "stats", once the other side has opened it
        self._config = config
        self._on_lost = on_lost
        self.lease = lease
        # All in one from the start: aiortc leaves a second voice behind where it moves them together later.
        self._connection = RTCPeerConnection(
            RTCConfiguration(
                iceServers=config.ice_servers.for_aiortc(time()), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
            )
        )
        self.encoder: RenderedEncoder | None = None  # of what is sent, from accept() on
        self._pictures: PictureTrack | None = None
        self._camera_buffer: PromptJitterBuffer | None = None
        self._offer: Offer | None = None
        self._restarts = RateLimiter(RESTARTS_PER_MIN / 60, RESTARTS_AT_ONCE)
        self._restarting = False
        self._restart: ice.Restart | None = None
        self._answering: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._hanging_up: asyncio.Task[None] | None = None  # held, for it may outlast closing
        self._closed = False
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("datachannel", self._on_channel)

    @property
    def connected(self) -> bool:
        """Media may flow."""
        return self._connection.connectionState == "connected"

    @property
    def too_large(self) -> Size | None:
        """Of the camera's pictures, where they are not taken because of it."""
        return None if self._camera_buffer is None else self._camera_buffer.too_large

    @property
    def waits_for_key_frame(self) -> bool:
        """The camera's packets come, and no picture can be made of them yet."""
        return self._camera_buffer is not None and self._camera_buffer.waits_for_key_frame

    @property
    def key_frames_asked(self) -> int:
        """How often the camera was asked for one."""
        return 0 if self._camera_buffer is None else self._camera_buffer.asked

    @property
    def has_audio(self) -> bool:
        """Of the offer an audio section is served."""
        return any(transceiver.kind == "audio" for transceiver in self._connection.getTransceivers())

    async def accept(
        self,
        offer: Offer,
        pictures: PictureTrack | None,
        takes_camera: bool,
        on_key_frame_wanted: Callable[[], None] | None = None,
    ) -> None:
        """Apply a checked offer. Raises RequestRefused; on any failure the caller must close.

        on_key_frame_wanted: hears that the other side has asked for one, which `encoder` will make.
        """
        self._take_sockets(self.lease)
        self._pictures = pictures
        if pictures is not None:
            direction = "sendrecv" if takes_camera else "sendonly"
            prefer_codec(self._connection.addTransceiver(pictures, direction), self._config.encoder)
        self._offer, sdp = offer, offer.sdp
        if self._config.sockets.loopback_only:
            sdp = without_foreign_candidates(sdp)
        await accept_offer(self._connection, sdp)
        self._config.sockets.use(self._transport().iceGatherer)
        for transceiver in self._connection.getTransceivers():
            take_one_stream(transceiver.receiver)
            buffer = receive_promptly(transceiver.receiver)
            if isinstance(buffer, PromptJitterBuffer):
                self._camera_buffer = buffer
            if transceiver.kind == "audio" and takes_camera:
                if self.microphone is None:
                    self.microphone = transceiver.receiver.track
                else:
                    self.other = transceiver.receiver.track
            elif transceiver.kind == "video":
                if takes_camera:
                    self.camera = transceiver.receiver.track
                if pictures is not None:
                    self.encoder = encode_cleanly(transceiver, self._config.encoder)
                    report_steadily(transceiver, lambda: pictures.lateness.seconds)
                    tell_receivers(transceiver.sender, lambda: pictures.captured_ns)
                    if on_key_frame_wanted is not None:
                        hear_key_frame_requests(transceiver.sender, on_key_frame_wanted)

    def add_voice(self, voice: VoiceTrack) -> None:
        """Send this voice in the offer's audio section. Between accept() and answer()."""
        self._connection.addTrack(voice)
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind == "audio" and transceiver.sender.track is voice:
                report_steadily(transceiver, lambda: voice.late_s)
                tell_receivers(transceiver.sender, lambda: voice.captured_ns)

    async def answer(self) -> RTCSessionDescription:
        """Our answer, with the candidates that we have; now the connection comes up. Raises RequestRefused.

        After accept().
        """
        assert self._offer is not None
        answering = self._connection.setLocalDescription()
        self._answering = tasks.start(answering, "answer", expected=(Exception,))  # it is the offer's fault
        answer = await make_answer(self._connection, self._answering)
        sdp = self._offer.answer(answer.sdp)
        if cast(MediaConnection, self._ice()).asks_servers:
            sdp = sdp.replace("a=end-of-candidates\r\n", "")
        return RTCSessionDescription(sdp, answer.type)

    @property
    def ice_tag(self) -> str:
        """Names our end of the ICE session; another after every restart. From answer() on."""
        return self._ice().local_username

    @property
    def remote_ufrag(self) -> str | None:
        """Names the other end of the ICE session."""
        return self._ice().remote_username

    async def add_candidates(self, sdpfrag: str) -> None:
        """Take candidates that came late (trickle ICE). Raises RequestRefused."""
        fragment = ice.read_fragment(sdpfrag, self._config.sockets.loopback_only)
        await ice.add_candidates(self._ice(), fragment)

    async def restart_ice(self, sdpfrag: str) -> str:
        """Find a new path below the live connection; gives our fragment. Raises RequestRefused (422, 429)."""
        if self._restarting or (self._restart is not None and not self._restart.task.done()):
            raise RequestRefused(422, "an ICE restart is going on; wait for its end")
        fragment = ice.read_fragment(sdpfrag, self._config.sockets.loopback_only)
        if wait_s := self._restarts.take("", 1.0, monotonic()):
            raise RequestRefused(429, "too many ICE restarts; try again later", retry_after_s=wait_s)
        self._restarting = True  # before anything is awaited: forty that came at once were all let in
        lease = self.lease.account.lease()
        try:
            self._take_sockets(lease)
            servers = self._config.ice_servers.for_aiortc(time())
            restart = await ice.restart(self._transport(), fragment, servers, self._config.sockets)
        except BaseException:
            lease.give_back()
            raise
        finally:
            self._restarting = False
        restart.task.add_done_callback(lambda _: lease.give_back())  # the old path's sockets or the new one's
        if self._closed:
            await restart.end()
            raise RequestRefused(404, "the connection has ended meanwhile")
        self._restart = restart
        return restart.fragment(self._connection.localDescription.sdp)

    async def link(self) -> Link:
        """How the connection does now."""
        link = Link()
        for sender in self._connection.getSenders():
            if sender.kind != "video":
                continue
            for report in (await sender.getStats()).values():
                if isinstance(report, RTCRemoteInboundRtpStreamStats):
                    rtt_s = report.roundTripTime
                    lost = report.fractionLost / 256  # RFC 3550 section 6.4.1: fixed point, 8 bits
                    link = replace(link, lost=lost, rtt_ms=None if rtt_s is None else round(rtt_s * 1e3, 1))
                elif isinstance(report, RTCTransportStats):
                    link = replace(link, packets_in=report.packetsReceived)
        if self.encoder is None:
            return link
        effort, estimate_bps = self.encoder.effort, self.encoder.bitrate.estimate_bps
        times = sorted(effort.encode_ms)
        return replace(
            link,
            sent_bytes=effort.sent_bytes,
            estimate_bps=estimate_bps,
            encode_ms=times[len(times) // 2] if times else None,
        )

    async def close(self) -> None:
        """Hang up and release everything, even where the caller is cancelled; raises nothing."""
        self._closed = True
        if self._closing is None:
            self._closing = tasks.start(self._release(), "hang up")
        await asyncio.wait([self._closing])

    async def _release(self) -> None:
        if self._restart is not None:
            await tasks.attempt("disconnect", self._restart.end())
        if self._pictures is not None:
            self._pictures.stop()
        if self._answering is not None:  # no one closes a socket that ICE opens after the connection's end
            await asyncio.wait([self._answering], timeout=CLOSE_LIMIT_S)
        self._hanging_up = tasks.start(self._connection.close(), "disconnect")
        await asyncio.wait(
            [self._hanging_up], timeout=CLOSE_LIMIT_S
        )  # cancelled, it would leave sockets open
        self.lease.give_back()
        if not self._hanging_up.done():
            logger.error("a peer connection did not close in %.0f s", CLOSE_LIMIT_S)

    def _take_sockets(self, lease: Lease) -> None:
        """Raises RequestRefused (429)."""
        if not lease.take("media_sockets", self._config.sockets.each()):
            raise RequestRefused(429, "too many connections of yours; end one, or wait", retry_after_s=10)

    def _transport(self) -> RTCIceTransport:
        """All sections are bundled: they share one."""
        return self._connection.getTransceivers()[0].receiver.transport.transport

    def _ice(self) -> aioice.Connection:
        """The newest generation."""
        if self._restart is not None and not self._restart.task.done():
            return self._restart.connection
        return self._transport()._connection

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == STATS_LABEL:
            self.channel = channel

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state in ("failed", "closed") and not self._closed:
            self._closed = True
            transceivers = self._connection.getTransceivers()
            no_dtls = any(one.receiver.transport.state == "failed" for one in transceivers)
            reason = NO_DTLS if no_dtls else f"the connection is {state}"
            tasks.guard("connection lost", None, self._on_lost, reason)
