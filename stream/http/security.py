"""Who may ask this server for what: this machine, its own page, holders of a token; and not too often.

Which right each route needs is in stream/http/rules.py, what tokens carry in stream/sessions/tokens.py. Also
the headers that tell browsers how little a page of ours may do. Time comes in as an argument.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from stream.budgets import RateLimiter
from stream.http.client_address import Network, client_key
from stream.http.rules import Rule
from stream.refusal import RequestRefused
from stream.sessions.tokens import NOBODY, OPERATOR, BadToken, Grant, Right, Tokens

WRONG_TOKEN_COST = 20.0
MALFORMED = frozenset({400, 413, 415, 422})  # refusals of what had to be read first
MALFORMED_COST = 4.0  # requests more than one
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
SOURCE_TYPE_HEADER = "Digital-Source-Type"  # of the pictures, so that a platform can label without decoding
CORS_HEADERS = {  # safe with a token only: what another site's page cannot know, it cannot use
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": f"Location, ETag, Link, Accept-Patch, Retry-After, {SOURCE_TYPE_HEADER}",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How far a server can be reached, and what it asks of whoever reaches it."""

    token: str | None = field(default=None, repr=False)  # the operator's; None: asked of nobody
    made_token: bool = False  # by this start of the server, which then tells it
    loopback_only: bool = True  # refuse other Host names, and send no packet off this machine
    proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For is believed
    requests_per_s: float = 10.0  # of one peer, in the long run
    burst: float = 200.0  # requests of one peer at once


class Gate:
    """Lets a request through or refuses it, before anything of its body is read."""

    def __init__(self, access: Access, tokens: Tokens) -> None:
        self._access = access
        self._tokens = tokens
        self._rates = RateLimiter(access.requests_per_s, access.burst)

    def check(self, request: web.Request, rule: Rule, now_s: float, date_s: float) -> Grant:
        """What the request may do. Raises RequestRefused (400, 401, 403, 415, 429).

        now_s: of any clock that never runs backwards; date_s: since 1970.
        """
        for name in SINGLE_FIELDS:
            if len(request.headers.getall(name, ())) > 1:
                raise RequestRefused(400, f"the request has more than one {name}; one is read")
        self._check_source(request, rule.from_anywhere and self._access.token is not None)
        key = self.client(request)
        if wait_s := self._rates.take(key, rule.cost, now_s):
            text = f"too many requests; try again in {int(wait_s) + 1} s"
            raise RequestRefused(429, text, retry_after_s=wait_s)
        if self._access.token is None:
            grant = OPERATOR
        elif not rule.rights:
            grant = NOBODY
        else:
            try:
                grant = self._tokens.read(_bearer(request), date_s)
            except BadToken as error:
                # a made one is past guessing, and all of a machine are one client
                if not self._access.made_token:
                    self._rates.drain(key, WRONG_TOKEN_COST, now_s)
                raise RequestRefused(
                    401,
                    f"{error}; open the address that the server printed when it started, which ends in "
                    "#token=TOKEN, or send Authorization: Bearer TOKEN",
                    headers={"WWW-Authenticate": 'Bearer realm="avatarcast"'},
                ) from error
            if not grant.may(*rule.rights):
                raise RequestRefused(
                    403,
                    f"this token may {_listed(grant.rights)}; what is asked for needs {_listed(rule.rights)}",
                )
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            text, headers = "the body is compressed; send it as it is", {"Accept-Encoding": "identity"}
            raise RequestRefused(415, text, headers=headers)
        return grant

    def charge(self, client: str, now_s: float) -> None:
        """Count a request that was malformed for several: whoever means well sends few."""
        self._rates.drain(client, MALFORMED_COST, now_s)

    def client(self, request: web.Request) -> str:
        """Whose budgets the request counts against."""
        forwarded = request.headers.getall("X-Forwarded-For", ())
        return client_key(request.remote or "", forwarded, self._access.proxies)

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


def _bearer(request: web.Request) -> str:
    """The token of RFC 6750 section 2.1; "" where none came."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _listed(rights: frozenset[Right]) -> str:
    return " or ".join(sorted(right.value for right in rights))


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
