"""Hands out media pipelines: building one loads models and takes seconds, so one is kept ready.

A pipeline that comes back healthy is reset and becomes the spare, so that a second call after the first
starts at once and no model is loaded while somebody is talking. Building, resetting and closing happen in
worker threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from stream.render.avatars import ServedAvatar
from stream.render.render_loop import FramePipeline

logger = logging.getLogger(__name__)


class PipelinePool:
    """At most one idle pipeline. Event loop only."""

    def __init__(self, factory: Callable[[], FramePipeline]) -> None:
        self._factory = factory
        self._spare: FramePipeline | None = None
        self._returning = asyncio.Lock()  # held while one is made ready: nothing is shared before it is
        self._closed = False
        self.reason = ""  # why the runner was chosen, once one was

    async def warm(self) -> str:
        """Build the spare; returns why its runner was chosen. What the factory raises is passed on."""
        if self._spare is None:
            self._spare = await asyncio.to_thread(self._factory)
        self.reason = self._spare.runner_reason
        return self.reason

    async def acquire(self) -> FramePipeline:
        """The spare one, or a new one. What the factory raises is passed on."""
        async with self._returning:  # a reset takes milliseconds, building takes seconds
            pipeline, self._spare = self._spare, None
        if pipeline is None:
            pipeline = await asyncio.to_thread(self._factory)
        self.reason = pipeline.runner_reason
        return pipeline

    async def release(self, pipeline: FramePipeline, reusable: bool) -> None:
        """Take a pipeline back: it becomes the spare, reset, or is closed. No thread may still use it."""
        async with self._returning:
            if reusable and self._spare is None and not self._closed and await _is_reset(pipeline):
                self._spare = pipeline  # from here on it may be handed out
                return
        await asyncio.to_thread(pipeline.close)

    async def close(self) -> None:
        """Close the spare; those still handed out are closed as they come back."""
        self._closed = True
        async with self._returning:
            spare, self._spare = self._spare, None
        if spare is not None:
            await asyncio.to_thread(spare.close)


async def _is_reset(pipeline: FramePipeline) -> bool:
    """Whether it now is as if new."""
    try:
        await asyncio.to_thread(pipeline.reset)
    except Exception:  # a pipeline that cannot be reset is not worth keeping, whatever the reason
        logger.exception("the pipeline could not be reset; it is closed instead")
        return False
    return True


class PipelinePools:
    """A pool for each avatar, made when it is first asked for. Event loop only."""

    def __init__(self) -> None:
        self._pools: dict[ServedAvatar, PipelinePool] = {}

    def of(self, avatar: ServedAvatar) -> PipelinePool:
        """What is lent by it goes back to it."""
        return self._pools.setdefault(avatar, PipelinePool(avatar.build))

    async def keep_only(self, avatars: Iterable[ServedAvatar]) -> None:
        """Let go of all others; what of theirs is handed out is closed as it comes back."""
        for avatar in self._pools.keys() - set(avatars):
            await self._pools.pop(avatar).close()

    async def close(self) -> None:
        """Close all spares; those still handed out are closed as they come back."""
        for pool in list(self._pools.values()):
            await pool.close()
