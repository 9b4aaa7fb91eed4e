"""Pipelines on loan: none is lent before it is ready, none is closed in a borrower's hands."""

from __future__ import annotations

import asyncio
import threading

import pytest

from benchmarks.live.echo_server import EchoPipeline
from stream.render.pipeline_pool import PipelinePool


class HeldPipeline(EchoPipeline):
    """Its reset waits for `go`, and may fail."""

    def __init__(self, reset_works: bool = True) -> None:
        super().__init__()
        self.resetting, self.go = threading.Event(), threading.Event()
        self.ready, self.closed = True, False
        self._reset_works = reset_works

    def reset(self) -> None:
        self.ready = False
        self.resetting.set()
        assert self.go.wait(10)
        if not self._reset_works:
            raise RuntimeError("the tracker has errors")
        self.ready = True

    def close(self) -> None:
        self.closed = True


async def released(pool: PipelinePool, pipeline: HeldPipeline) -> asyncio.Task[None]:
    """Gives it back; returns while it is being reset."""
    task = asyncio.create_task(pool.release(pipeline, reusable=True))
    assert await asyncio.to_thread(pipeline.resetting.wait, 10)
    return task


@pytest.mark.parametrize("reset_works", [True, False])
async def test_whoever_asks_during_a_reset_gets_a_pipeline_that_is_ready(reset_works: bool) -> None:
    """It was handed out at once, and closed in the next presenter's hands where the reset failed."""
    made = [HeldPipeline(reset_works), HeldPipeline()]
    left = list(made)
    pool = PipelinePool(lambda: left.pop(0))
    first = await pool.acquire()
    assert first is made[0]
    returning = await released(pool, made[0])
    asking = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0.05)
    assert not asking.done()
    made[0].go.set()
    second = await asking
    await returning
    assert second is (made[0] if reset_works else made[1])
    assert isinstance(second, HeldPipeline)
    assert second.ready
    assert not second.closed
    assert made[0].closed is not reset_works


async def test_two_that_come_back_together_leave_one_spare() -> None:
    made = [HeldPipeline(), HeldPipeline()]
    left = list(made)
    pool = PipelinePool(lambda: left.pop(0))
    for _ in made:
        await pool.acquire()
    for pipeline in made:
        pipeline.go.set()
    await asyncio.gather(*(pool.release(pipeline, reusable=True) for pipeline in made))
    assert [pipeline.closed for pipeline in made] == [False, True]
    assert await pool.acquire() is made[0]


async def test_a_pool_that_closes_during_a_reset_closes_that_pipeline_once_it_is_done() -> None:
    pipeline = HeldPipeline()
    pool = PipelinePool(lambda: pipeline)
    await pool.acquire()
    returning = await released(pool, pipeline)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0.05)
    assert not pipeline.closed
    pipeline.go.set()
    await asyncio.gather(returning, closing)
    assert pipeline.closed
