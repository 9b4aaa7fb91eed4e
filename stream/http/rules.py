"""What every route asks of a request, in one table: who may, from where, and at what cost.

A route that is not in it is not served: the server does not start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream.sessions.tokens import Right

OFFER_COST = 5.0  # an offer is parsed, and ports are opened for it
PAGE_COST = 0.25  # a page is a dozen files, and a class behind one address opens it at once


@dataclass(frozen=True, slots=True)
class Rule:
    """What one route asks of a request."""

    rights: frozenset[Right]  # one of these; none: anybody may
    view: bool = False  # the token's scope must cover the {view} of the path
    from_anywhere: bool = False  # pages of other sites may ask, where the server has a token
    cost: float = 1.0  # in requests, against the client's rate


def _one_of(*rights: Right) -> frozenset[Right]:
    return frozenset(rights)


_PRESENT, _WATCH = _one_of(Right.PRESENT), _one_of(Right.WATCH)
_STUDIO, _OPERATE = _one_of(Right.STUDIO), _one_of(Right.OPERATE)
_OPEN = Rule(frozenset(), cost=PAGE_COST)
_OPEN_ANYWHERE = Rule(frozenset(), from_anywhere=True)  # OPTIONS: a browser sends no token with a preflight
_STEER = Rule(_PRESENT)  # whoever presents, and knows the session's id

NOWHERE = Rule(frozenset(Right))  # no such path or method: told to whoever has a token at all

RULES: Mapping[str, Rule] = {
    # the pages themselves: the same for everybody
    "GET /": _OPEN,
    "GET /{file}": _OPEN,
    "GET /view/{view}": _OPEN,
    "GET /verify": _OPEN,
    "GET /healthz": _OPEN,
    # what the presenter's page needs to know
    "GET /api/config": Rule(_one_of(Right.PRESENT, Right.STUDIO)),
    "GET /api/avatars/{name}/preview.jpg": Rule(_one_of(Right.PRESENT, Right.STUDIO)),
    # whether a file was made by avatarcast: decoded and searched for seconds
    "POST /api/verify": Rule(_one_of(Right.PRESENT, Right.WATCH, Right.STUDIO), cost=OFFER_COST),
    "POST /api/credentials": Rule(_PRESENT, cost=OFFER_COST),
    # a session
    "POST /api/sessions": Rule(_PRESENT, cost=OFFER_COST),
    "GET /api/sessions/{id}": _STEER,
    "GET /api/sessions/{id}/snapshot": Rule(_PRESENT, cost=OFFER_COST),
    "POST /api/sessions/{id}/resume": Rule(_PRESENT, cost=OFFER_COST),
    "POST /api/sessions/{id}/calibrate": _STEER,
    "POST /api/sessions/{id}/mirror": _STEER,
    "POST /api/sessions/{id}/emotion": _STEER,
    "POST /api/sessions/{id}/eye-contact": _STEER,
    "POST /api/sessions/{id}/mute": _STEER,
    "POST /api/sessions/{id}/driver": _STEER,
    "POST /api/sessions/{id}/coach": _STEER,
    "POST /api/sessions/{id}/avatar": _STEER,
    "POST /api/sessions/{id}/frame": _STEER,
    "POST /api/sessions/{id}/background": _STEER,
    "PUT /api/sessions/{id}/background": _STEER,
    "DELETE /api/sessions/{id}": _STEER,
    # a program that speaks: its session lasts as long as its WebSocket
    "GET /api/agent": Rule(_PRESENT, cost=OFFER_COST),
    # a camera in
    "POST /whip": Rule(_PRESENT, from_anywhere=True, cost=OFFER_COST),
    "GET /whip": Rule(_PRESENT, from_anywhere=True),
    "OPTIONS /whip": _OPEN_ANYWHERE,
    "PATCH /whip/{id}": Rule(_PRESENT, from_anywhere=True),
    "DELETE /whip/{id}": Rule(_PRESENT, from_anywhere=True),
    "GET /whip/{id}": Rule(_PRESENT, from_anywhere=True),
    "OPTIONS /whip/{id}": _OPEN_ANYWHERE,
    # pictures out
    "GET /api/views/{view}": Rule(_WATCH, view=True),
    "POST /whep/{view}": Rule(_WATCH, view=True, from_anywhere=True, cost=OFFER_COST),
    "GET /whep/{view}": Rule(_WATCH, view=True, from_anywhere=True),
    "OPTIONS /whep/{view}": _OPEN_ANYWHERE,
    "PATCH /whep/{view}/{viewer}": Rule(_WATCH, view=True, from_anywhere=True),
    "DELETE /whep/{view}/{viewer}": Rule(_WATCH, view=True, from_anywhere=True),
    "GET /whep/{view}/{viewer}": Rule(_WATCH, view=True, from_anywhere=True),
    "OPTIONS /whep/{view}/{viewer}": _OPEN_ANYWHERE,
    # recordings and the avatars made of them
    "GET /api/studio": Rule(_STUDIO),
    "POST /api/studio/recordings": Rule(_STUDIO),
    "PUT /api/studio/recordings/{id}/{number}": Rule(_STUDIO),
    "PUT /api/studio/recordings/{id}/clip": Rule(_STUDIO),
    "POST /api/studio/recordings/{id}/finish": Rule(_STUDIO),
    "DELETE /api/studio/recordings/{id}": Rule(_STUDIO),
    "DELETE /api/studio/takes/{name}": Rule(_STUDIO),
    "DELETE /api/studio/avatars/{name}": Rule(_STUDIO),
    "POST /api/studio/job": Rule(_STUDIO),
    "DELETE /api/studio/job": Rule(_STUDIO),
    # the server
    "GET /metrics": Rule(_OPERATE),
    "GET /api/tokens": Rule(_OPERATE),
    "POST /api/tokens": Rule(_OPERATE),
    "DELETE /api/tokens": Rule(_OPERATE),
    "DELETE /api/tokens/{id}": Rule(_OPERATE),
}
