"""An aiortc video track that shows an avatar, driven by another video track: for bots and media servers.

In any aiortc application:

    avatar = load_avatar("me.avatar")

    @connection.on("track")
    def answer(track):
        if track.kind == "video":
            connection.addTrack(AvatarTrack(track, avatar))

stream/example_call.py is a whole call that records what comes back. The track is a picture alone: whoever
also passes sound on holds it back by what `delay_ms` says.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter_ns

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from engine.avatar.avatar import Avatar
from engine.expression.asked import read_emotion
from engine.media.disclosure import DEFAULT_MARK, MarkStyle
from engine.pipeline import PipelineConfig, build_pipeline
from engine.render.background import Background
from engine.render.frame import checked_frame
from stream import tasks
from stream.media.tracks import PictureTrack
from stream.media.voice import SmoothDelay
from stream.render.avatars import ServedAvatar
from stream.render.performer import Performer
from stream.render.pipeline_pool import PipelinePools
from stream.render.render_loop import Incoming, Outgoing

logger = logging.getLogger(__name__)


class AvatarTrack(PictureTrack):
    """The avatar that follows `source`. Made and used on the event loop's thread.

    The newest frame wins: one that comes while another is rendered replaces what waits. Rendering has a
    thread of its own, and starts by itself; the models take seconds to load, and until then the source is
    drained and nothing is sent. Every avatar but a bundled presenter carries the marks. The track ends
    with its source, by stop(), or when the renderer cannot start; then everything is released.
    """

    def __init__(
        self,
        source: MediaStreamTrack,
        avatar: Avatar,
        config: PipelineConfig | None = None,
        mark: MarkStyle = DEFAULT_MARK,
    ) -> None:
        """source: a video track that nobody else reads (see aiortc's MediaRelay).

        mark: SettingsError where it shows nothing, and somebody unknown had a hand in the avatar.
        """
        super().__init__()
        self._source = source
        self._served = ServedAvatar(
            name=avatar.name,
            person=avatar.consent["person"],
            size_px=avatar.size,
            preview_jpeg=avatar.preview_jpeg,
            mark_style=avatar.marks(mark),
            build=lambda: build_pipeline(avatar, config),
        )
        self._pools = PipelinePools()
        self._performer = Performer(self._pools, self._served, mirror=False, measure=False)
        self._delay = SmoothDelay()
        self._starting = tasks.start(self._start(), "avatar start", expected=(Exception,))
        self._starting.add_done_callback(self._note_start)
        self._reading = tasks.start(self._read(), "avatar source", expected=(MediaStreamError,))
        self._releasing = tasks.start(self._release(), "avatar release")

    @property
    def delay_ms(self) -> float:
        """By how much to hold sound back, so that it fits the lips."""
        return self._delay.delay_ms

    async def ready(self) -> str:
        """Waits until the models are loaded; gives why the runner was chosen. Raises RunnerError."""
        return await asyncio.shield(self._starting)

    def calibrate(self) -> None:
        """Take the driver's neutral face from the next frames."""
        self._performer.calibrate()

    def set_mirror(self, on: bool) -> None:
        """Show the avatar as in a mirror, or not."""
        self._performer.set_mirror(on)

    def set_emotion(self, text: str) -> None:
        """Add feelings to the avatar's face: times and emotions, or words. Raises SettingsError."""
        self._performer.feel(read_emotion(text)[0])

    def set_eye_contact(self, on: bool) -> None:
        """Let the avatar look at the camera, or not."""
        self._performer.set_eye_contact(on)

    def set_background(self, background: Background) -> None:
        """Show the person before this."""
        self._performer.set_background(background)

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame from now on: auto, square, or such as 1280x720. Raises SettingsError."""
        self._performer.set_frame(checked_frame(frame))

    def stop(self) -> None:
        """End the track; what it holds is released soon, and with certainty after close()."""
        super().stop()
        self._reading.cancel()

    async def close(self) -> None:
        """End the track and wait until everything is released."""
        self.stop()
        await asyncio.shield(self._releasing)

    async def _start(self) -> str:
        reason = await self._pools.of(self._served).warm()
        await self._performer.start(self._show, self.id[:6], lambda _: self.stop())
        return reason

    def _note_start(self, starting: asyncio.Task[str]) -> None:
        if not starting.cancelled() and (error := starting.exception()) is not None:
            logger.error("the avatar track ends, its renderer cannot start: %s", error)
            self.stop()

    async def _read(self) -> None:
        """Drain the source, whose own queue may be unbounded."""
        while True:
            frame = await self._source.recv()
            assert isinstance(frame, av.VideoFrame)
            self._performer.put(Incoming(frame, perf_counter_ns()))

    async def _release(self) -> None:
        """Wait for the end, then let go of everything, also of what is just being built."""
        await asyncio.gather(self._reading, return_exceptions=True)
        super().stop()
        await asyncio.gather(self._starting, return_exceptions=True)
        await tasks.attempt("release", self._performer.close())
        await self._pools.close()

    def _show(self, outgoing: Outgoing) -> None:
        self._delay.update(outgoing.report.server_ms)
        self.push(outgoing.i420, outgoing.ticks)
