"""From the offer of a browser, a WHIP or a WHEP client to our answer: what is checked, what is refused, how.

An offer is text from outside. Nothing in it may raise anything but RequestRefused, and with a loopback server
no address in it may make us send a packet to another machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from dataclasses import dataclass, field, replace
from typing import Any

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from stream.budgets import MOST_CANDIDATES, MOST_OFFER_LINES
from stream.refusal import RequestRefused
from stream.webrtc.offer import Offer, read_offer

logger = logging.getLogger(__name__)

NEGOTIATION_LIMIT_S = 10.0
DRIVERS = ("camera", "voice", "both")  # both: the camera, and the voice where that shows no face
_CANDIDATE = "a=candidate:"
_VIEW_NAME = re.compile("[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A checked request for a session."""

    offer: Offer | None  # None: an agent, which comes by no connection
    measure: bool = False  # read the frame code of the camera frame and stamp it on the answer's picture
    mirror: bool = False
    driver: str = "camera"  # of DRIVERS
    avatar: str | None = None  # None: the server's first
    name: str | None = None  # under which viewers find it, besides its view id
    receives: bool = True  # False: a WHIP publisher, which sends its camera and takes nothing back
    secret: str = field(default="", repr=False)  # of a session to take up again
    only_own_voice: bool = False  # as the server wants it, whatever the session says later

    def named(self, name: str | None) -> SessionRequest:
        """The same under this name."""
        return replace(self, name=name)


def read_request(body: Any) -> SessionRequest:
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
    for flag in ("measure", "mirror"):
        value = body.get(flag, False)
        if not isinstance(value, bool):
            raise RequestRefused(400, f"{flag} is {str(value)[:40]!r}; true or false is needed")
        flags[flag] = value
    avatar, name, secret = body.get("avatar"), body.get("name"), body.get("secret", "")
    if not isinstance(secret, str):
        raise RequestRefused(400, "secret is not text; send what came with the session")
    if not isinstance(avatar, str | None):
        raise RequestRefused(400, f"avatar is {str(avatar)[:40]!r}; the name of one of /api/config is needed")
    driver = checked_driver(body.get("driver", "camera"))
    offer = _read(
        sdp, ("sendrecv",), True, "no video to send and receive; offer one camera as sendrecv", listens=True
    )
    return SessionRequest(offer, driver=driver, avatar=avatar, name=view_name(name), secret=secret, **flags)


def read_publish_request(
    sdp: str, avatar: str | None, name: str | None, driver: str | None = None
) -> SessionRequest:
    """Check a WHIP offer (RFC 9725 section 4.2). Raises RequestRefused (400) with one line.

    driver: of DRIVERS; None: the voice for an offer without a camera, else the camera.
    """
    if driver is not None:
        checked_driver(driver)
    without = "no video to send; offer one camera as sendonly"
    by_sound = driver != "camera"
    offer = _read(sdp, ("sendonly", "sendrecv"), False, without, by_sound, listens=True)
    driver = driver or ("camera" if offer.has_video else "voice")
    return SessionRequest(
        _of_dtls_client(offer), driver=driver, avatar=avatar, name=view_name(name), receives=False
    )


def read_agent_request(avatar: str | None, name: str | None) -> SessionRequest:
    """Of a program that sends a voice by itself. Raises RequestRefused (400)."""
    return SessionRequest(None, driver="voice", avatar=avatar, name=view_name(name), receives=False)


def checked_driver(driver: Any) -> str:
    """Raises RequestRefused (400) where it is none of DRIVERS."""
    if driver not in DRIVERS:
        raise RequestRefused(400, f"driver is {str(driver)[:40]!r}; one of {', '.join(DRIVERS)} is needed")
    return str(driver)


def read_viewer_offer(sdp: str) -> Offer:
    """Check a WHEP offer. Raises RequestRefused (400) with one line."""
    without = "no video to receive; offer one video section as recvonly"
    return _of_dtls_client(_read(sdp, ("recvonly", "sendrecv"), True, without))


def _of_dtls_client(offer: Offer) -> Offer:
    """The offer of a peer that may take either role in DTLS, with the client's chosen.

    A media server is expected in the server's role (RFC 9725 section 4.4.4), and GStreamer, whose certificate
    is RSA, shares no cipher with aiortc in the client's.
    """
    return replace(offer, sdp=offer.sdp.replace("a=setup:actpass\r\n", "a=setup:active\r\n"))


def view_name(name: Any) -> str | None:
    """A name to present under, or None. Raises RequestRefused (400) where it is neither."""
    if name is not None and not (isinstance(name, str) and _VIEW_NAME.fullmatch(name)):
        raise RequestRefused(
            400, f"name is {str(name)[:40]!r}; 1 to 40 of the letters A-Z and a-z, digits, - and _ are needed"
        )
    return name


def _read(
    sdp: str,
    directions: tuple[str, ...],
    sends: bool,
    without_video: str,
    sound_will_do: bool = False,
    listens: bool = False,
) -> Offer:
    """As read_offer() does. Raises RequestRefused (400)."""
    lines = len(sdp.splitlines())
    if lines > MOST_OFFER_LINES:
        raise RequestRefused(400, f"the offer has {lines} lines; {MOST_OFFER_LINES} are read")
    check_candidates(sdp)
    try:
        offer = read_offer(sdp, directions, sends, without_video, sound_will_do, listens)
        SessionDescription.parse(offer.sdp)
    except RequestRefused:
        raise
    except Exception as error:  # the parser raises nearly anything on text that is not SDP
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(
            400, "sdp cannot be read as a session description; send the offer unchanged"
        ) from error
    for line in offer.refused:
        logger.info("of an offer, %s", line)
    return offer


def check_candidates(sdp: str) -> None:
    """Raises RequestRefused (400) where a section has more than are taken. Before anything is parsed.

    Each is paired with every address of ours, and the pairs are sorted: 951 held up everybody for 0.4 s.
    """
    for section in re.split("(?m)^m=", sdp):
        if (count := section.count(_CANDIDATE)) > MOST_CANDIDATES:
            raise RequestRefused(400, f"{count} candidates; at most {MOST_CANDIDATES} are taken")


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


async def accept_offer(connection: RTCPeerConnection, sdp: str) -> None:
    """Apply what a checked offer gives aiortc. Raises RequestRefused (400) where it cannot be applied."""
    try:
        description = RTCSessionDescription(sdp=sdp, type="offer")
        await asyncio.wait_for(connection.setRemoteDescription(description), NEGOTIATION_LIMIT_S)
    except Exception as error:  # as in _read: text from outside, and an open-ended list of exceptions
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(400, "the offer cannot be used; the server's log says why") from error


async def make_answer(
    connection: RTCPeerConnection, answering: asyncio.Future[None]
) -> RTCSessionDescription:
    """Answer, with our ICE candidates. Raises RequestRefused: 400 where no answer can be given, 503.

    answering: setLocalDescription() under way. It is never cancelled, for aioice would forget the sockets
    opened so far; whoever closes the connection waits for its end first.
    """
    try:
        await asyncio.wait_for(asyncio.shield(answering), NEGOTIATION_LIMIT_S)
    except RequestRefused:  # our own: no media port is free
        raise
    except Exception as error:  # an offer that was accepted may still be impossible to answer
        logger.info("an offer was refused", exc_info=True)
        raise RequestRefused(400, "the offer cannot be answered; the server's log says why") from error
    return connection.localDescription
