"""A session's avatar at work: its pipeline, the thread that runs it, what is done when it fails or changes.

Outlives peer connections, so that a presenter who comes back finds pipeline, calibration and settings as they
were. Event loop only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter_ns

import av

from engine.arrays import FloatArray
from engine.conversation.hearing import Row
from engine.conversation.turns import State
from engine.effort import USUAL, Effort
from engine.errors import AvatarcastError
from engine.expression.emotion import EmotionControl
from engine.expression.eye_contact import EyeContact
from engine.expression.feeling import Schedule
from engine.person.motion import Neutral
from engine.pipeline import Adjustment
from engine.render.background import Background
from stream import tasks
from stream.refusal import RequestRefused
from stream.render.avatars import ServedAvatar
from stream.render.coach import Coach
from stream.render.live_voice import HOLD_S, LiveVoice
from stream.render.pipeline_pool import PipelinePool, PipelinePools
from stream.render.render_loop import FramePipeline, Incoming, Outgoing, RenderThread

logger = logging.getLogger(__name__)

RUNNER_NOT_CHOSEN = "chosen when the models are loaded, with the first picture"
JOIN_LIMIT_S = 10.0  # for a render thread to finish its frame


class Performer:
    """Use: start(), put() frames, close()."""

    def __init__(
        self,
        pools: PipelinePools,
        avatar: ServedAvatar,
        mirror: bool,
        measure: bool,
        hold_s: float = HOLD_S,
    ) -> None:
        """hold_s: see `LiveVoice`."""
        self.avatar = avatar
        self._pool = pools.of(avatar)
        self.runner_reason = self._pool.reason or RUNNER_NOT_CHOSEN  # what runs the network, and why
        self.failed = 0  # frames on which the pipeline raised
        self.coach: Coach | None = None  # while the presenter films themselves
        self.on_row: Callable[[Row], None] | None = None  # gets what is heard of a conversation
        self._pools = pools
        self._mirror = mirror
        self._measure = measure
        self._hold_s = hold_s
        self._background: Background | None = None
        self._frame: str | None = None
        self._effort = USUAL
        self._eye_contact = EyeContact(wanted=False)
        self._emotion = EmotionControl()
        self._coached_lines: int | None = None  # see set_coach
        self._voice: LiveVoice | None = None  # that drives beside the camera, or in its place
        self._only_own_voice = False
        self._calibrates = False  # was asked to before it had a pipeline
        self._known: Neutral | None = None  # whom it is driven by, where another server knew them
        self._render: RenderThread | None = None
        self._pipeline: FramePipeline | None = None
        self._loop = asyncio.get_running_loop()
        self._changing = asyncio.Lock()  # one pipeline is exchanged at a time
        self._rebuilding: asyncio.Task[None] | None = None
        self._closed = False
        self._died = False  # the thread: its pipeline is not trusted any more
        self._tell: tasks.Tell | None = None

    @property
    def dropped(self) -> int:
        """Camera frames never rendered, because a newer one was there."""
        return 0 if self._render is None else self._render.slot.dropped

    @property
    def failing(self) -> bool:
        """A failure picture is shown, because the last frame could not be rendered."""
        return self._render is not None and self._render.failures > 0

    @property
    def _shown_mirrored(self) -> bool:
        return self._mirror and self._coached_lines is None

    async def start(self, deliver: Callable[[Outgoing], None], name: str, tell: tasks.Tell) -> None:
        """Get a pipeline and start rendering. Raises RequestRefused (503) where there is none to be had.

        tell: gets the reason where rendering cannot go on.
        """
        self._tell = tell
        async with self._changing:
            self._pipeline = await self._acquire(self._pool)
            if not self._closed:
                self._render = self._thread(deliver, name)
                self._render.start()

    def _thread(self, deliver: Callable[[Outgoing], None], name: str) -> RenderThread:
        assert self._pipeline is not None
        thread = RenderThread(
            self._pipeline,
            deliver=lambda outgoing: self._from_thread(self._on_rendered, deliver, outgoing),
            broken=lambda: self._from_thread(self._on_broken),
            died=lambda reason: self._from_thread(self._on_died, reason),
            measure=self._measure,
            mark_style=self.avatar.mark_style,
            name=f"render-{name}",
        )
        thread.coached_lines = self._coached_lines
        thread.voice = self._voice
        if self._calibrates:
            thread.ask(lambda pipeline: pipeline.calibrate())
        elif (known := self._known) is not None:
            thread.ask(lambda pipeline: pipeline.drive_by(known))
        return thread

    @property
    def conversation(self) -> State | None:
        """Whose turn it is; None where no voice may drive, or nobody else is heard."""
        return None if self._voice is None else self._voice.conversation

    def put(self, incoming: Incoming) -> None:
        """Render this frame next, unless a newer one comes first."""
        self.attend(incoming.arrived_ns)
        if self._render is not None:
            self._render.slot.put(incoming)

    def calibrate(self) -> None:
        """Take the presenter's neutral face from the next frames."""
        self._calibrates = self._render is None
        self._ask(lambda pipeline: pipeline.calibrate())

    @property
    def neutral(self) -> Neutral | None:
        """The presenter at rest, once that is known."""
        pipeline = self._pipeline
        return None if pipeline is None or pipeline.calibrating else pipeline.driver

    def drive_by(self, neutral: Neutral) -> None:
        """Take this as the presenter at rest."""
        self._calibrates = False
        self._known = neutral
        self._ask(lambda pipeline: pipeline.drive_by(neutral))

    def set_mirror(self, on: bool) -> None:
        """Show the avatar as in a mirror, or not."""
        self._mirror = on
        self._ask(lambda pipeline: pipeline.set_mirror(on))

    def set_background(self, background: Background) -> None:
        """Show the person before this."""
        self._background = background
        self._ask(lambda pipeline: pipeline.set_background(background))

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame, also with another avatar. frame: as `checked_frame` gives it."""
        self._frame = frame
        self._ask(lambda pipeline: pipeline.set_frame(frame))

    def set_effort(self, effort: Effort) -> None:
        """Do so much for each picture, also with another avatar."""
        self._effort = effort
        self._ask(lambda pipeline: pipeline.set_effort(effort))

    def feel(self, schedule: Schedule) -> None:
        """Add these feelings to the avatar's face from now on; also to another avatar's."""
        self._emotion.want(schedule)

    def set_eye_contact(self, on: bool) -> None:
        """Let the avatar look at the camera, or not; also with another avatar."""
        self._eye_contact.wanted = on

    def set_voice(self, on: bool) -> None:
        """Let the presenter's voice drive where the camera shows no face; or the camera alone."""
        if on == (self._voice is not None):
            return
        voice = self._voice = LiveVoice(self._hold_s, self._on_row) if on else None
        if voice is not None:
            voice.only_own = self._only_own_voice
        if self._render is not None:
            self._render.voice = voice
        self._ask(lambda pipeline: pipeline.accompany(None) if voice is None else voice.attach(pipeline))
        self._ask(lambda pipeline: pipeline.adjust(self._adjustments()))

    def set_only_own_voice(self, on: bool) -> None:
        """Let no voice but that of the avatar's print move its mouth; without a print any voice may."""
        self._only_own_voice = on
        if self._voice is not None:
            self._voice.only_own = on

    @property
    def voice_is(self) -> str | None:
        """Of Whose; None where no voice may drive, or the avatar keeps no print of one."""
        whose = None if self._voice is None else self._voice.whose
        return None if whose is None else whose.value

    @property
    def lips_by_voice(self) -> float:
        """How much the voice helps lips that the camera sees badly, 0 to 1."""
        return 0.0 if self._voice is None else round(self._voice.lips, 2)

    @property
    def refuses_voice(self) -> bool:
        """The voice moves no mouth now, see `set_only_own_voice`."""
        return self._voice is not None and self._voice.refused

    def hear(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """What the presenter says, as it was here at this time (perf_counter_ns)."""
        if self._voice is not None:
            self._voice.hear(frame, arrived_ns)

    def hear_other(self, samples: FloatArray, arrived_ns: int) -> None:
        """What somebody says to the presenter; (n,) float32, 16 kHz, whole at this time."""
        if self._voice is not None:
            self._voice.hear_other(samples, arrived_ns)

    def hear_frame_of_other(self, frame: av.AudioFrame, arrived_ns: int) -> None:
        """The same, as a decoder gives it."""
        if self._voice is not None:
            self._voice.hear_frame_of_other(frame, arrived_ns)

    def attend(self, now_ns: int) -> None:
        """It is that late (perf_counter_ns), whether sound comes or not."""
        if self._voice is not None:
            self._voice.attend(now_ns)

    def hush(self) -> None:
        """The avatar says no more of what was heard."""
        if self._voice is not None:
            self._voice.hush(perf_counter_ns())

    def set_coach(self, recorded_lines: int | None) -> None:
        """Look at what the presenter does, for a recording of so many lines, from now on; None: no longer.

        Asked again, it forgets what was seen. Nothing is mirrored meanwhile, so that left is left.
        """
        if recorded_lines is None:
            self.coach = None
        elif self.coach is None:
            self.coach = Coach()
        else:
            self.coach.start_over()
        self._coached_lines = recorded_lines
        if self._render is not None:
            self._render.coached_lines = recorded_lines
        mirror = self._shown_mirrored
        self._ask(lambda pipeline: pipeline.set_mirror(mirror))

    async def switch(self, avatar: ServedAvatar) -> None:
        """Go on with another avatar; pictures of the one before come until it is ready."""
        async with self._changing:
            if self._render is None:
                self.avatar, self._pool = avatar, self._pools.of(avatar)  # it starts with this one
            elif avatar.name != self.avatar.name:
                await self._exchange(avatar, reusable=not self.failing)

    async def close(self) -> None:
        """Stop the thread and give the pipeline back."""
        self._closed = True
        if self._rebuilding is not None:
            await asyncio.gather(self._rebuilding, return_exceptions=True)
        async with self._changing:
            if self._render is not None:
                self._render.stop()
                await asyncio.to_thread(self._render.join, JOIN_LIMIT_S)
                if self._render.is_alive():  # closing a pipeline under its own thread would crash the process
                    logger.error("%s did not stop in %.0f s", self._render.name, JOIN_LIMIT_S)
                    return
            if self._pipeline is not None:
                reusable = not (self.failing or self._died)
                await self._pool.release(self._pipeline, reusable)

    async def _exchange(self, avatar: ServedAvatar, reusable: bool) -> None:
        assert self._render is not None
        pool = self._pools.of(avatar)
        pipeline = await self._acquire(pool)
        try:
            before = await asyncio.to_thread(self._render.swap, pipeline, avatar.mark_style, JOIN_LIMIT_S)
        except TimeoutError as error:
            await pool.release(pipeline, reusable=True)
            raise RequestRefused(503, f"{error}; try again") from error
        left, self._pool = self._pool, pool
        self.avatar, self._pipeline = avatar, pipeline
        await left.release(before, reusable)

    async def _acquire(self, pool: PipelinePool) -> FramePipeline:
        try:
            pipeline = await pool.acquire()
        except AvatarcastError as error:
            raise RequestRefused(503, f"the renderer cannot start: {error}") from error
        self.runner_reason = pipeline.runner_reason
        pipeline.set_mirror(self._shown_mirrored)
        pipeline.adjust(self._adjustments())
        if self._background is not None:
            pipeline.set_background(self._background)
        if self._frame is not None:
            pipeline.set_frame(self._frame)
        pipeline.set_effort(self._effort)
        if self._voice is not None:
            self._voice.attach(pipeline)
        return pipeline

    def _adjustments(self) -> list[Adjustment]:
        listening: list[Adjustment] = [] if self._voice is None else [self._voice]
        return [*listening, self._emotion, self._eye_contact]

    def _on_row(self, row: Row) -> None:
        if self.on_row is not None:
            self.on_row(row)

    def _ask(self, request: Callable[[FramePipeline], None]) -> None:
        if self._render is not None:
            self._render.ask(request)

    def _from_thread(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(tasks.guard, "picture", self._tell, call, *arguments)
        except RuntimeError:
            logger.info("a frame came after the event loop had closed")

    def _on_rendered(self, deliver: Callable[[Outgoing], None], outgoing: Outgoing) -> None:
        if self.coach is not None and outgoing.report.look is not None:
            self.coach.see(outgoing.report.look)
        self.failed += outgoing.is_failure
        deliver(outgoing)

    def _on_died(self, reason: str) -> None:
        self._died = True
        if self._tell is not None:
            self._tell(reason)

    def _on_broken(self) -> None:
        if not self._closed and (self._rebuilding is None or self._rebuilding.done()):
            self._rebuilding = tasks.start(self._rebuild(), "rebuild")

    async def _rebuild(self) -> None:
        """A pipeline that fails on every frame is replaced by a new one of the same avatar."""
        logger.warning("the pipeline of %r fails on every frame: it is built anew", self.avatar.name)
        async with self._changing:
            await self._exchange(self.avatar, reusable=False)  # where it fails the failure picture stays
