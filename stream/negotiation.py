"""From a browser's offer to our answer: what is checked, what is refused, and with which words.

An offer is text from outside. Nothing in it may raise anything but RequestRefused, and with a loopback server
no address in it may make us send a packet to another machine. Knows nothing of HTTP servers, pipelines or
frames.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import aioice.ice
from aiortc import RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.sdp import SessionDescription

logger = logging.getLogger(__name__)

NEGOTIATION_LIMIT_S = 10.0
_CANDIDATE = "a=candidate:"


class RequestRefused(Exception):
    """A request that is not served; the text is shown to whoever sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked request for a session."""

    sdp: str
    has_audio: bool
    measure: bool = False  # read the frame code of the camera frame and stamp it on the answer's picture
    mirror: bool = False


def read_offer(body: Any) -> Offer:
    """Check a decoded JSON body. Raises RequestRefused (400) with one line."""
    if not isinstance(body, dict):
        raise RequestRefused(
            400, f"the body is a JSON {type(body).__name__}; an object with sdp and type is needed"
        )
    sdp, kind = body.get("sdp"), body.get("type")
    if not isinstance(sdp, str) or not sdp.strip():
        raise RequestRefused(400, "sdp is missing or not text; send the SDP of an offer")
    if kind != "offer":
        raise RequestRefused(400, f"type is {str(kind)[:40]!r}; 'offer' is needed")
    flags = {}
    for name in ("measure", "mirror"):
        value = body.get(name, False)
        if not isinstance(value, bool):
            raise RequestRefused(400, f"{name} is {str(value)[:40]!r}; true or false is needed")
        flags[name] = value
    media = Counter(_media_kinds(sdp))
    if not media["video"]:
        raise RequestRefused(400, "the offer has no video to send and receive; offer one camera as sendrecv")
    for name in media:
        if name not in ("audio", "video", "application"):
            raise RequestRefused(
                400, f"the offer has a section {name[:40]!r}; audio, video and data are understood"
            )
        if media[name] > 1:
            raise RequestRefused(400, f"the offer has {media[name]} {name} sections; one is served")
    return Offer(sdp=sdp, has_audio=bool(media["audio"]), **flags)


def _media_kinds(sdp: str) -> list[str]:
    """The kind of every media section; video only where it is to be sent and received."""
    try:
        description = SessionDescription.parse(sdp)
        names = [section.rtp.muxId or "" for section in description.media]
        bundled = [item for group in description.group if group.semantic == "BUNDLE" for item in group.items]
        kinds = [
            section.kind
            for section in description.media
            if section.kind != "video" or section.direction == "sendrecv"
        ]
    except Exception as error:  # the parser raises nearly anything on text that is no SDP; it touches nothing
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(
            400, "sdp cannot be read as a session description; send the offer unchanged"
        ) from error
    # aiortc takes these for granted, and half builds a connection that it cannot close again
    if "" in names or len(set(names)) < len(names) or sorted(bundled) != sorted(names):
        raise RequestRefused(400, "the offer's sections need one mid each, all in one BUNDLE group")
    return kinds


def without_foreign_candidates(sdp: str) -> str:
    """The offer without candidates that are not addresses of this machine.

    The browser is here, and its own checks reach us whatever it announces; so nothing is lost, no packet
    leaves the machine, and no mDNS name is asked of the network.
    """
    here = set(aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)) | {"127.0.0.1", "::1"}
    kept: list[str] = []
    removed = False
    for line in sdp.splitlines():
        fields = line.split()
        if line.startswith(_CANDIDATE) and (len(fields) < 6 or not _is_here(fields[4], here)):
            removed = True
            continue
        kept.append(line)
    if removed:  # ICE must go on waiting for the browser's checks
        kept = [line for line in kept if line.strip() != "a=end-of-candidates"]
    return "\r\n".join(kept) + "\r\n"


def _is_here(address: str, here: set[str]) -> bool:
    try:
        return address in here or ipaddress.ip_address(address).is_loopback
    except ValueError:  # a host name
        return False


def prefer_vp8(transceiver: RTCRtpTransceiver) -> None:
    """VP8 first: on a CPU it costs about a third of H.264. Others stay as a second choice."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/vp8"))


async def accept_offer(connection: RTCPeerConnection, sdp: str) -> None:
    """Apply a checked offer. Raises RequestRefused (400) where it cannot be applied."""
    try:
        description = RTCSessionDescription(sdp=sdp, type="offer")
        await asyncio.wait_for(connection.setRemoteDescription(description), NEGOTIATION_LIMIT_S)
    except Exception as error:  # as in _media_kinds: text from outside, and an open-ended list of exceptions
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(
            400, f"the offer cannot be used ({_one_line(error)}); VP8 or H.264 over DTLS is"
        ) from error


async def make_answer(connection: RTCPeerConnection) -> RTCSessionDescription:
    """Answer with all our ICE candidates in it. Raises RequestRefused (400) where no answer can be given."""
    try:
        await asyncio.wait_for(connection.setLocalDescription(), NEGOTIATION_LIMIT_S)
    except Exception as error:  # an offer that was accepted may still be impossible to answer
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(400, f"the offer cannot be answered ({_one_line(error)})") from error
    return connection.localDescription


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:120]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
