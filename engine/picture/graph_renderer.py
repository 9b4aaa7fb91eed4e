"""Draws with the one graph: what is decided goes to the device, and the picture comes back."""

from __future__ import annotations

import numpy as np

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.network.contract import ResidentRunner
from engine.person.landmarks import Landmarks
from engine.picture.contract import FRAME, MATTE, PAINTED, PICTURE, STATE
from engine.picture.graph_feed import GraphFeed
from engine.render.background import Background
from engine.render.guidance import GuidancePainter
from engine.render.prior import PriorBuilder
from engine.render.scene import Framer
from engine.render.temporal_cache import CacheConfig, TemporalState
from engine.runners.together import Dropped
from engine.stages import StageClock


class GraphRenderer:
    """See `engine.picture.renderer.Renderer`.

    The graph frames what it draws in the frame that it was made for, before the avatar's own room; any other
    frame or background is laid on the CPU, from the picture on the canvas.
    """

    def __init__(self, avatar: Avatar, runner: ResidentRunner, cache: CacheConfig | None = None) -> None:
        """runner: of the avatar's graph, which is closed with this."""
        self._runner = runner
        builder = PriorBuilder(avatar.keyframes, avatar.neutral, avatar.plate, avatar.bare_torso)
        self._state = TemporalState(cache or CacheConfig(), builder)
        self._feed = GraphFeed(builder, self._state, GuidancePainter(avatar.size))
        self._framer = Framer(avatar.plate, avatar.scene)
        _, height, width, _ = runner.outputs[FRAME].shape
        self._graph_px = width, height
        self._at_rest = avatar.keyframes[0].rgba  # shown until there is a driver
        self._drew = False  # since the rest
        self._shown: U8Image | None = None  # None: not read yet

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height) of its pictures."""
        return self._framer.size

    @property
    def picture(self) -> U8Image:
        """(H, W, 3) uint8 RGB, in a buffer that is reused."""
        if self._shown is None:
            self._shown = self._framed()
        return self._shown

    def rest(self) -> None:
        """Shows the first key frame, with nothing to go on from."""
        self._state.forget()
        self._drew, self._shown = False, None

    def may_resend(self, target: Landmarks) -> bool:
        """True when the last picture may be sent again; counts how often it was."""
        return self._state.may_resend(target)

    def draw(self, target: Landmarks, clock: StageClock) -> None:
        """Renders the target; where the device has no time for it, the picture before stands."""
        self._feed.guide(target)
        clock.end("guidance")
        changed, fresh = self._feed.decide(target)
        self._runner.put(changed)
        clock.end("warp")
        try:
            self._infer(fresh)
        except Dropped:
            clock.end("denoise")
            clock.end("compose")
            return
        self._state.drew(target)
        self._drew, self._shown = True, None
        clock.end("denoise")
        self._shown = self._framed()
        clock.end("compose")

    def _infer(self, fresh: bool) -> None:
        self._runner.infer()
        if fresh:
            self._runner.carry(PAINTED, STATE)
            self._runner.put(self._feed.again())
            self._runner.infer()
        self._runner.carry(PICTURE, STATE)

    def set_background(self, background: Background) -> None:
        """Shows the person before something else, the last picture too."""
        self._framer.set_background(background)
        self._shown = None

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame, the last one too. Raises SettingsError."""
        self._framer.choose(frame)
        self._shown = None

    def paint_every(self, pictures: int) -> None:
        """Nothing: the graph is whole, and where it runs no picture is too dear."""

    def close(self) -> None:
        """Releases the runner; a second call does nothing."""
        self._runner.close()

    def _framed(self) -> U8Image:
        if not self._drew:
            return self._framer.framed(self._at_rest[..., :3].copy(), self._at_rest[..., 3])
        if self._framer.is_own_room and self._framer.size == self._graph_px:
            return self._read(FRAME)
        return self._framer.framed(self._read(PICTURE), self._read(MATTE))

    def _read(self, name: str) -> U8Image:
        return np.asarray(self._runner.read(name)[0], np.uint8)
