"""Calls to a registry of sessions in the same process, without HTTP: real WebRTC over the loopback interface.

For tests of sessions. Presenters are benchmarks.live.peer.AiortcPeer; publishers and viewers are here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import av
import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from benchmarks.live.echo_server import EchoPipeline, echo_avatar
from benchmarks.live.glass_statistics import Arrival
from benchmarks.live.peer import AiortcPeer
from engine.media.frame_code import read
from stream.budgets import Account
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars
from stream.render.render_loop import FramePipeline
from stream.sessions.registry import SessionRegistry
from stream.sessions.session import Session
from stream.webrtc.aiortc_tuning import gather_on_loopback, receive_promptly
from stream.webrtc.negotiation import read_publish_request, read_request, read_viewer_offer
from tests.support.shaped_link import ShapedRelay

Builder = Callable[[], FramePipeline]


def avatars_of(builders: Mapping[str, Builder] | None = None) -> Avatars:
    """Avatars of these names and pipelines; the echo alone by default."""
    named = {"echo": EchoPipeline} if builders is None else builders
    return Avatars([echo_avatar(build, name) for name, build in named.items()])


async def present(
    registry: SessionRegistry, peer: AiortcPeer, relay: ShapedRelay | None = None, **fields: Any
) -> Session:
    """Call as a presenter. relay: opened; the call goes through it. fields: more of the request's body."""
    body = {**await peer.offer(), **fields}
    if relay is not None:
        body["sdp"] = relay.for_server(body["sdp"])
    session, answer = await registry.create(read_request(body))
    await peer.take_answer(answer.sdp if relay is None else relay.for_caller(answer.sdp))
    return session


async def present_again(registry: SessionRegistry, session_id: str, peer: AiortcPeer) -> Session:
    """Come back with a new connection."""
    secret = registry.session(session_id).claim.secret
    session, answer = await registry.resume(
        session_id, read_request({**await peer.offer(), "secret": secret})
    )
    await peer.take_answer(answer.sdp)
    return session


async def publish(
    registry: SessionRegistry,
    camera: MediaStreamTrack,
    name: str | None = None,
    codec: str | None = None,
    complete: bool = True,
) -> tuple[Session, RTCPeerConnection]:
    """Send a camera and take nothing back, as a WHIP client does. codec: the only one, e.g. "video/H264".

    complete: say that no more candidates will come.
    """
    gather_on_loopback()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    restrict(connection.addTransceiver(camera, "sendonly"), codec)
    await connection.setLocalDescription()
    sdp = connection.localDescription.sdp
    request = read_publish_request(
        sdp if complete else sdp.replace("a=end-of-candidates\r\n", ""), None, name
    )
    try:
        session, answer = await registry.create(request)
    except RequestRefused:
        await connection.close()
        raise
    await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    return session, connection


def restrict(transceiver: RTCRtpTransceiver, codec: str | None) -> None:
    """Leave only this codec; None: all."""
    if codec is not None:
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType == codec])


@dataclass
class WatchingPeer:
    """A viewer, as a WHEP client is one. Use: watch(), wait, close()."""

    audio: bool = False
    codec: str | None = None  # the only one
    arrivals: list[Arrival] = field(default_factory=list)
    sounds: list[av.AudioFrame] = field(default_factory=list)
    luma: NDArray[np.uint8] | None = None  # of the last picture
    viewer_id: str = ""

    def __post_init__(self) -> None:
        gather_on_loopback()
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []

    async def offer(self) -> str:
        """To receive."""
        restrict(self.connection.addTransceiver("video", "recvonly"), self.codec)
        if self.audio:
            self.connection.addTransceiver("audio", "recvonly")
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def watch(self, session: Session, account: Account | None = None) -> None:
        """Join the viewers of this session."""
        self.viewer_id, answer = await session.add_viewer(
            read_viewer_offer(await self.offer()), account=account
        )
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        for transceiver in self.connection.getTransceivers():
            receive_promptly(transceiver.receiver)
            self._tasks.append(asyncio.create_task(self._take(transceiver.receiver.track)))

    async def _take(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.AudioFrame):
                    self.sounds.append(frame)
                    continue
                assert isinstance(frame, av.VideoFrame)
                self.luma = np.asarray(frame.to_ndarray()[: frame.height], np.uint8)
                self.arrivals.append(Arrival(perf_counter_ns(), read(self.luma)))
        except MediaStreamError:
            pass  # the session has ended

    async def close(self) -> None:
        """Leave without a word, as a browser does whose tab is closed."""
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
