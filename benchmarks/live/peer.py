"""A headless caller: sends numbered pictures to a live server, and notes when each comes back.

The send time of a picture is the moment its raw frame is handed to the encoder, the receive time the moment
its decoded answer is at hand; so both codecs, both network ways, all queues and the renderer lie between.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import aiohttp
import av
import numpy as np
from aioice.ice import CandidatePair
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE, MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from benchmarks.live.glass_statistics import Arrival
from benchmarks.live.server_link import at, bearer
from engine.media.frame_code import NUMBER_MODULUS, code_size_px, read, stamp
from stream.media.encoders import SOFTWARE_H264, EncoderChoice
from stream.webrtc.aiortc_tuning import gather_on_loopback, prefer_codec, receive_promptly

VP8_FIRST = EncoderChoice(SOFTWARE_H264, h264_first=False, reason="as browsers do")
Planes = NDArray[np.uint8]  # (H * 3 / 2, W) planar YUV 4:2:0


class StampedCamera(MediaStreamTrack):
    """A webcam of looped pictures, each with its running number in the corner, at an even rate.

    `picture(elapsed_s)` gives the planes to show at that time; they are copied, then stamped.
    """

    kind = "video"

    def __init__(self, picture: Callable[[float], Planes], fps: float) -> None:
        super().__init__()
        self.sent_ns: dict[int, list[int]] = {}  # number -> when it was handed to the encoder
        self.sent = 0
        self._picture = picture
        self._fps = fps
        self._start_ns: int | None = None

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start_ns is None:
            self._start_ns = perf_counter_ns()
        due_s = self.sent / self._fps
        await asyncio.sleep(due_s - (perf_counter_ns() - self._start_ns) / 1e9)
        planes = self._picture(due_s).copy()
        height = planes.shape[0] * 2 // 3
        number = self.sent % NUMBER_MODULUS
        stamp(planes[:height], number)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(due_s * VIDEO_CLOCK_RATE), VIDEO_TIME_BASE
        self.sent += 1
        self.sent_ns.setdefault(number, []).append(perf_counter_ns())
        return frame


def without_colour_in_the_corner(planes: Planes) -> Planes:
    """A copy whose chroma is neutral where the frame code will be, so that black and white stay so in RGB."""
    planes = planes.copy()
    width, height = planes.shape[1], planes.shape[0] * 2 // 3
    code_width, code_height = (-(-side // 2) for side in code_size_px(width))
    for first in (0, 1):  # U, then V; each is (H / 2, W / 2), stored as rows of W
        plane = planes[height:].reshape(2, height // 2, width // 2)[first]
        plane[:code_height, :code_width] = 128
    return planes


@dataclass
class AiortcPeer:
    """One call. Use: connect(), wait, close()."""

    link: str
    camera: MediaStreamTrack
    microphone: MediaStreamTrack | None = None
    measure: bool = True
    on_picture: Callable[[NDArray[np.uint8]], None] | None = None  # gets the luma, (H, W)
    arrivals: list[Arrival] = field(default_factory=list)
    audio_arrivals: list[tuple[int, av.AudioFrame]] = field(default_factory=list)
    stats: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # (receive time ns, message)
    session: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gather_on_loopback()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> str:
        """The peer connection's state, "connected" while all is well."""
        return self._connection.connectionState

    async def offer(self) -> dict[str, Any]:
        """The body of the request for a session."""
        video = self._connection.addTransceiver(self.camera, "sendrecv")
        prefer_codec(video, VP8_FIRST)
        if self.microphone is not None:
            self._connection.addTransceiver(self.microphone, "sendrecv")
        channel = self._connection.createDataChannel("stats")
        channel.on("message", self._on_stats)
        await self._connection.setLocalDescription()
        local = self._connection.localDescription
        return {"sdp": local.sdp, "type": local.type, "measure": self.measure}

    async def connect(self) -> None:
        """Call the server. Raises ConnectionError with the server's words where it refuses."""
        body = await self.offer()
        where, headers = at(self.link, "/api/sessions"), bearer(self.link)
        async with aiohttp.ClientSession(headers=headers) as http, http.post(where, json=body) as reply:
            self.session = await reply.json()
            if reply.status != 200:
                raise ConnectionError(f"status {reply.status}: {self.session.get('error')}")
        await self.take_answer(self.session["sdp"])

    async def take_answer(self, sdp: str) -> None:
        """Go on with the server's answer to the offer."""
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
        for transceiver in self._connection.getTransceivers():
            receive_promptly(transceiver.receiver)
            self._tasks.append(asyncio.create_task(self._receive(transceiver.receiver.track)))

    async def _receive(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):  # the call has ended
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    at_ns = perf_counter_ns()
                    self.seen(frame, np.asarray(frame.to_ndarray()[: frame.height], np.uint8), at_ns)
                elif isinstance(frame, av.AudioFrame):
                    self.heard(frame, perf_counter_ns())

    def seen(self, frame: av.VideoFrame, luma: NDArray[np.uint8], at_ns: int) -> None:
        """A picture came; luma: (H, W)."""
        self.arrivals.append(Arrival(at_ns, read(luma)))
        if self.on_picture is not None:
            self.on_picture(luma)

    def heard(self, frame: av.AudioFrame, at_ns: int) -> None:
        """Sound came."""
        self.audio_arrivals.append((at_ns, frame))

    def path(self) -> tuple[int, str, int]:
        """Descriptor of the socket that the call goes by, and the address it sends to. While connected."""
        pair = self._pair()
        sock: socket.socket = pair.protocol.transport.get_extra_info("socket")
        return sock.fileno(), *pair.remote_addr

    def overhear(self, most: int) -> list[bytes]:
        """A list that fills with the next datagrams that this peer sends, up to so many. While connected."""
        transport, heard = self._pair().protocol.transport, list[bytes]()
        send = transport.sendto

        def sendto(data: bytes, addr: Any = None) -> None:
            if len(heard) < most:
                heard.append(bytes(data))
            send(data, addr)

        setattr(transport, "sendto", sendto)  # noqa: B010  a method of one socket
        return heard

    def _pair(self) -> CandidatePair:
        ice = self._connection.getTransceivers()[0].receiver.transport.transport
        return ice._connection._nominated[1]

    def _on_stats(self, message: str) -> None:
        self.stats.append((perf_counter_ns(), json.loads(message)))

    async def close(self) -> None:
        """Hang up and release everything."""
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
