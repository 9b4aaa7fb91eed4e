"""Pictures that are encoded once for many viewers: what each of them sees, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc.codecs.base import Decoder
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame

from engine.media.frame_code import read
from stream.media import lanes as lanes_module
from stream.media.encoders import (
    SOURCE_TYPE_UUID,
    RenderedEncoder,
    RenderedH264Encoder,
    RenderedVp8Encoder,
    bitrates,
)
from stream.media.lanes import Lane, Lanes, Seat, SharedTrack
from stream.media.stepping import LADDER
from stream.media.tracks import rgb_from_frame
from stream.sessions.registry import SessionRegistry
from tests.stream.test_encoders import both, picture
from tests.support.direct_call import WatchingPeer, avatars_of, publish
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until

_KEY_FRAMES_EVERY_S = 0.3
_START_BPS = bitrates(256, 256).start


class Watcher:
    """A viewer without a network: sends as aiortc does, and decodes what is sent."""

    def __init__(
        self, encoder: RenderedEncoder, decoder: Decoder, depayload: Callable[[bytes], bytes]
    ) -> None:
        self.track, self.encoder = SharedTrack(), encoder
        self.estimate_bps: int | None = None
        self.seen: list[int | None] = []
        self.ticks: list[int] = []
        self.captured: list[int | None] = []
        self.marked: list[bool] = []  # as a model's, within H.264
        self.own = 0  # pictures that it encoded itself
        self._decoder, self._depayload = decoder, depayload

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            item = await self.track.recv()
            if isinstance(item, av.VideoFrame):
                self.own += 1
                payloads, ticks = await loop.run_in_executor(None, self.encoder.encode, item)
            else:
                payloads, ticks = self.encoder.pack(item)
            data = b"".join(map(self._depayload, payloads))
            self.ticks.append(ticks)
            self.captured.append(self.track.captured_ns)
            self.marked.append(SOURCE_TYPE_UUID.bytes in data)
            for frame in self._decoder.decode(JitterFrame(data, ticks)):
                assert isinstance(frame, av.VideoFrame)
                self.seen.append(read(rgb_from_frame(frame)))

    def seat(self) -> Seat:
        return Seat(self.track, self.encoder, self.estimate_bps, ready=True)


class Show:
    """Pictures for watchers, who come one by one."""

    def __init__(self, make: Callable[[], Watcher]) -> None:
        self.lanes, self.watchers, self.shown = Lanes(), list[Watcher](), 0
        self._make, self._tasks = make, list[asyncio.Task[None]]()

    def add(self) -> Watcher:
        self.watchers.append(self._make())
        self._tasks.append(asyncio.create_task(self.watchers[-1].watch()))
        return self.watchers[-1]

    async def go_on(self, pictures: int) -> None:
        """That many, each seen by everybody before the next."""
        for _ in range(pictures):
            await self.lanes.seat([one.seat() for one in self.watchers])
            number = self.shown = self.shown + 1
            shown = np.asarray(picture(number).to_ndarray(), np.uint8), number * 3_000, number
            self.lanes.push(shown)
            for one in self.watchers:
                one.track.push(*shown)
            await until(lambda: all(one.seen[-1:] == [self.shown] for one in self.watchers))

    async def close(self) -> None:
        await self.lanes.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


@asynccontextmanager
async def showing(make: Callable[[], Watcher]) -> AsyncIterator[Show]:
    show = Show(make)
    try:
        yield show
    finally:
        await show.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "KEY_FRAMES_EVERY_S", _KEY_FRAMES_EVERY_S)


@both
async def test_all_see_every_picture_and_one_encoder_works(
    make_encoder: Callable[[], RenderedEncoder],
    make_decoder: Callable[[], Decoder],
    depayload: Callable[[bytes], bytes],
) -> None:
    async with showing(lambda: Watcher(make_encoder(), make_decoder(), depayload)) as show:
        first = show.add()
        await show.go_on(4)
        late = show.add()
        await show.go_on(1)
        assert late.seen == [5]  # at once, by an encoder of its own, for the lane's key frame is not due
        await asyncio.sleep(_KEY_FRAMES_EVERY_S)
        await show.go_on(3)
        own = [one.own for one in show.watchers]
        lane = first.track.lane
        assert lane is not None
        assert lane is late.track.lane
        coded = len(lane.encoder.effort.encode_ms)
        await show.go_on(10)
        assert [one.own for one in show.watchers] == own
        assert len(lane.encoder.effort.encode_ms) == coded + 10
        assert late.captured[-10:] == list(range(show.shown - 9, show.shown + 1))
        for one in show.watchers:
            assert None not in one.seen
            assert all(before < after for before, after in pairwise(one.ticks))
            if isinstance(one.encoder, RenderedH264Encoder):
                assert sum(one.marked) >= 2  # its own first picture, and the lane's that it has joined by


@both
async def test_who_has_lost_packets_sees_the_next_picture_and_costs_the_others_little(
    make_encoder: Callable[[], RenderedEncoder],
    make_decoder: Callable[[], Decoder],
    depayload: Callable[[bytes], bytes],
) -> None:
    async with showing(lambda: Watcher(make_encoder(), make_decoder(), depayload)) as show:
        well, losing = show.add(), show.add()
        await show.go_on(4)
        assert well.track.lane is losing.track.lane is not None
        losing._decoder = make_decoder()  # knows nothing of what was before
        seen, own, well_own = len(losing.seen), losing.own, well.own
        for _ in range(3):
            losing.track.start_anew()  # as a page that asks again and again
            await show.go_on(1)
        assert losing.own > own
        assert losing.seen[-1] == show.shown
        assert len(losing.seen) > seen
        assert well.own == well_own
        await asyncio.sleep(_KEY_FRAMES_EVERY_S)
        await show.go_on(2)
        assert losing.track.lane is well.track.lane
        losing.track.start_anew()  # a link that loses again and again: the lane is spared its key frames
        await asyncio.sleep(_KEY_FRAMES_EVERY_S)
        await show.go_on(2)
        assert sits(losing) == (None, None)
        assert losing.seen[-1] == show.shown


async def test_key_frames_for_joiners_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "KEY_FRAMES_EVERY_S", 60.0)
    async with showing(_vp8) as show:
        show.add()
        await show.go_on(2)
        for _ in range(4):
            show.add()
            await show.go_on(2)
        riding = [one.track.lane is not None for one in show.watchers]
        assert riding == [True, False, False, False, False]
        assert all(one.own >= 2 for one in show.watchers[1:])


async def test_a_slow_link_gets_an_encoder_of_its_own_and_holds_nobody_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes_module, "_RATE_OVER_S", 0.0)
    async with showing(_vp8) as show:
        quick, slow = show.add(), show.add()
        await show.go_on(4)
        lane = quick.track.lane
        assert lane is not None
        assert sits(slow) == (lane, None)
        quick.estimate_bps, slow.estimate_bps = 10 * _START_BPS, 1_000
        slow.encoder.target_bitrate = 1_000  # as aiortc tells it
        await show.go_on(4)
        assert sits(quick) == (lane, None)
        assert sits(slow) == (None, None)
        own, quick_own = slow.own, quick.own
        await show.go_on(4)
        assert (slow.own, quick.own) == (own + 4, quick_own)
        assert slow.encoder.target_bitrate == bitrates(256, 256).least
        assert lane.encoder.target_bitrate == bitrates(256, 256).most
        slow.estimate_bps, slow.track.alone_until_s = 10 * _START_BPS, 0.0
        await asyncio.sleep(_KEY_FRAMES_EVERY_S)
        await show.go_on(3)
        assert sits(slow) == (lane, None)


async def test_who_was_paused_in_a_lane_is_sent_the_newest_picture_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes_module, "RESEND_AFTER_S", 0.1)
    async with showing(_vp8) as show:
        viewer = show.add()
        await show.go_on(4)
        assert viewer.own < 4
        viewer.track.paused = True
        await show.lanes.seat([Seat(viewer.track, viewer.encoder, None, ready=False)])
        seen = len(viewer.seen)
        viewer.track.paused = False
        await until(lambda: len(viewer.seen) > seen)
        assert set(viewer.seen[seen:]) == {4}


async def test_where_a_lane_fails_each_goes_on_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with showing(lambda: Watcher(FailsForOthers(), Vp8Decoder(), vp8_depayload)) as show:
        pair = show.add(), show.add()
        await show.go_on(5)
        assert [one.own for one in pair] == [5, 5]
        assert [sits(one) for one in pair] == [(None, None)] * 2
    assert [record.message for record in caplog.records] == ["lane failed"]  # and is not tried again


async def test_smaller_pictures_have_a_lane_of_their_own() -> None:
    async with showing(_vp8) as show:
        first, second = show.add(), show.add()
        await show.go_on(3)
        full = first.track.lane
        for one in (first, second):
            one.track.level = LADDER[-1]
        await asyncio.sleep(_KEY_FRAMES_EVERY_S)
        await show.lanes.seat([one.seat() for one in show.watchers])
        lane = first.track.joins
        assert lane is second.track.joins
        assert lane is not None
        assert lane is not full
        assert lane.source.level == LADDER[-1]


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_two_viewers_of_a_call_share_an_encoder(codec: str) -> None:
    registry = SessionRegistry(avatars_of())
    session, connection = await publish(registry, grey_camera(), codec=codec)
    viewers = [WatchingPeer(codec=codec), WatchingPeer(codec=codec)]
    for viewer in viewers:
        await viewer.watch(session)
    watched = [session.audience.viewer(viewer.viewer_id) for viewer in viewers]
    await until(lambda: all(one.pictures.lane is not None for one in watched))
    assert watched[0].pictures.lane is watched[1].pictures.lane
    encoders = [one.peer.encoder for one in watched]
    await until(lambda: all(one is not None and one.codec is None for one in encoders))
    own = [len(one.effort.encode_ms) for one in encoders if one is not None]
    before = [len(viewer.arrivals) for viewer in viewers]
    await until(lambda: all(len(one.arrivals) > n + 10 for one, n in zip(viewers, before, strict=True)))
    assert [len(one.effort.encode_ms) for one in encoders if one is not None] == own
    for viewer in viewers:
        assert viewer.luma is not None
        assert abs(float(viewer.luma.mean()) - 128) < 10
        await viewer.close()
    await connection.close()
    await registry.close()


class FailsForOthers(RenderedVp8Encoder):
    """Takes pictures; the one it makes for a lane cannot be opened."""

    def another(self) -> RenderedVp8Encoder:
        return Unopened()


class Unopened(RenderedVp8Encoder):
    def _open(self, width: int, height: int, bitrate_bps: int) -> av.VideoCodecContext:
        raise ValueError("no further stream")


def sits(watcher: Watcher) -> tuple[Lane | None, Lane | None]:
    """Where it rides, and where it will."""
    return watcher.track.lane, watcher.track.joins


def _vp8() -> Watcher:
    return Watcher(RenderedVp8Encoder(), Vp8Decoder(), vp8_depayload)
