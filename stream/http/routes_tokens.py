"""Tokens that the operator hands out; what each route takes and gives is in stream/http/openapi.json.

Nothing but the answer to POST ever has the token itself.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from aiohttp import web

from stream.http.bodies import read_json
from stream.http.route import GRANT, Route
from stream.refusal import RequestRefused
from stream.sessions.registry import SessionRegistry
from stream.sessions.tokens import MAX_LIFETIME_S, Grant, Right, Tokens
from stream.webrtc.negotiation import view_name

logger = logging.getLogger(__name__)

USUAL_HOURS = 12
MAX_HOURS = MAX_LIFETIME_S / 3600


class TokenRoutes:
    """All of one server's tokens but the operator's own."""

    def __init__(self, registry: SessionRegistry, tokens: Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("GET", "/api/tokens", self._list),
            Route("POST", "/api/tokens", self._make),
            Route("DELETE", "/api/tokens", self._revoke_all),
            Route("DELETE", "/api/tokens/{id}", self._revoke),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"tokens": [_description(grant) for grant in self._tokens.made(time.time())]}
        )

    async def _make(self, request: web.Request) -> web.Response:
        body, now_s = await read_json(request), time.time()
        rights, scope, lifetime_s = _wanted(body)
        expires_s = min(now_s + lifetime_s, request[GRANT].expires_s)  # none outlives what it was made with
        made = self._tokens.make(rights, scope, expires_s, now_s)
        logger.info("token %s is made: %s", made.grant.id, "+".join(sorted(right.value for right in rights)))
        return web.json_response({**_description(made.grant), "token": made.text})

    async def _revoke(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        self._tokens.revoke(number)
        self._registry.cut_off(lambda grant: grant.id == number, "was revoked")
        logger.info("a token is revoked")
        return web.json_response({})

    async def _revoke_all(self, _: web.Request) -> web.Response:
        self._tokens.change_key()
        self._registry.cut_off(lambda grant: grant.id != "", "was revoked")
        logger.info("all tokens are revoked")
        return web.json_response({})


def _description(grant: Grant) -> dict[str, Any]:
    rights = [right.value for right in Right if right in grant.rights]
    return {"id": grant.id, "rights": rights, "scope": grant.scope, "expires": round(grant.expires_s)}


def _wanted(body: Any) -> tuple[set[Right], str, float]:
    """Rights, scope, lifetime in s. Raises RequestRefused (400)."""
    if not isinstance(body, dict):
        raise RequestRefused(400, 'a token needs {"rights": ["watch"]}')
    names, scope, hours = body.get("rights"), body.get("scope") or "", body.get("hours", USUAL_HOURS)
    known = {right.value: right for right in Right}
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise RequestRefused(400, f"rights is a list of some of {', '.join(known)}")
    if unknown := [name for name in names if name not in known]:
        raise RequestRefused(400, f"there is no right {unknown[0][:40]!r}; there are {', '.join(known)}")
    rights = {known[name] for name in names}
    if type(hours) not in (int, float) or not 0 < hours <= MAX_HOURS:
        raise RequestRefused(400, f"hours is {str(hours)[:40]!r}; a number up to {MAX_HOURS:g} is needed")
    if not isinstance(scope, str):
        raise RequestRefused(400, "scope is not text; the name of a session is needed, or nothing")
    if scope and Right.PRESENT in rights:
        view_name(scope)
    if scope and rights.isdisjoint({Right.PRESENT, Right.WATCH}):
        raise RequestRefused(400, f"{', '.join(names)}: a scope is for tokens to present or to watch")
    return rights, scope, hours * 3600.0
