"""Sessions over real WebRTC in one process, without HTTP: who gets in, who may come back, who watches."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import numpy as np
import pytest
from aiortc.mediastreams import AudioStreamTrack
from numpy.typing import NDArray

from benchmarks.live.echo_server import EchoedFrame, EchoPipeline
from benchmarks.live.glass_statistics import numbers
from benchmarks.live.peer import AiortcPeer
from stream.refusal import RequestRefused
from stream.sessions.capacity import Capacity
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import SessionLimits
from stream.webrtc import peer as peer_module
from stream.webrtc.negotiation import read_request, read_viewer_offer
from tests.support.direct_call import WatchingPeer, avatars_of, present, present_again, publish
from tests.support.grey_camera import grey_camera
from tests.support.waiting import WAIT_S, until


class TracedPipeline(EchoPipeline):
    """An echo that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def calibrate(self) -> None:
        self.calls.append("calibrate")

    def set_mirror(self, on: bool) -> None:
        self.calls.append(f"mirror {on}")

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")


class FlatPipeline(TracedPipeline):
    """Shows one brightness, whatever the camera shows."""

    def __init__(self, brightness: int) -> None:
        super().__init__()
        self._brightness = brightness

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        return EchoedFrame(np.full((256, 256, 3), self._brightness, np.uint8))


Presenters = Callable[..., AiortcPeer]


@pytest.fixture
async def presenter() -> AsyncIterator[Presenters]:
    """Makes presenters, and closes those that are left."""
    made: list[AiortcPeer] = []

    def make(voice: bool = False, fps: float = 20.0) -> AiortcPeer:
        made.append(AiortcPeer("", grey_camera(fps), AudioStreamTrack() if voice else None))
        return made[-1]

    yield make
    for peer in made:
        await peer.close()


@asynccontextmanager
async def serving(config: RegistryConfig | None = None, **builders: Any) -> AsyncIterator[SessionRegistry]:
    registry = SessionRegistry(avatars_of(builders or None), config)
    yield registry
    await registry.close()
    assert not len(registry)


async def test_a_deleted_avatar_is_nobody_any_more(presenter: Presenters) -> None:
    """Its session ends with the reason; neither the spare nor the pipeline that comes back is kept."""
    made: list[TracedPipeline] = []

    def build() -> TracedPipeline:
        made.append(TracedPipeline())
        return made[-1]

    async with serving(echo=build, ada=build) as registry:
        first, second = presenter(), presenter()
        session = await present(registry, first, avatar="ada")
        await until(lambda: made)
        other = await present(registry, second)
        await until(lambda: len(made) == 2)
        ada = registry.avatars.find("ada")
        registry.avatars.remove(ada)
        await registry.let_go()
        await until(lambda: session.end_reason)
        assert session.end_reason == "its avatar was deleted"
        await until(lambda: len(registry) == 1)
        assert made[0].calls[-1] == "close"
        with pytest.raises(RequestRefused, match="there is no avatar 'ada' here"):
            await other.switch_avatar("ada")
        assert other.end_reason is None
        registry.avatars.remove(registry.avatars.first)
        with pytest.raises(RequestRefused, match="no avatar is left here"):
            registry.avatars.find(None)


async def test_a_presenter_who_was_cut_off_finds_everything_as_it_was(presenter: Presenters) -> None:
    """Pipeline, mirror, view and viewer stay; pictures go on over the new connection."""
    made: list[TracedPipeline] = []

    def build() -> TracedPipeline:
        made.append(TracedPipeline())
        return made[-1]

    async with serving(echo=build) as registry:
        first, viewer = presenter(voice=True), WatchingPeer(audio=True)
        session = await present(registry, first)
        await viewer.watch(session)
        session.performer.set_mirror(True)
        await until(lambda: numbers(viewer.arrivals) and "mirror True" in made[0].calls)
        await first.close()
        await until(lambda: session.presenter.lost_ns is not None)
        before = len(viewer.arrivals), len(viewer.sounds)
        second = presenter(voice=True)
        assert await present_again(registry, session.id, second) is session
        assert session.presenter.lost_ns is None
        await until(lambda: numbers(second.arrivals))
        await until(lambda: len(viewer.arrivals) > before[0] + 5 and len(viewer.sounds) > before[1] + 5)
        await until(lambda: second.stats and second.stats[-1][1]["view_id"] == session.view_id)
        stamps = [frame.pts for frame in viewer.sounds if frame.pts is not None]
        assert stamps == sorted(set(stamps))  # the voice's time goes on, it does not start anew
        await second.close()
        await viewer.close()
        assert len(made) == 1
        assert "reset" not in made[0].calls
    assert made[0].calls[-2:] == ["reset", "close"]


async def test_a_presenter_may_also_move_while_the_old_connection_lives(presenter: Presenters) -> None:
    async with serving() as registry:
        first, second = presenter(), presenter()
        session = await present(registry, first)
        await until(lambda: numbers(first.arrivals))
        await present_again(registry, session.id, second)
        await until(lambda: numbers(second.arrivals))
        await until(lambda: first.state == "closed")
        assert session.presenter.lost_ns is None


async def test_a_presenter_who_does_not_come_back_is_given_up(presenter: Presenters) -> None:
    config = RegistryConfig(limits=SessionLimits(resume_s=0.2))
    async with serving(config) as registry:
        peer = presenter()
        session = await present(registry, peer)
        await until(lambda: numbers(peer.arrivals))
        await peer.close()
        await until(lambda: not len(registry))
        assert session.end_reason == "the presenter did not come back"
        with pytest.raises(RequestRefused, match="no such session") as refusal:
            await present_again(registry, session.id, presenter())
        assert refusal.value.status == 404


async def test_a_full_server_refuses_unless_someone_is_only_waited_for(presenter: Presenters) -> None:
    async with serving(RegistryConfig(max_sessions=1)) as registry:
        first, second, third = presenter(), presenter(), presenter()
        session = await present(registry, first)
        await until(lambda: numbers(first.arrivals))
        with pytest.raises(RequestRefused, match=r"all 1 sessions are in use.*--max-sessions") as refusal:
            await present(registry, second)
        assert refusal.value.status == 503
        await first.close()
        await until(lambda: session.presenter.lost_ns is not None)
        await present(registry, third)
        await until(lambda: numbers(third.arrivals))
        assert session.end_reason == "another presenter needed the room"


async def test_no_room_where_a_picture_costs_too_much(presenter: Presenters) -> None:
    """Measured: 150 ms of processor time per picture. The first is let in, whatever it will cost."""
    config = RegistryConfig(max_sessions=8, least_fps=10.0)
    async with serving(config) as registry:
        registry.capacity = Capacity(cores=2)
        registry.capacity.read(0.0, 0)
        registry.capacity.read(15.0, 100)
        registry.capacity.read = lambda *_: None  # type: ignore[method-assign]  # the figure stands
        session = await present(registry, presenter())
        await until(lambda: session.has_place)
        with pytest.raises(
            RequestRefused, match=r"2 sessions would get 6\.7 pictures a second each"
        ) as refusal:
            await present(registry, presenter())
        assert refusal.value.status == 503


def test_the_cost_of_a_picture_is_that_of_the_last_seconds() -> None:
    capacity = Capacity(cores=4)
    assert capacity.room(3).fps is None  # nothing is known: nobody is refused
    assert capacity.sessions(least_fps=8, most=6) == 6
    capacity.read(5.0, 1_000)
    capacity.read(5.5, 1_003)
    assert capacity.picture_ms is None  # three pictures are chance
    for second in range(1, 60):  # 50 ms each, at 20 per second
        capacity.read(5.5 + second, 1_003 + 20 * second)
    assert capacity.picture_ms == pytest.approx(50.0)
    capacity.read(90.0, 1_003 + 20 * 60)  # a model was loaded beside
    assert capacity.picture_ms == pytest.approx(50.0)
    room = capacity.room(1)
    assert room.sessions == 2
    assert room.fps == pytest.approx(40.0)
    assert (capacity.sessions(10, 9), capacity.sessions(10, 3), capacity.sessions(500, 9)) == (8, 3, 1)
    assert capacity.sessions(0, 9) == 9  # no rate is wanted
    for second in range(30):  # nobody is here: the cost is remembered
        capacity.read(90.0 + second / 100, 1_003 + 20 * 60)
    assert capacity.picture_ms == pytest.approx(50.0)


async def test_another_avatar_comes_over_the_same_connection(presenter: Presenters) -> None:
    dark, bright = FlatPipeline(60), FlatPipeline(200)
    async with serving(dark=lambda: dark, bright=lambda: bright) as registry:
        seen: list[float] = []
        peer = presenter()
        peer.measure = False
        peer.on_picture = lambda luma: seen.append(float(luma.mean()))
        session = await present(registry, peer)
        session.performer.set_mirror(True)
        await until(lambda: seen and seen[-1] < 100)
        await session.switch_avatar("bright")
        await until(lambda: seen[-1] > 150)
        await until(lambda: peer.stats and peer.stats[-1][1]["avatar"] == "bright")
        assert "mirror True" in bright.calls  # settings go along
        assert dark.calls[-1] == "reset"  # and the one before is ready for the next
        with pytest.raises(RequestRefused, match="no avatar 'nobody' here"):
            await session.switch_avatar("nobody")
        assert peer.state == "connected"


async def test_viewers_come_and_go_and_the_presenter_does_not_notice(presenter: Presenters) -> None:
    async with serving() as registry:
        peer = presenter(voice=True)
        session = await present(registry, peer, name="studio")
        assert registry.by_view("studio") is registry.by_view(session.view_id) is session
        viewers = [WatchingPeer(audio=True), WatchingPeer()]
        for viewer in viewers:
            await viewer.watch(session)
        await until(lambda: all(len(numbers(viewer.arrivals)) > 5 for viewer in viewers))
        await until(lambda: viewers[0].sounds)
        await session.audience.remove(viewers[0].viewer_id)
        await viewers[1].close()
        await until(lambda: len(session.audience) == 0)
        before = len(peer.arrivals)
        await until(lambda: len(peer.arrivals) > before + 5)
        with pytest.raises(RequestRefused, match="no such viewer"):
            await session.audience.remove(viewers[0].viewer_id)
        with pytest.raises(RequestRefused, match="'studio' is taken") as refusal:
            await present(registry, presenter(), name="studio")
        assert refusal.value.status == 409
        await viewers[0].close()


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_a_publisher_sends_only_and_viewers_see_it(codec: str) -> None:
    """H.264 is all that OBS sends, and all that some players take."""
    async with serving() as registry:
        session, connection = await publish(registry, grey_camera(), name="stage", codec=codec)
        viewer = WatchingPeer(codec=codec)
        await viewer.watch(registry.by_view("stage"))
        await until(lambda: viewer.luma is not None and session.metrics.rendered > 5)
        assert [t.currentDirection for t in connection.getTransceivers()] == ["sendonly"]
        await connection.close()
        await viewer.close()


async def test_a_camera_that_never_sends_is_told_and_ended(presenter: Presenters) -> None:
    config = RegistryConfig(limits=SessionLimits(silent_camera_s=1.0))
    async with serving(config) as registry:
        peer = presenter(fps=0.001)
        session = await present(registry, peer)
        await until(lambda: not len(registry))
        assert session.end_reason == "no frames from the camera for 1 s"


class HeldGathering:
    """Stops ICE at its second socket until it is let go; remembers every socket that was opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._opened: list[asyncio.BaseTransport] = []
        loop = asyncio.get_running_loop()
        original = loop.create_datagram_endpoint

        async def open_held(*args: Any, **options: Any) -> Any:
            if self._opened:
                self.reached.set()
                await self.go_on.wait()
            transport, protocol = await original(*args, **options)
            self._opened.append(transport)
            return transport, protocol

        monkeypatch.setattr(loop, "create_datagram_endpoint", open_held)
        monkeypatch.setattr(
            aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1", "127.0.0.2"]
        )

    def left_open(self) -> int:
        return sum(not transport.is_closing() for transport in self._opened)


@pytest.mark.parametrize("cut", ["the session ends", "the request is cancelled"])
@pytest.mark.parametrize("who", ["presenter", "viewer"])
async def test_who_is_cut_off_while_ice_gathers_leaves_no_socket(
    presenter: Presenters, monkeypatch: pytest.MonkeyPatch, who: str, cut: str
) -> None:
    async with serving() as registry:
        if who == "presenter":
            offer = read_request(await presenter().offer())
            gathering = HeldGathering(monkeypatch)
            joining: asyncio.Task[Any] = asyncio.create_task(registry.create(offer))
        else:
            session, viewer = await present(registry, presenter()), WatchingPeer()
            viewer.connection.addTransceiver("video", "recvonly")
            await viewer.connection.setLocalDescription()
            gathering = HeldGathering(monkeypatch)
            joining = asyncio.create_task(
                session.add_viewer(read_viewer_offer(viewer.connection.localDescription.sdp))
            )
        await asyncio.wait_for(gathering.reached.wait(), WAIT_S)
        if cut == "the session ends":
            ending: asyncio.Task[Any] = asyncio.create_task(registry.close())
            expected: type[BaseException] = RequestRefused
        else:
            joining.cancel()
            ending, expected = joining, asyncio.CancelledError
        await asyncio.wait([ending], timeout=0.2)  # all that it does without waiting for ICE is done
        gathering.go_on.set()
        with pytest.raises(expected):
            await joining
        await asyncio.wait([ending])
        if who == "viewer":
            await viewer.connection.close()
    assert not gathering.left_open()


async def test_a_connection_that_closes_late_is_closed_all_the_same(
    presenter: Presenters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that stands still for the whole of the limit."""
    async with serving() as registry:
        offer = read_request(await presenter().offer())
        gathering = HeldGathering(monkeypatch)
        gathering.go_on.set()
        session, _ = await registry.create(offer)
        assert gathering.left_open() == 2
        monkeypatch.setattr(peer_module, "CLOSE_LIMIT_S", 0.0)
        await session.close("stopped")
        await until(lambda: not gathering.left_open())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors in /proc")
async def test_sessions_leave_nothing_behind(presenter: Presenters) -> None:
    """AVATARCAST_SOAK_SESSIONS=200 makes it the long version."""
    count = int(os.environ.get("AVATARCAST_SOAK_SESSIONS", "6"))

    def held() -> tuple[int, int, int]:
        threads = [t for t in threading.enumerate() if not t.name.startswith(("asyncio", "ThreadPool"))]
        return len(threads), len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    async with serving() as registry:
        before = (0, 0, 0)
        for index in range(count):
            peer, viewer = presenter(voice=True), WatchingPeer(audio=True)
            session = await present(registry, peer)
            await viewer.watch(session)
            await until(lambda: viewer.arrivals)  # noqa: B023  used within this turn only
            if index % 2:  # half by the page's Stop, half by peers that just close
                await session.close("stopped")
            for one in (peer, viewer):
                await one.close()
            session.end("the next one")
            await until(lambda: not len(registry))
            if index == 0:
                before = held()  # what is made once is there now
        await until(lambda: held() <= before)
