"""STUN and TURN servers and their credentials, for pages, for WHIP and WHEP clients, and for ourselves.

Static credentials are handed out as they are. With a secret shared with the TURN server, every request gets
credentials that expire: the user name is the time of expiry in Unix seconds, the password the base64 of its
HMAC-SHA1 under the secret (draft-uberti-behave-turn-rest-00 section 2.2; "use-auth-secret" of coturn). Time
comes in as an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCIceServer

from engine.errors import SettingsError

CREDENTIALS_LIFETIME_S = 12 * 3_600  # a call, and the coffee before it
# RFC 7064 and RFC 7065, with an IPv4 address or a host name: aiortc reads no IPv6 address here
_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>[A-Za-z0-9.-]{1,253})(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class IceServers:
    """Any number; all TURN servers share their credentials. Our own side, aiortc, uses one of each kind."""

    urls: tuple[str, ...] = ()
    user: str = ""  # static credentials, or
    password: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)  # a secret shared with the TURN server

    def __post_init__(self) -> None:
        for url in self.urls:
            match = _URL.fullmatch(url)
            if match is None or not 0 < int(match["port"] or 1) <= 65_535:
                raise SettingsError(
                    f"--ice-server {url[:80]!r}: stun:HOST:PORT, turn:HOST:PORT or "
                    "turn:HOST:PORT?transport=tcp is needed"
                )
            if match["scheme"].startswith("stun") and match["transport"]:
                raise SettingsError(f"--ice-server {url[:80]!r}: a STUN server takes no transport")
        if self.user and self.secret:
            raise SettingsError("--turn-user-file and --turn-secret-file are both given; one is needed")
        if self._has_turn != bool(self.user or self.secret):
            raise SettingsError(
                "a TURN server needs credentials: --turn-user-file or --turn-secret-file"
                if self._has_turn
                else "TURN credentials are given and no TURN server; add --ice-server turn:HOST"
            )

    @property
    def _has_turn(self) -> bool:
        return any(url.startswith("turn") for url in self.urls)

    def _credentials(self, now_s: float) -> tuple[str, str]:
        if not self.secret:
            return self.user, self.password
        user = str(int(now_s) + CREDENTIALS_LIFETIME_S)
        digest = hmac.new(self.secret.encode(), user.encode(), hashlib.sha1).digest()
        return user, base64.b64encode(digest).decode()

    def for_page(self, now_s: float) -> list[dict[str, Any]]:
        """As the browser's RTCConfiguration wants them. now_s: Unix time."""
        user, password = self._credentials(now_s)
        return [
            {"urls": url, "username": user, "credential": password}
            if url.startswith("turn")
            else {"urls": url}
            for url in self.urls
        ]

    def for_aiortc(self, now_s: float) -> list[RTCIceServer]:
        """As our own connections want them. now_s: Unix time."""
        return [RTCIceServer(**server) for server in self.for_page(now_s)]

    def link_headers(self, now_s: float) -> list[str]:
        """The values of HTTP Link headers (RFC 9725 section 4.6). now_s: Unix time."""
        links = []
        for server in self.for_page(now_s):
            link = f'<{server["urls"]}>; rel="ice-server"'
            if "username" in server:
                user, password = _quoted(server["username"]), _quoted(server["credential"])
                link += f'; username={user}; credential={password}; credential-type="password"'
            links.append(link)
        return links


def _quoted(text: str) -> str:
    """A quoted-string of RFC 9110 section 5.6.4; the text is printable ASCII."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
