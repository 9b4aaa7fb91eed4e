"""Nobody dies unheard: an error is raised once in every long task and thread, over real WebRTC.

Wanted each time: a traceback in the log, a count in the metrics, an end with a reason for whoever was served,
and nothing left behind.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack
from prometheus_client.parser import text_string_to_metric_families

import stream.media.tracks
from benchmarks.live.echo_server import EchoPipeline
from benchmarks.live.glass_statistics import numbers
from benchmarks.live.peer import AiortcPeer
from stream import tasks
from stream.media.latest_slot import ThreadLatestSlot
from stream.media.stepping import RateGate
from stream.media.voice import MediaClock
from stream.render.metrics import SessionMetrics
from stream.render.performer import Performer
from stream.sessions.capacity import Capacity
from stream.sessions.receiver import Receiver
from stream.sessions.registry import SessionRegistry
from stream.sessions.session import Session
from stream.studio.enrolment import Enrolment
from stream.webrtc.peer import Peer
from tests.support.direct_call import WatchingPeer, avatars_of, present
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until

ERROR = "what nobody thought of"


class Closing(EchoPipeline):
    """An echo that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Call:
    """A presenter with a voice, in a server of their own."""

    def __init__(self) -> None:
        self.pipelines: list[Closing] = []
        self.registry = SessionRegistry(avatars_of({"echo": self._build}))
        self.peer = AiortcPeer("", grey_camera(), AudioStreamTrack())
        self.session: Session

    def _build(self) -> Closing:
        self.pipelines.append(Closing())
        return self.pipelines[-1]

    async def connect(self) -> None:
        self.session = await present(self.registry, self.peer)
        await until(lambda: numbers(self.peer.arrivals) and self.peer.stats and self.peer.audio_arrivals)

    def counted(self, name: str) -> float:
        """As Prometheus hears it."""
        text, _ = self.registry.telemetry.exposition(0)
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name == "avatarcast_task_failures_total" and sample.labels["task"] == name:
                    return sample.value
        return 0.0


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    await call.connect()
    yield call
    await call.peer.close()
    await call.registry.close()
    assert all(pipeline.closed for pipeline in call.pipelines)


def raises_once(
    patch: pytest.MonkeyPatch, owner: Any, name: str, is_async: bool = False
) -> Callable[[], int]:
    """The next call of it raises; gives how often it has."""
    original, raised = getattr(owner, name), 0

    def replacement(*arguments: Any, **options: Any) -> Any:
        nonlocal raised
        if raised:
            return original(*arguments, **options)
        raised += 1
        raise LookupError(ERROR)

    async def async_replacement(*arguments: Any, **options: Any) -> Any:
        return await replacement(*arguments, **options)

    patch.setattr(owner, name, async_replacement if is_async else replacement)
    return lambda: raised


ENDING = {
    "watch": (Peer, "link", True, "an error in the server (watch); its log says more"),
    "receive": (RateGate, "passes", False, "an error in the server (receive); its log says more"),
    "voice": (MediaClock, "even_arrival_s", False, "an error in the server (voice); its log says more"),
    "render": (ThreadLatestSlot, "take", False, "an error in the server (render); its log says more"),
    "picture": (SessionMetrics, "on_rendered", False, "an error in the server (picture); its log says more"),
    "sender": (
        *(stream.media.tracks, "scaled_frame", False),
        "sending pictures to the presenter has failed; the server's log says more",
    ),
}


@pytest.mark.parametrize("name", ENDING)
async def test_an_error_ends_the_session_with_a_reason(
    name: str, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session stood there 64 s after its page was gone, or for ever without pictures or voice."""
    owner, method, is_async, reason = ENDING[name]
    before = call.counted(name)
    raises_once(monkeypatch, owner, method, is_async)
    await until(lambda: not len(call.registry))
    assert call.session.end_reason == reason
    await until(lambda: "ended" in call.peer.stats[-1][1])
    assert call.peer.stats[-1][1]["ended"] == reason
    assert f"LookupError: {ERROR}" in caplog.text
    if name != "sender":  # which is aiortc's own task, and logs by itself
        assert call.counted(name) == before + 1
        assert f"{name} failed" in caplog.text
    await call.peer.close()
    await until(lambda: not [one.name for one in threading.enumerate() if one.name.startswith("render-")])


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_what_a_failed_session_held_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    before = descriptors()
    call = Call()
    await call.connect()
    raises_once(monkeypatch, Peer, "link", is_async=True)
    await until(lambda: not len(call.registry))
    await call.peer.close()
    await call.registry.close()
    assert call.pipelines[0].closed
    await until(lambda: descriptors() <= before)


@pytest.mark.parametrize("part", ["link", "pictures"])
async def test_an_error_with_one_viewer_ends_that_viewer_only(
    part: str, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    viewer = WatchingPeer()
    await viewer.watch(call.session)
    await until(lambda: numbers(viewer.arrivals))
    served = call.session.audience.viewer(viewer.viewer_id)
    owner, method = (served.peer, "link") if part == "link" else (served.pictures, "recv")
    raises_once(monkeypatch, owner, method, is_async=True)
    await until(lambda: not len(call.session.audience))
    shown = len(call.peer.arrivals)
    await until(lambda: len(call.peer.arrivals) > shown + 10)
    assert call.session.end_reason is None
    assert f"LookupError: {ERROR}" in caplog.text
    await viewer.close()


@pytest.mark.parametrize(
    ("owner", "method", "name"),
    [
        (Session, "_send_stats", "last words"),
        (RTCPeerConnection, "close", "disconnect"),
        (Receiver, "hang_up", "hang up"),
        (Performer, "close", "release"),
    ],
)
async def test_an_error_while_a_session_is_released_holds_up_nothing(
    owner: Any, method: str, name: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = call.counted(name)
    with monkeypatch.context() as patch:
        raised = raises_once(patch, owner, method, is_async=method != "_send_stats")
        call.session.end("the test says so")
        await until(lambda: not len(call.registry))
        assert raised() == 1
    assert call.counted(name) == before + 1
    peer = call.session.presenter.peer
    assert peer is not None
    await peer._connection.close()  # what the injected error left open
    await call.session.performer.close()


async def test_measuring_begins_anew_after_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    before = call.counted("capacity")
    raised = raises_once(monkeypatch, Capacity, "read")
    await until(raised)
    await until(lambda: call.counted("capacity") == before + 1)
    assert call.session.end_reason is None
    other = AiortcPeer("", grey_camera())
    await present(call.registry, other)
    await until(lambda: call.registry.capacity.picture_ms is not None)
    await other.close()


async def test_an_error_in_an_enrolment_is_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = tasks.failures["enrolment"]
    raises_once(monkeypatch, Enrolment, "_watch", is_async=True)
    enrolment = Enrolment(["true"], "take", tmp_path / "take.avatar", 1.0)
    await tasks.start(enrolment.run(lambda _: None), "enrolment")
    assert enrolment.status()["state"] == "failed"
    assert enrolment.status()["error"] == ERROR
    assert f"LookupError: {ERROR}" in caplog.text
    assert tasks.failures["enrolment"] == before + 1


async def test_what_libraries_start_is_heard_too(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError(ERROR)

    loop, hook = asyncio.get_running_loop(), threading.excepthook
    before = tasks.failures["a library's thread"], tasks.failures["a library's task"]
    tasks.hear_others(loop)
    try:
        thread = threading.Thread(target=fail)
        thread.start()
        await asyncio.to_thread(thread.join)
        loop.call_soon(fail)
        await asyncio.sleep(0)
        await until(lambda: tasks.failures["a library's task"] == before[1] + 1)
    finally:
        threading.excepthook = hook
        loop.set_exception_handler(None)
    assert tasks.failures["a library's thread"] == before[0] + 1
    assert caplog.text.count(f"LookupError: {ERROR}") == 2


async def test_a_task_that_is_cancelled_or_ends_well_is_no_failure() -> None:
    reasons: list[str] = []
    before = sum(tasks.failures.values())
    assert await tasks.start(asyncio.sleep(0, 7), "well", reasons.append) == 7
    cancelled = tasks.start(asyncio.sleep(60), "cancelled", reasons.append)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    await asyncio.sleep(0)
    assert not reasons
    assert sum(tasks.failures.values()) == before
