"""Too much, too lossy, not read: what a session does with it; drops are scripted, and no speed decides."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.live.glass_statistics import numbers
from benchmarks.live.peer import AiortcPeer, StampedCamera
from stream.media.stepping import Rendering
from stream.media.tracks import PictureTrack
from stream.sessions.receiver import QUIET_S, Receiver
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import SessionLimits
from stream.webrtc.peer import Link
from tests.support.direct_call import avatars_of, present, present_again
from tests.support.grey_camera import grey_camera
from tests.support.shaped_link import LinkConfig, ShapedRelay
from tests.support.waiting import until

S = 1_000_000_000  # in ns
RENDERING = Rendering(fps_in=30, fps_out=30, render_ms=10)


@pytest.fixture
async def registry() -> AsyncIterator[SessionRegistry]:
    limits = SessionLimits(silent_presenter_s=4.0)
    registry = SessionRegistry(avatars_of(), RegistryConfig(limits=limits))
    yield registry
    await registry.close()


class ScriptedPeer:
    """A connection whose reports are a script."""

    def __init__(self) -> None:
        self.now = Link()

    async def link(self) -> Link:
        return self.now


def scripted_receiver() -> tuple[Receiver, ScriptedPeer]:
    peer = ScriptedPeer()
    return Receiver(peer, PictureTrack(), 0), peer  # type: ignore[arg-type]


async def test_a_viewer_that_stops_reading_is_fed_nothing_until_it_reads_again() -> None:
    viewer, peer = scripted_receiver()
    for second in range(10):
        peer.now = Link(packets_in=second + 1)
        await viewer.tend(RENDERING, second * S)
        assert not viewer.pictures.paused
    for second in range(10, 20):  # not one packet more
        await viewer.tend(RENDERING, second * S)
        assert viewer.pictures.paused == (second - 9 > QUIET_S)
    assert viewer.silent_s(19 * S) == 10
    peer.now = Link(packets_in=11)
    await viewer.tend(RENDERING, 20 * S)
    assert not viewer.pictures.paused
    viewer.pictures.stop()


async def test_a_receiver_that_says_it_takes_less_is_sent_less() -> None:
    """400 kbit/s are sent and 100 taken: fewer pictures, then smaller ones; the other is left alone."""
    narrow, narrow_peer = scripted_receiver()
    wide, wide_peer = scripted_receiver()
    for half in range(80):
        sent = half * 25_000
        narrow_peer.now = Link(packets_in=half, sent_bytes=sent, estimate_bps=100_000)
        wide_peer.now = Link(packets_in=half, sent_bytes=sent, estimate_bps=2_000_000)
        for viewer in (narrow, wide):
            await viewer.tend(RENDERING, half * S // 2)
    assert (narrow.pictures.level.fps, narrow.pictures.level.scale) == (15, 0.5)
    assert (wide.pictures.level.fps, wide.pictures.level.scale) == (30, 1)
    for viewer in (narrow, wide):
        viewer.pictures.stop()


async def test_a_camera_at_60_is_thinned_before_the_renderer(registry: SessionRegistry) -> None:
    """Every second frame is rendered, evenly; none waits, and the page hears how it goes."""
    peer = AiortcPeer("", grey_camera(60.0))
    session = await present(registry, peer)
    await until(lambda: session.metrics.received > 150 and peer.stats)
    metrics = session.metrics
    assert 0.4 < metrics.skipped / metrics.received < 0.6
    assert metrics.received - metrics.skipped - metrics.rendered - session.dropped <= 4
    assert peer.stats[-1][1]["skipped"] > 0
    await peer.close()


async def test_pictures_come_through_loss_and_after_a_blackout_and_a_cut(registry: SessionRegistry) -> None:
    """One datagram in sixteen is lost, both ways; then all are, for a while; then for good."""
    relay = ShapedRelay(LinkConfig(loss_percent=6.0))
    await relay.open()
    peer = AiortcPeer("", grey_camera())
    session = await present(registry, peer, relay)
    await until(lambda: len(numbers(peer.arrivals)) > 40)
    assert relay.to_caller.lost > 5
    received, shown = session.metrics.received, len(peer.arrivals)
    whole = relay.to_server.due_ns, relay.to_caller.due_ns
    for link in (relay.to_server, relay.to_caller):
        link.due_ns = lambda size_bytes, now_ns: None  # type: ignore[method-assign]
    sent = peer.camera.sent if isinstance(peer.camera, StampedCamera) else 0
    await until(lambda: peer.camera.sent > sent + 30)  # type: ignore[attr-defined]
    assert len(peer.arrivals) <= shown + 10
    relay.to_server.due_ns, relay.to_caller.due_ns = whole  # type: ignore[method-assign]
    last = numbers(peer.arrivals)[-1]
    await until(lambda: session.metrics.received > received + 20)
    await until(lambda: numbers(peer.arrivals)[-1] > last + 40)
    assert session.presenter.lost_ns is None
    relay.close()  # for good
    await until(lambda: session.presenter.lost_ns is not None)
    back = AiortcPeer("", grey_camera())
    await present_again(registry, session.id, back)
    await until(lambda: numbers(back.arrivals))
    for one in (peer, back):
        await one.close()
