"""All sessions of a server: who is let in, who is found, who may come back, and what is left when they go.

Knows nothing of HTTP. Event loop only.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from operator import itemgetter
from time import perf_counter_ns, process_time, time

from aiortc import RTCSessionDescription

from engine.cores import usable_share
from stream import tasks
from stream.budgets import MOST_CONNECTING, Account, Budgets, Lease
from stream.logs import about_session
from stream.media.encoders import EncoderChoice, choose_encoder
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars
from stream.render.pipeline_pool import PipelinePools
from stream.sessions.capacity import Capacity
from stream.sessions.session import Session, SessionLimits
from stream.sessions.telemetry import Telemetry
from stream.sessions.tokens import NOBODY, OPERATOR, Claim, Grant
from stream.webrtc.aiortc_tuning import answer_offered_numbers, gather_on_loopback, negotiate_extensions
from stream.webrtc.datagram_filter import parse_without_surprise
from stream.webrtc.ice_servers import IceServers
from stream.webrtc.media_connection import MediaSockets
from stream.webrtc.negotiation import SessionRequest
from stream.webrtc.peer import PeerConfig

logger = logging.getLogger(__name__)

DEAD_S = 2.0  # without a packet: a presenter who comes again is believed to have been cut off
_READ_PERIOD_S = 1.0
_COLLECT_AFTER_S = 0.3  # for the tasks of an ended session to let go of it


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Who is let in, and how they are served."""

    max_sessions: int = 2
    runner: str = "auto"  # as it was asked for; told to Prometheus
    frame: str = "auto"  # of the pictures, until a session asks for another; told to the page
    only_own_voice: bool = False  # where an avatar keeps a print of a voice, no other one moves its mouth
    least_fps: float = 8.0  # a session is refused that would bring the others below this
    loopback_only: bool = True  # send no packet off this machine, and take none from another
    media_ports: range | None = None  # UDP; None: any that is free
    ice_servers: IceServers = field(default_factory=IceServers)
    limits: SessionLimits = field(default_factory=SessionLimits)
    budgets: Budgets = field(default_factory=Budgets)  # of each client


class SessionRegistry:
    """Use: warm(), create() and the like, close()."""

    def __init__(self, avatars: Avatars, config: RegistryConfig | None = None) -> None:
        gather_on_loopback()
        answer_offered_numbers()
        negotiate_extensions()
        parse_without_surprise()
        self.avatars = avatars
        self.config = config or RegistryConfig()
        self.encoder: EncoderChoice = choose_encoder()
        self.capacity = Capacity(usable_share())
        self.telemetry = Telemetry(
            metadata.version("avatarcast"), avatars.first.name, self.config.runner, self.config.max_sessions
        )
        self._pools = PipelinePools()
        self._sessions: dict[str, Session] = {}
        self._kept: dict[str, tuple[Claim, int]] = {}  # names of sessions that made room, and until when, ns
        self._rendered_before = 0  # by sessions that have ended
        self._reading: asyncio.Task[None] | None = None
        self.closed = False  # no session is made any more

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    async def warm(self) -> str:
        """Load the first avatar; returns why its runner was chosen. What loading raises is passed on."""
        return await self._pools.of(self.avatars.first).warm()

    async def create(
        self, request: SessionRequest, grant: Grant = OPERATOR, account: Account | None = None
    ) -> tuple[Session, RTCSessionDescription]:
        """A new session and its answer; or the one of this name that waits for just this presenter.

        It has a place once its camera's pictures come. account: of whose client; None: of nobody.
        Raises RequestRefused: 400, 404 avatar, 409 name, 429, 503 no room.
        """
        self.avatars.find(request.avatar)
        if request.name is not None and (waiting := self._of_name(request.name, request.secret, grant)):
            with about_session(waiting.id):  # as OBS does: it connects anew
                return waiting, await waiting.resume(request)
        session = self._opened(request, grant, account)
        try:
            with about_session(session.id):
                return session, await session.start(request)
        except BaseException:  # refused, or the client went away: release, then say so
            await session.close("it could not start")
            raise

    async def begin(self, request: SessionRequest, grant: Grant, account: Account) -> Session:
        """A new session for an agent, which has a place with the first sound.

        Raises RequestRefused: 404 avatar, 409 name, 429, 503 no room.
        """
        self.avatars.find(request.avatar)
        if request.name is not None and self._of_name(request.name, request.secret, grant):
            raise RequestRefused(409, f"the name {request.name!r} is taken; choose another")
        session = self._opened(request, grant, account)
        with about_session(session.id):
            session.begin()
        return session

    def _opened(self, request: SessionRequest, grant: Grant, account: Account | None) -> Session:
        """Not started yet. Raises RequestRefused."""
        lease = (account or Account()).lease()
        try:
            self._let_in(lease)
        except RequestRefused:
            lease.give_back()
            raise
        sockets = MediaSockets(
            self.telemetry.datagram_dropped, self.config.loopback_only, self.config.media_ports
        )
        peers = PeerConfig(self.encoder, sockets, self.config.ice_servers)
        session = Session(
            self.avatars,
            self._pools,
            peers,
            self.config.limits,
            replace(request, only_own_voice=self.config.only_own_voice),
            Claim(request.name, grant, has_secret=request.receives),
            self.telemetry,
            lease,
            self._give_place,
            self._forget,
        )
        self.telemetry.session_opened()
        self._sessions[session.id] = session  # counts from here on, before anything is awaited
        if self._reading is None:
            self._reading = tasks.start(self._read(), "capacity", tell=self._stop_reading)
        return session

    async def resume(self, session_id: str, request: SessionRequest) -> tuple[Session, RTCSessionDescription]:
        """The same session by a new offer. Raises RequestRefused: 404 where it is gone, 403 secret, 400."""
        session = self.session(session_id)
        if not session.claim.is_held(request.secret, NOBODY):
            raise RequestRefused(403, "only who began the session takes it up again: its secret is another")
        with about_session(session.id):
            return session, await session.resume(request)

    def session(self, session_id: str) -> Session:
        """Raises RequestRefused (404)."""
        session = self._sessions.get(session_id)
        if session is None:
            raise RequestRefused(404, "there is no such session: it may have ended")
        return session

    def by_view(self, view: str) -> Session:
        """By view id or by name. Raises RequestRefused (404)."""
        if (session := self._viewed(view)) is not None:
            return session
        raise RequestRefused(404, "there is nothing to watch here: the session may have ended")

    def names_of(self, view: str) -> set[str]:
        """What the session that is watched by this view id or name is also called; the view alone if none."""
        session = self._viewed(view)
        names = (view,) if session is None else (view, session.view_id, session.name)
        return {name for name in names if name is not None}

    def cut_off(self, is_void: Callable[[Grant], bool], why: str) -> None:
        """End what was begun by such a grant, and hang up on who watches by one. why: "was revoked"."""
        for session in self:
            if is_void(session.claim.grant):
                session.end(f"the token it was begun with {why}")
            else:
                session.audience.cut_off(is_void, why)

    async def let_go(self) -> None:
        """Keep nothing of avatars that are not offered any more; their sessions end by themselves."""
        await self._pools.keep_only(self.avatars)

    async def close(self) -> None:
        """End all sessions and release everything."""
        self.closed = True
        await asyncio.gather(*(session.close("the server is stopping") for session in self))
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._pools.close()

    def _viewed(self, view: str) -> Session | None:
        """Several may have been begun by one name; only one of them gets a place."""
        found = [session for session in self if view in (session.view_id, session.name)]
        return max(found, key=lambda session: session.has_place, default=None)

    def _of_name(self, name: str, secret: str, grant: Grant) -> Session | None:
        """The session of this name that waits for whoever asks, or whose presenter seems cut off.

        Raises RequestRefused (409, 503).
        """
        now_ns = perf_counter_ns()
        if any(session.view_id == name for session in self):  # which its viewers were told
            raise RequestRefused(409, f"the name {name!r} is taken; choose another")
        self._kept = {name: kept for name, kept in self._kept.items() if kept[1] > now_ns}
        named = next((session for session in self if session.name == name and session.has_place), None)
        if named is not None and named.end_reason is not None:
            raise RequestRefused(503, f"the session named {name!r} is just ending; try again")
        claim = named.claim if named is not None else self._kept[name][0] if name in self._kept else None
        is_theirs = claim is None or claim.is_held(secret, grant)
        is_dead = named is not None and not named.by_agent and named.presenter.silent_s() > DEAD_S
        if named is not None and named.presenter.lost_ns is None and not (is_theirs and is_dead):
            raise RequestRefused(409, f"the name {name!r} is taken; choose another")
        if not is_theirs:
            raise RequestRefused(
                409,
                f"the name {name!r} is kept for up to {self.config.limits.resume_s:.0f} s for its presenter, "
                "whose connection was lost; choose another, or wait",
            )
        return named

    def _let_in(self, lease: Lease) -> None:
        """A presenter may try to connect. Raises RequestRefused (429, 503)."""
        if self.closed:
            raise RequestRefused(503, "the server is stopping; try again when it is back")
        flowing = [session for session in self._placed() if session.presenter.lost_ns is None]
        if (refusal := self._refusal(len(flowing))) is not None:
            self.telemetry.refused.inc()
            raise RequestRefused(503, refusal)
        if not lease.take("connecting"):
            raise RequestRefused(429, "too many offers of yours are still connecting", retry_after_s=5)
        connecting = [session for session in self if not session.has_place and session.end_reason is None]
        if len(connecting) >= MOST_CONNECTING:
            connecting[0].end("it did not connect, and others wanted to")

    def _give_place(self, session: Session) -> None:
        """To one whose pictures come; who has lost theirs gives way. Raises RequestRefused (409, 503)."""
        placed = self._placed()
        if session.name is not None and any(other.name == session.name for other in placed):
            raise RequestRefused(409, f"the name {session.name!r} was taken meanwhile; choose another")
        refusal = self._refusal(len(placed))
        waiting = [(lost_ns, other) for other in placed if (lost_ns := other.presenter.lost_ns) is not None]
        if refusal is not None and waiting:
            lost_ns, longest = min(waiting, key=itemgetter(0))
            longest.end("another presenter needed the room")
            if longest.name is not None:
                until_ns = lost_ns + round(self.config.limits.resume_s * 1e9)
                self._kept[longest.name] = (longest.claim, until_ns)
            refusal = self._refusal(len(placed) - 1)
        if refusal is not None:
            self.telemetry.refused.inc()
            raise RequestRefused(503, refusal)

    def _placed(self) -> list[Session]:
        return [session for session in self if session.has_place and session.end_reason is None]

    def _refusal(self, running: int) -> str | None:
        config = self.config
        if running >= config.max_sessions:
            return (
                f"all {config.max_sessions} sessions are in use: end one, "
                "or start the server with a higher --max-sessions"
            )
        room = self.capacity.room(running)
        if running and room.fps is not None and room.fps < config.least_fps:
            return (
                f"this machine is busy: a picture takes {room.picture_ms:.0f} ms of processor time, so "
                f"{room.sessions} sessions would get {room.fps:.1f} pictures a second each, and "
                f"{config.least_fps:g} are wanted; end a session, or serve with a lower --least-fps"
            )
        return None

    def _forget(self, ended: Session) -> None:
        del self._sessions[ended.id]
        self._rendered_before += ended.metrics.rendered
        self.telemetry.session_ended(ended.end_reason or "")
        # aiortc's objects refer to each other in circles and hold codecs and TLS state: 0.8 MB a session
        asyncio.get_running_loop().call_later(_COLLECT_AFTER_S, gc.collect)

    def _stop_reading(self, _: str) -> None:
        """The next session begins it anew."""
        self._reading = None

    async def _read(self) -> None:
        """Once a second: what the running sessions cost, and whose token has expired."""
        while True:
            self.cut_off(partial(Grant.has_expired, now_s=time()), "has expired")
            rendered = self._rendered_before + sum(session.metrics.rendered for session in self)
            self.capacity.read(process_time(), rendered)
            config = self.config
            self.telemetry.waiting.set(sum(session.presenter.waits_for_key_frame for session in self))
            self.telemetry.capacity.set(self.capacity.sessions(config.least_fps, config.max_sessions))
            await asyncio.sleep(_READ_PERIOD_S)
