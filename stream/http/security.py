"""Who may ask this server for what: this machine, its own page, holders of the token; and not too often.

Also the headers that tell browsers how little a page of ours may do. Time comes in as an argument. Knows
nothing of sessions.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from stream.budgets import RateLimiter
from stream.http.client_address import Network, client_key
from stream.webrtc.negotiation import RequestRefused

OFFER_COST = 5.0  # an offer is parsed, and ports are opened for it
WRONG_TOKEN_COST = 20.0
# Two of one of these, and a proxy in front may have judged by the other one (RFC 9110 section 5.3).
SINGLE_FIELDS = ("Host", "Origin", "Authorization", "Content-Type", "Content-Encoding")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "avatarcast",
}
CORS_HEADERS = {  # safe with a token only: what another site's page cannot know, it cannot use
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Patch, Retry-After",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How far a server can be reached, and what it asks of whoever reaches it."""

    token: str | None = field(default=None, repr=False)  # None: asked of nobody
    loopback_only: bool = True  # refuse other Host names, and send no packet off this machine
    proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For is believed
    requests_per_s: float = 20.0  # of one peer, in the long run
    burst: float = 200.0  # requests of one peer at once


@dataclass(frozen=True, slots=True)
class Rule:
    """What one route asks of a request."""

    wants_token: bool = True  # where the server has one
    from_anywhere: bool = False  # pages of other sites may ask, where the server has a token
    cost: float = 1.0  # in requests, against the peer's rate


class Refused(RequestRefused):
    """A refusal with header fields of its own."""

    def __init__(self, status: int, text: str, headers: dict[str, str]) -> None:
        super().__init__(status, text)
        self.headers = headers


class Gate:
    """Lets a request through or refuses it, before anything of its body is read."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rates = RateLimiter(access.requests_per_s, access.burst)

    def check(self, request: web.Request, rule: Rule, now_s: float) -> None:
        """Raises RequestRefused (400, 401, 403, 415, 429). now_s: of any clock that never runs backwards."""
        token = self._access.token
        for name in SINGLE_FIELDS:
            if len(request.headers.getall(name, ())) > 1:
                raise RequestRefused(400, f"the request has more than one {name}; one is read")
        self._check_source(request, rule.from_anywhere and token is not None)
        forwarded = request.headers.getall("X-Forwarded-For", ())
        key = client_key(request.remote or "", forwarded, self._access.proxies)
        wait_s = self._rates.take(key, rule.cost, now_s)
        if wait_s:
            seconds = str(int(wait_s) + 1)
            raise Refused(429, f"too many requests; try again in {seconds} s", {"Retry-After": seconds})
        wanted = token if rule.wants_token and request.method != "OPTIONS" else None  # a preflight has none
        if wanted is not None and not _holds(request.headers.get("Authorization", ""), wanted):
            self._rates.drain(key, WRONG_TOKEN_COST, now_s)
            raise Refused(
                401,
                "the server's token is missing or wrong; send Authorization: Bearer TOKEN, "
                "or open the page with #token=TOKEN at the end of its address",
                {"WWW-Authenticate": 'Bearer realm="avatarcast"'},
            )
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused(415, "the body is compressed; send it as it is", {"Accept-Encoding": "identity"})

    def _check_source(self, request: web.Request, from_anywhere: bool) -> None:
        try:
            host = urlsplit(f"//{request.host}").hostname or ""
        except ValueError:
            host = ""
        if self._access.loopback_only and not is_loopback(host):
            # a foreign name that resolves to 127.0.0.1 is how another site would get at this server
            raise RequestRefused(403, f"this server answers to localhost only, not to {host[:80]!r}")
        origin = request.headers.get("Origin")
        own = (None, f"http://{request.host}", f"https://{request.host}")  # https: behind a TLS proxy
        if not from_anywhere and request.method not in ("GET", "HEAD") and origin not in own:
            raise RequestRefused(403, f"requests from {origin!s:.80} are refused: use this server's own page")


def _holds(authorization: str, token: str) -> bool:
    """RFC 6750 section 2.1, in a time that tells nothing of the token."""
    scheme, _, credentials = authorization.partition(" ")
    given = credentials.strip().encode("utf-8", "surrogateescape")  # as aiohttp decodes header fields
    return hmac.compare_digest(given, token.encode()) and scheme.lower() == "bearer"


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
