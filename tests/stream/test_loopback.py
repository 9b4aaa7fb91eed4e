"""Two real peers in one process, over real UDP on the loopback interface; the pipelines need no avatar."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc.mediastreams import MediaStreamTrack
from numpy.typing import NDArray

import stream.media.tracks
import stream.render.metrics
from benchmarks.live.echo_server import EchoedFrame, EchoPipeline, echo_avatar
from benchmarks.live.glass_statistics import numbers
from benchmarks.live.peer import AiortcPeer, StampedCamera, without_colour_in_the_corner
from engine.effort import USUAL, Effort
from engine.errors import RunnerError
from engine.media.disclosure import DEFAULT_MARK
from engine.media.invisible_mark import find_bits
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.render.render_loop import FramePipeline
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.session import SessionLimits
from tests.support.waiting import WAIT_S, until

FPS = 20.0
AT_ONCE = 4  # frames in the server: one waits, one is in hand, results on their way; a queue holds dozens


class CountingPipeline(EchoPipeline):
    """An echo that remembers what was done to it, and by which thread."""

    def __init__(self, busy_ms: float = 0.0) -> None:
        super().__init__(busy_ms)
        self.calls: list[tuple[str, str]] = []  # (what, thread name)
        self.closed = False

    def note(self, what: str) -> None:
        self.calls.append((what, threading.current_thread().name))

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        self.note("process")
        return super().process(rgb, time_ns)

    def calibrate(self) -> None:
        self.note("calibrate")

    def set_mirror(self, on: bool) -> None:
        self.note(f"mirror {on}")

    def reset(self) -> None:
        self.note("reset")

    def close(self) -> None:
        self.closed = True


BITS = bytes([0x10, 0xAB, 0x03, 0x5C, 0xDE])


class FailingPipeline(EchoPipeline):
    """Raises on every frame, or on every n-th."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every
        self._count = 0

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        self._count += 1
        if self._count % self._every == 0:
            raise ArithmeticError("this frame was meant to fail")
        return super().process(rgb, time_ns)


class ToneMicrophone(MediaStreamTrack):
    """A 440 Hz tone in 20 ms frames at the rate of a sound card."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._start_s = time.perf_counter()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(self._start_s + self._sent * 0.02 - time.perf_counter())
        at = np.arange(self._sent * 960, (self._sent + 1) * 960) / 48_000
        tone = (8_000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self._sent * 960, 48_000, Fraction(1, 48_000)
        self._sent += 1
        return frame


class SilentCamera(MediaStreamTrack):
    """A camera that is connected and never delivers."""

    kind = "video"

    async def recv(self) -> av.VideoFrame:
        await asyncio.Event().wait()
        raise AssertionError("never")


class GreyCamera(StampedCamera):
    """A grey wall with the grain of a picture: of none at all a codec leaves no faint mark."""

    def __init__(self) -> None:
        planes = np.full((360, 320), 128, np.uint8)
        planes[:240] = np.random.default_rng(0).normal(128, 4, (240, 320)).clip(100, 156)
        super().__init__(lambda _: planes, FPS)


def camera() -> StampedCamera:
    coarse = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    rgb = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    planes = without_colour_in_the_corner(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8))
    return StampedCamera(lambda _: planes, FPS)


@asynccontextmanager
async def running(
    factory: Callable[[], FramePipeline],
    max_sessions: int = 2,
    mark_pictures: bool = False,
    limits: SessionLimits | None = None,
) -> AsyncIterator[tuple[SessionRegistry, str]]:
    """A server in this process and its address."""
    avatar = replace(
        echo_avatar(factory), mark_style=replace(DEFAULT_MARK, bits=lambda: BITS) if mark_pictures else None
    )
    config = RegistryConfig(max_sessions=max_sessions, limits=limits or SessionLimits())
    registry = SessionRegistry(Avatars([avatar]), config)
    await registry.warm()
    http = TestServer(LiveServer(registry, Access()).app())
    await http.start_server()
    try:
        yield registry, f"http://127.0.0.1:{http.port}"
    finally:
        await http.close()


@asynccontextmanager
async def calling(peer: AiortcPeer) -> AsyncIterator[AiortcPeer]:
    await peer.connect()
    try:
        yield peer
    finally:
        await peer.close()


@pytest.fixture
def no_stills(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a picture takes, the one before is not sent again."""
    monkeypatch.setattr(stream.media.tracks, "RESEND_AFTER_S", WAIT_S)


async def request(method: str, url: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.request(method, url, json=body) as reply:
        return reply.status, await reply.json()


async def test_numbered_pictures_come_back_in_order(no_stills: None) -> None:
    async with running(EchoPipeline) as (_, url), calling(AiortcPeer(url, camera())) as peer:
        await until(lambda: len(numbers(peer.arrivals)) >= 60)
        await until(lambda: len(peer.stats) >= 4)
    got = numbers(peer.arrivals)
    assert got == sorted(set(got))
    assert isinstance(peer.camera, StampedCamera)
    sent_ns = peer.camera.sent_ns
    assert all(a.at_ns > sent_ns[a.number][0] for a in peer.arrivals if a.number is not None)
    last = peer.stats[-1][1]
    assert last["state"] == "live"
    assert last["fps_out"] > 0
    assert last["rendered"] <= last["received"]
    assert last["received"] - last["rendered"] - last["dropped"] <= AT_ONCE


async def test_a_slow_renderer_drops_frames_and_not_time(no_stills: None) -> None:
    """With 150 ms per picture two of three frames are dropped; none waits behind others.

    Body and hands are looked for less often, before fewer pictures are sent.
    """
    efforts: list[Effort] = []

    class Slow(EchoPipeline):
        def set_effort(self, effort: Effort) -> None:
            efforts.append(effort)

    async with (
        running(lambda: Slow(busy_ms=150.0)) as (_, url),
        calling(AiortcPeer(url, camera(), ToneMicrophone())) as peer,
    ):
        await until(lambda: len(numbers(peer.arrivals)) >= 20)
        await until(lambda: len(peer.audio_arrivals) >= 100)
        await until(lambda: peer.stats and peer.stats[-1][1]["audio_delay_ms"] > 30)
        await until(lambda: peer.stats[-1][1]["dropped"] >= 10)
        await until(lambda: efforts[-1] != USUAL and peer.stats[-1][1]["message"] is not None)
        assert "body and hands are looked for" in peer.stats[-1][1]["message"]
        last = peer.stats[-1][1]
    assert last["received"] - last["rendered"] - last["dropped"] <= AT_ONCE
    got = numbers(peer.arrivals)
    assert got == sorted(set(got))
    samples = np.concatenate([frame.to_ndarray().ravel() for _, frame in peer.audio_arrivals[50:]])
    assert 2_000 < np.abs(samples.astype(float)).mean() < 8_000  # the tone: 8,000 * 2 / pi = 5,093
    time_stamps = [frame.pts for _, frame in peer.audio_arrivals if frame.pts is not None]
    assert np.diff(time_stamps).max() == 960  # nothing of the voice is missing
    assert last["audio_overflows"] == 0


async def test_calibrate_and_mirror_reach_the_pipeline_in_its_own_thread() -> None:
    pipeline = CountingPipeline()
    async with running(lambda: pipeline) as (_, url), calling(AiortcPeer(url, camera())) as peer:
        await until(lambda: numbers(peer.arrivals))
        session = f"{url}/api/sessions/{peer.session['id']}"
        assert (await request("POST", f"{session}/calibrate", {}))[0] == 200
        assert (await request("POST", f"{session}/mirror", {"on": True}))[0] == 200
        await until(lambda: {"calibrate", "mirror True"} <= {what for what, _ in pipeline.calls})
        status, refusal = await request("POST", f"{session}/mirror", {"on": "yes"})
        assert status == 400
        assert "mirror needs" in refusal["error"]
        threads = {
            thread for what, thread in pipeline.calls if what in ("process", "calibrate", "mirror True")
        }
        assert len(threads) == 1
        assert threads.pop().startswith("render-")
    assert pipeline.closed


async def test_full_server_refuses_in_words_and_has_room_again() -> None:
    async with running(EchoPipeline, max_sessions=1) as (server, url):
        async with calling(AiortcPeer(url, camera())) as peer:
            await until(lambda: numbers(peer.arrivals))
            second = AiortcPeer(url, camera())
            with pytest.raises(ConnectionError, match=r"503.*all 1 sessions are in use.*--max-sessions"):
                await second.connect()
            await second.close()
            assert (await request("DELETE", f"{url}/api/sessions/{peer.session['id']}"))[0] == 200
            assert not len(server)
            status, _ = await request("DELETE", f"{url}/api/sessions/{peer.session['id']}")
            assert status == 404
        async with calling(AiortcPeer(url, camera())) as third:
            await until(lambda: numbers(third.arrivals))


async def test_calls_that_are_ended_use_one_pipeline_again_and_again() -> None:
    made: list[CountingPipeline] = []

    def factory() -> CountingPipeline:
        made.append(CountingPipeline())
        return made[-1]

    async with running(factory) as (server, url):
        for _ in range(3):
            async with calling(AiortcPeer(url, camera(), ToneMicrophone())) as peer:
                await until(lambda: numbers(peer.arrivals))
                await request("DELETE", f"{url}/api/sessions/{peer.session['id']}")
            assert not len(server)
        assert len(made) == 1  # reset and used again, not built again
        assert [what for what, _ in made[0].calls].count("reset") == 3
        assert not made[0].closed
    assert made[0].closed


async def test_server_stop_closes_a_call_that_is_on() -> None:
    pipeline = CountingPipeline()
    async with running(lambda: pipeline) as (server, url):
        peer = AiortcPeer(url, camera())
        await peer.connect()
        await until(lambda: numbers(peer.arrivals))
    assert not len(server)
    assert pipeline.closed
    await until(lambda: peer.state == "closed")
    assert peer.stats[-1][1]["ended"] == "the server is stopping"
    await peer.close()


async def test_a_silent_camera_is_named_and_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.render.metrics, "NO_FRAMES_AFTER_S", 0.5)
    limits = SessionLimits(silent_camera_s=2.0)
    async with (
        running(EchoPipeline, limits=limits) as (server, url),
        calling(AiortcPeer(url, SilentCamera())) as peer,
    ):
        await until(lambda: not len(server))
        await until(lambda: peer.stats and "ended" in peer.stats[-1][1])
    assert "no frames from the camera" in {message["state"] for _, message in peer.stats}
    assert peer.stats[-1][1]["ended"] == "no frames from the camera for 2 s"


async def test_a_bad_frame_shows_a_still_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        running(lambda: FailingPipeline(every=5)) as (_, url),
        calling(AiortcPeer(url, camera())) as peer,
    ):
        await until(lambda: peer.stats and peer.stats[-1][1]["failed"] >= 3)
        last = peer.stats[-1][1]
    assert last["rendered"] >= 3 * last["failed"]
    assert "this frame was meant to fail" in caplog.text  # with its traceback


async def test_a_pipeline_that_always_fails_is_told_and_the_call_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        running(lambda: FailingPipeline(every=1)) as (server, url),
        calling(AiortcPeer(url, camera())) as peer,
    ):
        await until(lambda: peer.stats and peer.stats[-1][1]["state"] == "the renderer fails")
        assert "renderer failed" in peer.stats[-1][1]["message"]
        await until(lambda: len(peer.arrivals) > 30)  # stills, which have no code
        assert not numbers(peer.arrivals)
        assert len(server) == 1
    assert "ArithmeticError" in caplog.text


async def test_a_runner_that_cannot_start_is_told_in_words() -> None:
    made = [EchoPipeline()]

    def factory() -> EchoPipeline:
        if made:
            return made.pop()
        raise RunnerError("no such backend: choose another with --runner")

    async with running(factory) as (server, url), calling(AiortcPeer(url, camera())):
        await until(lambda: not made)
        second = AiortcPeer(url, camera())
        await second.connect()
        await until(lambda: second.stats and "ended" in second.stats[-1][1])
        assert second.stats[-1][1]["ended"].startswith("the renderer cannot start: no such backend")
        await second.close()
        await until(lambda: len(server) == 1)


async def test_a_real_person_is_marked_in_the_picture_itself() -> None:
    """The plate in the bottom left corner reaches the viewer, and so do the bits that nobody sees."""
    dark, found = {}, {}
    for mark_pictures in (False, True):
        peer = AiortcPeer("", GreyCamera())
        seen: list[NDArray[np.uint8]] = []
        async with running(EchoPipeline, mark_pictures=mark_pictures) as (_, url):
            peer.link, peer.on_picture = url, seen.append
            async with calling(peer):
                await until(lambda: len(seen) >= 10)  # noqa: B023  used within this turn only
        dark[mark_pictures] = float((seen[-1][-14:, 4:80] < 90).mean())
        found[mark_pictures] = find_bits(
            [np.repeat(luma[..., None], 3, axis=2) for luma in seen[-5:]], search=False
        )
    assert dark[False] == 0.0
    assert dark[True] > 0.3
    assert found[False] is None
    marked = found[True]
    assert marked is not None
    assert marked.data == BITS
