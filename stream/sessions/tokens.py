"""Rights, the tokens that carry them, and the claim of a presenter to come back.

To present, to watch, to use the studio and to operate the server are separate. The operator's token may do
everything. From it others are derived that carry some rights, for one name or view or for all of them, until
a time:

    RIGHTS.SCOPE.EXPIRES.ID.MAC         watch.studio.1767225600.Qm9vay1zaG9w.qL0...

MAC is the HMAC-SHA256 (RFC 2104) of what stands before it, by a random key that never leaves this process; so
none can be made up or changed, and none outlives the server. Time comes in as an argument, in s since 1970.
"""

from __future__ import annotations

import base64
import hmac
import math
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum

from stream.refusal import RequestRefused

MAX_LIFETIME_S = 30 * 24 * 3600.0
MAX_MADE = 1_000  # that the operator has made and that are still good
_SCOPE = re.compile("[A-Za-z0-9_-]{0,64}")


class Right(str, Enum):
    """What somebody may do here."""

    PRESENT = "present"  # begin a session, and steer it by its id
    WATCH = "watch"  # receive a session's pictures and voice
    STUDIO = "studio"  # record, make avatars, delete recordings
    OPERATE = "operate"  # all of it; also metrics, and making and revoking tokens


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do, by the token that came with it."""

    rights: frozenset[Right]
    scope: str = ""  # the name to present under, or the name or view id to watch; "": any
    id: str = ""  # of a derived token; "": not by one
    expires_s: float = math.inf

    def may(self, *rights: Right) -> bool:
        """Whether it carries one of these."""
        return Right.OPERATE in self.rights or not self.rights.isdisjoint(rights)

    def has_expired(self, now_s: float) -> bool:
        """Whether it is good for nothing any more."""
        return self.expires_s <= now_s

    def covers(self, names: Collection[str]) -> bool:
        """Whether its scope allows what has these names."""
        return not self.scope or self.scope in names


class Claim:
    """To a session, and to its name while it waits for its presenter.

    Held by its secret; or by the token that it was begun with, where that presents under this name only, or
    where its presenter was given no secret, as WHIP publishers are not.
    """

    def __init__(self, name: str | None, grant: Grant, has_secret: bool = True) -> None:
        """has_secret: the presenter is given its secret."""
        self.secret = secrets.token_urlsafe(32)
        self.grant = grant
        self._by_token = not has_secret or (bool(grant.id) and grant.scope == name)

    def is_held(self, secret: str, grant: Grant) -> bool:
        """By whoever comes with this secret and this grant."""
        by_secret = hmac.compare_digest(secret.encode("utf-8", "replace"), self.secret.encode())
        return by_secret or (self._by_token and grant == self.grant)


NOBODY = Grant(frozenset())
OPERATOR = Grant(frozenset(Right))


@dataclass(frozen=True, slots=True)
class Made:
    """A token that was just made."""

    text: str = field(repr=False)
    grant: Grant


class BadToken(Exception):
    """A token that is good for nothing, or no longer."""


class Tokens:
    """Those of one server. master: the operator's token; None: nobody is asked for any."""

    def __init__(self, master: str | None) -> None:
        self._master = master
        self._key = b""
        self._made: dict[str, Grant] = {}
        self._revoked: set[str] = set()
        self.change_key()

    def read(self, text: str, now_s: float) -> Grant:
        """What this token may do. Raises BadToken, after a time that tells nothing of a right one."""
        given = text.encode("utf-8", "surrogateescape")  # as aiohttp decodes header fields
        if self._master is not None and hmac.compare_digest(given, self._master.encode()):
            return OPERATOR
        signed, _, mac = given.rpartition(b".")
        if not hmac.compare_digest(mac, self._mac(signed)):
            raise BadToken("the token is missing or wrong")
        rights, scope, expires, number = signed.decode("ascii").split(".")
        grant = Grant(frozenset(map(Right, rights.split("+"))), scope, number, float(expires))
        if grant.has_expired(now_s):
            raise BadToken("the token has expired; ask for a new one")
        if grant.id in self._revoked:
            raise BadToken("the token was revoked; ask for a new one")
        return grant

    def make(self, rights: Iterable[Right], scope: str, expires_s: float, now_s: float) -> Made:
        """A token that the operator hands out. Raises RequestRefused (400, 503)."""
        made = self._derive(frozenset(rights), scope, expires_s)
        if len(self.made(now_s)) >= MAX_MADE:
            raise RequestRefused(503, f"{MAX_MADE} tokens are in use; revoke some first")
        self._made[made.grant.id] = made.grant
        return made

    def share(self, view: str, now_s: float) -> str:
        """A token to watch the session of this view id, until that ends; "" where nobody is asked for one."""
        if self._master is None:
            return ""
        return self._derive(frozenset({Right.WATCH}), view, now_s + MAX_LIFETIME_S).text

    def made(self, now_s: float) -> list[Grant]:
        """Those that the operator has made and that are still good, the last one first."""
        self._made = {grant.id: grant for grant in self._made.values() if not grant.has_expired(now_s)}
        return list(reversed(self._made.values()))

    def revoke(self, number: str) -> None:
        """Good for nothing from now on. number: the token's id, also of one that was shared."""
        self._made.pop(number, None)
        self._revoked.add(number)

    def change_key(self) -> None:
        """Every token but the operator's is good for nothing from now on."""
        self._key = secrets.token_bytes(32)
        self._made.clear()
        self._revoked.clear()

    def share_key(self, key: bytes) -> None:
        """Takes the key of other servers: a token of any is good at all of them."""
        self._key = key
        self._made.clear()
        self._revoked.clear()

    def adopt(self, text: str, now_s: float) -> None:
        """Knows of a token that another server of this key has made. Raises BadToken."""
        grant = self.read(text, now_s)
        self._made[grant.id] = grant

    def name_for(self, grant: Grant, wanted: str | None, now_s: float) -> str | None:
        """The name of a session that this grant begins. Raises RequestRefused (403).

        A name that a token to present was made for is its holder's.
        """
        if grant.may(Right.OPERATE):
            return wanted
        if grant.scope:
            if wanted not in (None, grant.scope):
                raise RequestRefused(403, f"this token presents as {grant.scope!r}, not as {wanted!r}")
            return grant.scope
        if any(other.scope == wanted and other.may(Right.PRESENT) for other in self.made(now_s)):
            raise RequestRefused(
                403, f"the name {wanted!r} is kept for whoever has its token; choose another"
            )
        return wanted

    def _derive(self, rights: frozenset[Right], scope: str, expires_s: float) -> Made:
        if not rights or not _SCOPE.fullmatch(scope):
            raise RequestRefused(
                400, "a token needs a right, and a name of up to 64 letters, digits, - and _"
            )
        grant = Grant(rights, scope, secrets.token_urlsafe(9), float(math.floor(expires_s)))
        words = "+".join(sorted(right.value for right in rights))
        signed = f"{words}.{scope}.{grant.expires_s:.0f}.{grant.id}"
        return Made(f"{signed}.{self._mac(signed.encode()).decode()}", grant)

    def _mac(self, signed: bytes) -> bytes:
        digest = hmac.digest(self._key, signed, "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=")
