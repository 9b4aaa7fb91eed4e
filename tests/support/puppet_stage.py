"""A pipeline on a script: a puppet drives it, pose by pose, without a tracker or a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.network.contract import NullRunner, Runner, denoiser_inputs, denoiser_outputs
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline, PipelineConfig, Rendered
from engine.render.temporal_cache import CacheConfig
from tests.support.puppet import Pose, Puppet

FRAME_NS = 40_000_000
DRIVER = Puppet(240, shape_seed=4, unit=0.2)


class FakeTracker:
    """Gives the landmarks of a script, whatever the picture; remembers what it was shown."""

    def __init__(self, script: Sequence[Landmarks]) -> None:
        self.script = list(script)
        self.seen: list[U8Image] = []
        self.resets = self.closes = 0
        self.share = 1.0  # of the usual looks

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        self.seen.append(rgb.copy())
        return self.script[min(len(self.seen) - 1, len(self.script) - 1)]

    def look_less(self, share: float) -> None:
        self.share = share

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closes += 1


class Script:
    """A tracker that tells landmarks in order, whatever it is shown; of one take."""

    def __init__(self, frames: Iterable[Landmarks]) -> None:
        self._frames = iter(frames)
        self.closed = False

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        return next(self._frames)

    def look_less(self, share: float) -> None: ...

    def reset(self) -> None:
        raise AssertionError("one take")

    def close(self) -> None:
        self.closed = True


class Stage:
    """A pipeline on a script of driver poses, fed at 25 frames per second."""

    def __init__(
        self, avatar: Avatar, poses: Sequence[Pose], config: PipelineConfig, runner: Runner | None = None
    ) -> None:
        self.tracker = FakeTracker([DRIVER.landmarks(pose) for pose in poses])
        null = NullRunner(denoiser_inputs(avatar.size), denoiser_outputs(avatar.size))
        renderer = StepRenderer(avatar, runner or null, config.steps, config.cache)
        self.pipeline = Pipeline(avatar, config, self.tracker, renderer, "made for a test")
        self.frames = 0

    def calibrated(self) -> Stage:
        self.pipeline.drive_by(build_neutral([DRIVER.landmarks()]))
        return self

    def next(self) -> Rendered:
        """The next frame, its picture copied."""
        picture = np.full((240, 240, 3), self.frames % 256, np.uint8)
        picture[:, :120] = 255 - picture[:, :120]
        rendered = self.pipeline.process(picture, self.frames * FRAME_NS)
        self.frames += 1
        return replace(rendered, rgb=rendered.rgb.copy())


Make = Callable[..., Stage]


def no_gate() -> PipelineConfig:
    return PipelineConfig(cache=CacheConfig(pose_gate=False))
