"""One session's pictures as plain RTP, for a media server that fans them out: Janus, or another.

    python -m stream.forward_rtp http://127.0.0.1:8080/whep/studio --token-file watch --to 127.0.0.1:5004

Watches by WHEP as one viewer, and passes each packet on as it came, nothing decoded or encoded: so the server
encodes and sends once, however many watch elsewhere. For Janus it is the video of a mountpoint of the
streaming plugin, of type rtp, with `videoport` where --to says and `videortcpport` the next; key frames that
its viewers ask for are asked of the server. Retransmissions and header extensions end here.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription, rtcrtpreceiver
from aiortc.codecs import is_rtx
from aiortc.rtp import HeaderExtensions, RtcpPacket, RtcpPsfbPacket, RtcpRrPacket, RtpPacket, unwrap_rtx
from aiortc.sdp import SessionDescription

from engine.errors import AvatarcastError, SettingsError
from stream import tasks
from stream.webrtc.aiortc_tuning import gather_on_loopback

CODECS = {"h264": "video/H264", "vp8": "video/VP8"}
PAYLOAD_TYPE = 96
LATCH_PERIOD_S = 1.0  # Janus answers to whoever spoke to its RTCP port last


class Port(asyncio.DatagramProtocol):
    """Datagrams to one address."""

    def __init__(self, heard: Callable[[bytes], None] | None = None) -> None:
        self._heard = heard
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """asyncio's."""
        if self._heard is not None:
            self._heard(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there yet."""

    def send(self, data: bytes) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.sendto(data)

    def close(self) -> None:
        """Lets the socket go."""
        if self._transport is not None:
            self._transport.close()


class Forwarder:
    """One WHEP view to one RTP address. Use: start(), then whatever, then stop()."""

    def __init__(self, view: str, token: str, host: str, port: int, codec: str = "h264") -> None:
        self._view, self._token, self._to, self._codec = view, token, (host, port), codec
        self.packets = self.key_frames_asked = 0
        self._rtp, self._rtcp = Port(), Port(self._feedback)
        self._ssrc = 0
        self._location = ""
        self._latching: asyncio.Task[None] | None = None
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def start(self) -> None:
        """Watches from now on. Raises AvatarcastError where the server refuses."""
        loop = asyncio.get_running_loop()
        host, port = self._to
        await loop.create_datagram_endpoint(lambda: self._rtp, remote_addr=(host, port))
        await loop.create_datagram_endpoint(lambda: self._rtcp, remote_addr=(host, port + 1))
        transceiver = self._connection.addTransceiver("video", direction="recvonly")
        known = RTCRtpReceiver.getCapabilities("video")
        kinds = [] if known is None else known.codecs
        wanted = [kind for kind in kinds if kind.mimeType in (CODECS[self._codec], "video/rtx")]
        transceiver.setCodecPreferences(wanted)
        self._receiver = transceiver.receiver
        await self._connection.setLocalDescription()
        answer = await self._post(self._connection.localDescription.sdp)
        self._pass_on(self._receiver, answer)
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        self._latching = asyncio.create_task(self._latch())

    async def stop(self) -> None:
        """Hangs up."""
        if self._latching is not None:
            self._latching.cancel()
            with suppress(asyncio.CancelledError):
                await self._latching
        await self._connection.close()
        self._rtp.close()
        self._rtcp.close()
        await asyncio.sleep(0)  # they do so in the loop's next round
        if self._location:
            headers = {"Authorization": f"Bearer {self._token}"}
            with suppress(aiohttp.ClientError):
                async with aiohttp.ClientSession(headers=headers) as http, http.delete(self._location):
                    pass

    async def _post(self, sdp: str) -> str:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/sdp"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as http,
                http.post(self._view, data=sdp) as reply,
            ):
                text = await reply.text()
                if reply.status != 201:
                    raise AvatarcastError(f"{self._view} answered {reply.status}: {text.strip()[:200]}")
                self._location = urljoin(self._view, reply.headers["Location"])
                return text
        except aiohttp.ClientError as error:
            raise AvatarcastError(f"{self._view} does not answer: {error}") from error

    def _pass_on(self, receiver: RTCRtpReceiver, answer: str) -> None:
        """Packets go on as they come; the receiver still reports, and asks for lost ones."""
        (section,) = SessionDescription.parse(answer).media
        retransmitted = {
            codec.payloadType: int(str(codec.parameters["apt"]))
            for codec in section.rtp.codecs
            if is_rtx(codec)
        }
        handle = receiver._handle_rtp_packet

        async def handled(packet: RtpPacket, arrival_time_ms: int) -> None:
            payload_type = retransmitted.get(packet.payload_type)
            if payload_type is None:
                self._ssrc = packet.ssrc
                self._forward(packet)
            elif len(packet.payload) > 2 and self._ssrc:
                self._forward(unwrap_rtx(packet, payload_type, self._ssrc))
            await handle(packet, arrival_time_ms=arrival_time_ms)

        setattr(receiver, "_handle_rtp_packet", handled)  # noqa: B010  a method of one receiver

    def _forward(self, packet: RtpPacket) -> None:
        passed = RtpPacket(
            PAYLOAD_TYPE, packet.marker, packet.sequence_number, packet.timestamp, packet.ssrc, packet.payload
        )
        passed.extensions = HeaderExtensions()
        self._rtp.send(passed.serialize())
        self.packets += 1

    async def _latch(self) -> None:
        while True:
            self._rtcp.send(bytes(RtcpRrPacket(ssrc=1)))
            await asyncio.sleep(LATCH_PERIOD_S)

    def _feedback(self, data: bytes) -> None:
        with suppress(ValueError):
            packets = RtcpPacket.parse(data)
            if self._ssrc and any(isinstance(packet, RtcpPsfbPacket) for packet in packets):
                self.key_frames_asked += 1
                tasks.start(self._receiver._send_rtcp_pli(self._ssrc), "key frame")


def decode_nothing() -> None:
    """From now on this process's receivers drop their pictures undecoded."""

    def drained(loop: Any, incoming: Any, outgoing: Any, failed: Any) -> None:
        while incoming.get() is not None:
            pass
        asyncio.run_coroutine_threadsafe(outgoing.put(None), loop)

    setattr(rtcrtpreceiver, "decoder_worker", drained)  # noqa: B010


async def forward(args: argparse.Namespace, token: str, host: str, port: int) -> int:
    """Until Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    decode_nothing()
    gather_on_loopback()
    forwarder = Forwarder(args.view, token, host, port, args.codec)
    try:
        await forwarder.start()
        print(f"forwarding {args.view} to {host}:{port} as payload type {PAYLOAD_TYPE}", flush=True)
        await stop.wait()
    finally:
        await forwarder.stop()
    print(f"{forwarder.packets} packets; {forwarder.key_frames_asked} times a key frame was asked for")
    return 0


def main(words: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m stream.forward_rtp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("view", help="address of the WHEP view")
    parser.add_argument("--token-file", type=Path, required=True, help="holds a token to watch by")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="UDP; RTCP goes to the next port")
    parser.add_argument("--codec", choices=tuple(CODECS), default="h264", help="(default h264)")
    args = parser.parse_args(words)
    try:
        host, _, port = args.to.rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) < 65_535:
            raise SettingsError(f"--to {args.to}: wanted HOST:PORT, such as 127.0.0.1:5004")
        try:
            token = args.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"--token-file {args.token_file}: {error.strerror}") from error
        return asyncio.run(forward(args, token, host, int(port)))
    except AvatarcastError as error:
        print(f"stream.forward_rtp: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
