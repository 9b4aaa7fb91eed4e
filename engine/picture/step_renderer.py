"""Draws step by step: on the CPU all but the network, which runs wherever its runner does."""

from __future__ import annotations

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.avatar.avatar import Avatar
from engine.network.contract import PRIOR, Runner, allocate, denoiser_inputs, network_px
from engine.person.landmarks import Landmarks
from engine.render.background import Background
from engine.render.composer import Composer
from engine.render.guidance import GuidancePainter
from engine.render.planes import to_planes
from engine.render.prior import Prior, PriorBuilder, shrunk
from engine.render.sampler import sample
from engine.render.scene import Framer
from engine.render.temporal_cache import CacheConfig, TemporalCache
from engine.stages import StageClock


class StepRenderer:
    """See `engine.picture.renderer.Renderer`."""

    def __init__(
        self, avatar: Avatar, runner: Runner, steps: int = 1, cache: CacheConfig | None = None
    ) -> None:
        """runner: of the avatar's network, which is closed with this. steps: see `sample`.

        A network may be of half the canvas's size, see `half_px`: prior, guidance and last picture are shrunk
        for it, and the picture is the prior at the canvas's size with what the network changed.
        """
        self._runner = runner
        self._px = network_px(runner)
        self._steps = steps
        self._paint_every = 1
        self._carried = 0  # pictures since the network painted one
        self._prior = PriorBuilder(avatar.keyframes, avatar.neutral, avatar.plate, avatar.bare_torso)
        self._cache = TemporalCache(cache or CacheConfig(), self._prior, self._px)
        self._painter = GuidancePainter(avatar.size)
        self._composer = Composer(avatar.plate)
        self._feed = allocate(denoiser_inputs(self._px))
        self._framer = Framer(avatar.plate, avatar.scene)
        self._at_rest = avatar.keyframes[0].rgba  # shown until there is a driver
        self.rest()

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height) of its pictures."""
        return self._framer.size

    @property
    def picture(self) -> U8Image:
        """(H, W, 3) uint8 RGB, in a buffer that is reused."""
        return self._picture

    def rest(self) -> None:
        """Shows the first key frame, with nothing to go on from."""
        self._cache.forget()
        self._carried = 0
        self._drawn = self._at_rest[..., :3].copy()  # over the plate, as the network paints
        self._matte = self._at_rest[..., 3]
        self._show()

    def may_resend(self, target: Landmarks) -> bool:
        """True when the last picture may be sent again; counts how often it was."""
        return self._cache.may_resend(target)

    def draw(self, target: Landmarks, clock: StageClock) -> None:
        """Renders the target into the picture buffer."""
        fed, prior = self._feed[PRIOR], self._prior.build(target)
        small = prior.shrunk(self._px)
        to_planes(small.rgb[None], fed)
        self._carried += 1
        change = self._cache.carried(target) if self._carried < self._paint_every else None
        if change is not None:
            clean = fed + change
            clock.end("warp")
        else:
            clean = self._painted(small, target, clock)
            self._carried = 0
            if self._paint_every > 1:
                self._cache.keep_change(clean - fed)
        self._composer.compose(clean[0], fed[0], prior, self._drawn)
        self._matte = prior.matte
        self._cache.keep(target, self._drawn)
        self._show()
        clock.end("compose")

    def _painted(self, prior: Prior, target: Landmarks, clock: StageClock) -> FloatArray:
        """(1, 3, S, S) float32: what the network makes of the prior that is fed."""
        start = self._cache.start(prior, target)
        fresh = self._cache.jumped(target)
        noise = self._cache.noise(target)
        clock.end("warp")
        maps = (shrunk(half, self._px // 2).transpose(2, 0, 1) for half in self._painter.halves(target))
        for planes, half in zip(np.split(self._feed["guidance"][0], 2), maps, strict=True):
            np.multiply(half, np.float32(1 / 255), out=planes)
        clock.end("guidance")
        clean = sample(self._denoise, start, noise, self._steps, fresh, self._feed["noisy"])
        clock.end("denoise")
        return clean

    def paint_every(self, pictures: int) -> None:
        """Lets the network paint one of so many pictures; its change is carried on to those in between."""
        self._paint_every = self._carried = pictures  # the next is painted: no change is kept yet

    def set_background(self, background: Background) -> None:
        """Shows the person before something else, the last picture too."""
        self._framer.set_background(background)
        self._show()

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame, the last one too. Raises SettingsError."""
        self._framer.choose(frame)
        self._show()

    def close(self) -> None:
        """Releases the runner; a second call does nothing."""
        self._runner.close()

    def _denoise(self, noisy: FloatArray, level: float) -> FloatArray:
        """noisy: the feed's own buffer."""
        self._feed["noise_level"][0] = level
        return np.asarray(self._runner.run(self._feed)["clean"], np.float32)

    def _show(self) -> None:
        """Lays what is drawn into the frame."""
        self._picture = self._framer.framed(self._drawn, self._matte)
