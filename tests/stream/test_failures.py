"""A renderer that fails: a picture that says so, a new pipeline, and then the avatar again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest
from aiortc.mediastreams import VIDEO_TIME_BASE
from numpy.typing import NDArray

from benchmarks.live.echo_server import EchoedFrame, EchoPipeline
from stream.media.failure_picture import failure_picture
from stream.render.performer import Performer
from stream.render.pipeline_pool import PipelinePools
from stream.render.render_loop import BROKEN_AFTER, RECOVERED_AFTER, Incoming, Outgoing, RenderThread
from tests.support.direct_call import avatars_of
from tests.support.waiting import WAIT_S

BRIGHT = 200


class FailingPipeline(EchoPipeline):
    """Shows a bright picture, or raises, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.closed = False

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        if self.fails:
            raise ArithmeticError("this frame was meant to fail")
        return EchoedFrame(np.full((256, 256, 3), BRIGHT, np.uint8))

    def close(self) -> None:
        self.closed = True


class Stage:
    """A render thread that is fed one frame at a time."""

    def __init__(self) -> None:
        self.pipeline = FailingPipeline()
        self.failed = self.broken = 0
        self._out: list[Outgoing] = []
        self._delivered = threading.Semaphore(0)
        self._count = 0
        self.thread = RenderThread(
            self.pipeline, self._deliver, self._on_broken, print, False, None, "render-test"
        )

    def _deliver(self, outgoing: Outgoing) -> None:
        self._out.append(outgoing)
        self.failed += outgoing.is_failure
        self._delivered.release()

    def _on_broken(self) -> None:
        self.broken += 1

    def shows(self, frames: int = 1) -> float:
        """Mean luma of the last of so many pictures."""
        for _ in range(frames):
            self.thread.slot.put(incoming(self._count))
            self._count += 1
            assert self._delivered.acquire(timeout=WAIT_S)
        return float(self._out[-1].i420[:256].mean())

    @property
    def ticks(self) -> list[int]:
        return [outgoing.ticks for outgoing in self._out]


def incoming(index: int) -> Incoming:
    frame = av.VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
    frame.pts, frame.time_base = index * 3_000, VIDEO_TIME_BASE
    return Incoming(frame, 0)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    stage.thread.start()
    yield stage
    stage.thread.stop()
    stage.thread.join(WAIT_S)


def test_a_failing_frame_shows_the_last_picture_darkened_and_then_all_is_well(stage: Stage) -> None:
    bright = stage.shows()
    stage.pipeline.fails = True
    dark = stage.shows(3)
    assert 0.3 * bright < dark < 0.6 * bright
    assert stage.thread.failures == 3
    stage.pipeline.fails = False
    assert stage.shows() == bright
    assert (stage.failed, stage.broken, stage.thread.failures) == (3, 0, 0)
    assert stage.ticks == [0, 3_000, 6_000, 9_000, 12_000]  # the stream went on in its own time


def test_a_first_frame_that_fails_shows_a_still_too(stage: Stage) -> None:
    stage.pipeline.fails = True
    assert stage.shows() > 16


def test_lasting_failure_is_told_once_and_again_only_after_it_had_recovered(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.pipeline.fails = True
    stage.shows(BROKEN_AFTER - 1)
    assert stage.broken == 0
    stage.shows(BROKEN_AFTER * 3)
    assert stage.broken == 1
    assert len([r for r in caplog.records if "could not be rendered" in r.message]) == 2  # not one a frame
    stage.pipeline.fails = False
    stage.shows(RECOVERED_AFTER - 1)
    stage.pipeline.fails = True
    stage.shows(BROKEN_AFTER)
    assert stage.broken == 1
    stage.pipeline.fails = False
    stage.shows(RECOVERED_AFTER)
    stage.pipeline.fails = True
    stage.shows(BROKEN_AFTER)
    assert stage.broken == 2


def test_swap_gives_the_pipeline_back_between_frames(stage: Stage) -> None:
    stage.pipeline.fails = True
    stage.shows()
    assert stage.thread.swap(EchoPipeline(), None, WAIT_S) is stage.pipeline
    assert stage.shows() == pytest.approx(126, abs=5)  # the camera's own grey


def test_swap_does_not_wait_for_ever_for_a_pipeline_that_hangs() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Hanging(EchoPipeline):
        def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
            entered.set()
            leave.wait(WAIT_S)
            return super().process(rgb, time_ns)

    thread = RenderThread(Hanging(), lambda _: None, lambda: None, print, False, None, "render-hang")
    thread.start()
    thread.slot.put(incoming(0))
    assert entered.wait(WAIT_S)
    with pytest.raises(TimeoutError, match="did not finish its frame"):
        thread.swap(EchoPipeline(), None, 0.01)
    leave.set()
    thread.stop()
    thread.join(WAIT_S)


@pytest.mark.parametrize("second_works", [True, False])
async def test_a_pipeline_that_fails_for_good_is_built_anew_once(second_works: bool) -> None:
    made: list[FailingPipeline] = []

    def build() -> FailingPipeline:
        made.append(FailingPipeline())
        made[-1].fails = len(made) == 1 or not second_works
        return made[-1]

    (avatar,) = avatars_of({"failing": build})
    pools, shown = PipelinePools(), list[float]()
    performer = Performer(pools, avatar, mirror=False, measure=False)
    await performer.start(lambda outgoing: shown.append(float(outgoing.i420[:256].mean())), "test", print)

    async def show(until: Callable[[], bool]) -> None:
        for index in range(100_000):
            performer.put(incoming(index))
            await asyncio.sleep(0.001)
            if until():
                return
        raise AssertionError(f"{len(made)} pipelines, {performer.failed} failures, {shown[-1:]}")

    if second_works:
        await show(lambda: bool(shown) and shown[-1] > 150)
        assert not performer.failing
    else:
        await show(lambda: performer.failed > 6 * BROKEN_AFTER)
        assert performer.failing  # and shows the failure picture
    assert len(made) == 2
    assert made[0].closed
    await performer.close()
    await pools.close()
    assert made[1].closed


def test_the_still_bears_its_text_and_keeps_the_size() -> None:
    last = np.full((96, 64), BRIGHT, np.uint8)
    with_text, without = failure_picture(last, "The renderer failed", 256), failure_picture(last, "", 256)
    assert with_text.shape == last.shape
    assert without[:64].max() < 0.5 * BRIGHT
    assert with_text[:64].max() > without[:64].max() + 50
    assert failure_picture(None, "no picture yet", 128).shape == (192, 128)
    assert (last == BRIGHT).all()  # not changed: an encoder may still read it
