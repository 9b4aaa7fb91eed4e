"""Who counts: a session has a place once pictures come. Whoever only offers to connect holds nobody up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

import stream.sessions.audience
import stream.sessions.registry
from benchmarks.live.echo_server import EchoPipeline
from benchmarks.live.glass_statistics import numbers
from benchmarks.live.peer import AiortcPeer
from engine.effort import Effort
from engine.errors import RunnerError
from engine.expression.eye_contact import EyeContact
from engine.pipeline import Adjustment
from engine.render.background import Background
from stream.budgets import Account, Budgets
from stream.refusal import RequestRefused
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import Session, SessionLimits
from stream.webrtc.negotiation import read_request, read_viewer_offer
from tests.support.direct_call import WatchingPeer, avatars_of, present
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until

SOON = SessionLimits(connect_s=0.4)

Presenters = Callable[[], AiortcPeer]


@pytest.fixture
async def presenter() -> AsyncIterator[Presenters]:
    """Makes presenters, and closes those that are left."""
    made: list[AiortcPeer] = []

    def make() -> AiortcPeer:
        made.append(AiortcPeer("", grey_camera()))
        return made[-1]

    yield make
    for peer in made:
        await peer.close()


Viewers = Callable[[], WatchingPeer]


@pytest.fixture
async def viewer() -> AsyncIterator[Viewers]:
    """Makes viewers, and closes them."""
    made: list[WatchingPeer] = []

    def make() -> WatchingPeer:
        made.append(WatchingPeer())
        return made[-1]

    yield make
    for one in made:
        await one.close()


@asynccontextmanager
async def serving(
    max_sessions: int = 2, limits: SessionLimits = SOON, **builders: Any
) -> AsyncIterator[SessionRegistry]:
    config = RegistryConfig(max_sessions=max_sessions, limits=limits)
    registry = SessionRegistry(avatars_of(builders or None), config)
    yield registry
    await registry.close()


async def offer_only(registry: SessionRegistry, peer: AiortcPeer, account: Account | None = None) -> Session:
    """An offer whose answer is never used."""
    session, _ = await registry.create(read_request(await peer.offer()), account=account)
    return session


async def test_offers_that_never_connect_hold_no_place_and_no_pipeline(presenter: Presenters) -> None:
    """Two of them locked everybody out for 31 s."""
    built: list[EchoPipeline] = []

    def build() -> EchoPipeline:
        built.append(EchoPipeline())
        return built[-1]

    async with serving(echo=build) as registry:
        idle = [await offer_only(registry, presenter()) for _ in range(3)]
        assert not built
        peer = presenter()
        session = await present(registry, peer)
        await until(lambda: numbers(peer.arrivals))
        assert session.has_place
        assert len(built) == 1
        await until(lambda: len(registry) == 1)
        assert {one.end_reason for one in idle} == {"the connection did not come up within 0 s"}


async def test_of_two_that_connect_at_once_the_last_place_has_one(presenter: Presenters) -> None:
    async with serving(max_sessions=1, limits=SessionLimits()) as registry:
        peers = presenter(), presenter()
        sessions = [await present(registry, peer) for peer in peers]
        await until(lambda: any(session.end_reason for session in sessions))
        (placed,) = (number for number in (0, 1) if sessions[number].has_place)
        await until(lambda: numbers(peers[placed].arrivals))
        refused = peers[1 - placed]
        await until(lambda: refused.stats and "ended" in refused.stats[-1][1])
        assert "all 1 sessions are in use" in refused.stats[-1][1]["ended"]
        assert sessions[placed].end_reason is None


async def test_one_client_has_few_offers_connecting(presenter: Presenters) -> None:
    account = Account(Budgets(connecting=2))
    async with serving() as registry:
        idle = [await offer_only(registry, presenter(), account) for _ in range(2)]
        with pytest.raises(RequestRefused, match="too many offers of yours") as refusal:
            await offer_only(registry, presenter(), account)
        assert refusal.value.status == 429
        assert refusal.value.retry_after_s is not None
        await until(lambda: all(session.end_reason for session in idle))
        await until(lambda: not len(registry))
        assert not +account.held
        await present(registry, presenter())


async def test_where_many_try_to_connect_the_oldest_offer_gives_way(
    presenter: Presenters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream.sessions.registry, "MOST_CONNECTING", 2)
    async with serving(limits=SessionLimits()) as registry:
        idle = [await offer_only(registry, presenter()) for _ in range(2)]
        peer = presenter()
        await present(registry, peer)
        await until(lambda: numbers(peer.arrivals))
        assert [session.end_reason for session in idle] == ["it did not connect, and others wanted to", None]


async def test_an_offer_alone_ends_no_session_that_waits_for_its_presenter(presenter: Presenters) -> None:
    async with serving(max_sessions=1) as registry:
        first = presenter()
        session = await present(registry, first)
        await until(lambda: session.has_place)
        await first.close()
        await until(lambda: session.presenter.lost_ns is not None)
        idle = await offer_only(registry, presenter())
        await until(lambda: idle.end_reason is not None)
        assert session.end_reason is None


async def test_what_is_chosen_before_the_first_picture_holds(presenter: Presenters) -> None:
    asked: dict[str, list[Any]] = {"first": [], "second": []}

    class Asked(EchoPipeline):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.asked = asked[name]

        def set_mirror(self, on: bool) -> None:
            self.asked.append(on)

        def set_frame(self, frame: str) -> None: ...

        def set_background(self, background: Background) -> None:
            self.asked.append(background)

        def set_effort(self, effort: Effort) -> None:
            self.asked.append(effort)

        def adjust(self, adjustments: Sequence[Adjustment]) -> None:
            self.asked += [one.wanted for one in adjustments if isinstance(one, EyeContact)]

    async with serving(first=lambda: Asked("first"), second=lambda: Asked("second")) as registry:
        peer, green = presenter(), Background.color("#00b140")
        session, answer = await registry.create(read_request(await peer.offer()))
        session.performer.set_mirror(True)
        session.performer.set_background(green)
        session.performer.set_effort(Effort(0.5))
        session.performer.set_eye_contact(True)
        await session.switch_avatar("second")
        assert session.performer.avatar.name == "second"
        await peer.take_answer(answer.sdp)
        await until(lambda: numbers(peer.arrivals))
        assert asked == {"first": [], "second": [True, True, green, Effort(0.5)]}


async def test_a_renderer_that_cannot_start_is_told_to_the_page(presenter: Presenters) -> None:
    def build() -> EchoPipeline:
        raise RunnerError("no such runner: choose another")

    async with serving(echo=build) as registry:
        peer = presenter()
        session = await present(registry, peer)
        await until(lambda: not len(registry))
        assert session.end_reason == "the renderer cannot start: no such runner: choose another"
        await until(lambda: peer.stats and peer.stats[-1][1].get("ended") == session.end_reason)


async def test_a_viewer_who_does_not_connect_is_let_go_and_gives_way(
    presenter: Presenters, viewer: Viewers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream.sessions.audience, "MAX_VIEWERS", 2)
    async with serving(limits=SessionLimits(connect_s=2.0)) as registry:
        peer = presenter()
        session = await present(registry, peer)
        watching, late = viewer(), viewer()
        await watching.watch(session)
        await until(lambda: numbers(watching.arrivals))
        idle = await session.add_viewer(read_viewer_offer(await viewer().offer()))
        assert len(session.audience) == 2
        await late.watch(session)  # the one that is still connecting makes room
        await until(lambda: numbers(late.arrivals))
        assert len(session.audience) == 2
        with pytest.raises(RequestRefused, match="no such viewer"):
            await session.audience.remove(idle[0])
        with pytest.raises(RequestRefused, match="2 viewers watch already"):
            await session.add_viewer(read_viewer_offer(await viewer().offer()))
        await late.close()
        await until(lambda: len(session.audience) == 1)
        await session.add_viewer(read_viewer_offer(await viewer().offer()))
        await until(lambda: len(session.audience) == 1)


async def test_one_clients_viewers_share_its_sockets(presenter: Presenters, viewer: Viewers) -> None:
    async with serving() as registry:
        session = await present(registry, presenter())
        each = session.presenter._peers.sockets.each()
        account = Account(Budgets(media_sockets=2 * each))
        watching = viewer(), viewer()
        for one in watching:
            await one.watch(session, account)
        await until(lambda: all(numbers(one.arrivals) for one in watching))
        with pytest.raises(RequestRefused, match="too many connections of yours") as refusal:
            await session.add_viewer(read_viewer_offer(await viewer().offer()), account=account)
        assert refusal.value.status == 429
        with pytest.raises(RequestRefused, match="too many connections of yours"):
            await session.peer(watching[0].viewer_id).restart_ice(
                "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
            )
        assert len(session.audience) == 2
        await session.audience.remove(watching[0].viewer_id)
        assert account.held["media_sockets"] == each
        await session.add_viewer(read_viewer_offer(await viewer().offer()), account=account)
    assert not +account.held
