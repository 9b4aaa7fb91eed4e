"""An avatar driven by landmarks that are at hand, with whatever network: to calibrate, compare and gate.

Frames go through the live pipeline itself, so that a network meets what it will meet when serving: the same
guidance and prior, and its own previous picture as the warm start. Nothing is tracked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.avatar.avatar import LOSSLESS_KEYFRAMES, Avatar
from engine.network.contract import Array, Runner, TensorSpec
from engine.person.landmarks import Landmarks
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline, PipelineConfig, Rendered
from engine.render.sampler import MAX_STEPS

Feed = Mapping[str, Array]

_POINTS = tuple(name for name in Landmarks.__dataclass_fields__ if name not in ("width", "height"))


def replay(avatar: Avatar, runner: Runner, frames: Iterable[Landmarks], steps: int = 1) -> Iterator[Rendered]:
    """The avatar's picture for each frame of its own person; it is reused: copy what must outlive the next.

    frames: canvas px. The runner stays the caller's. A frame without a face gives the last picture again.
    """
    config = PipelineConfig(steps=steps, live=False)
    pipeline = Pipeline(avatar, config, NoTracker(), StepRenderer(avatar, runner, steps), "replay")
    pipeline.drive_by(avatar.neutral)
    picture = np.zeros((avatar.size, avatar.size, 3), np.uint8)
    for index, landmarks in enumerate(frames):
        yield pipeline.process(picture, round(index / avatar.fps * 1e9), landmarks)


def poses(avatar: Avatar, between: int) -> list[Landmarks]:
    """The avatar's own key frames one after the other, with `between` poses on the way to each next one."""
    keys = [key.landmarks for key in avatar.keyframes[:LOSSLESS_KEYFRAMES]]
    shares = np.linspace(0.0, 1.0, between + 1, endpoint=False)
    ways = [_mixed(here, there, float(share)) for here, there in pairwise(keys) for share in shares]
    return [*ways, keys[-1]]


def feeds_of(avatar: Avatar, runner: Runner, frames: Sequence[Landmarks], every: int) -> list[Feed]:
    """Each `every`th feed of the network while it renders `frames` with as many steps as there can be.

    `every` must share no factor with MAX_STEPS: then all noise levels occur.
    """
    recorder = _Recorder(runner, every)
    for _ in replay(avatar, recorder, frames, steps=MAX_STEPS):
        pass
    return recorder.feeds


def _mixed(here: Landmarks, there: Landmarks, share: float) -> Landmarks:
    def mix(name: str) -> Any:
        return (1 - share) * getattr(here, name) + share * getattr(there, name)

    return Landmarks(here.width, here.height, **{name: mix(name) for name in _POINTS})


class NoTracker:
    """The landmarks are given, so nobody asks it."""

    def track(self, rgb: NDArray[np.uint8], time_ns: int) -> Landmarks:
        """Never called."""
        raise AssertionError("the landmarks of every frame are given")

    def look_less(self, share: float) -> None:
        """It looks for nothing."""

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to release."""


class _Recorder:
    """Runs another runner and keeps each `every`th feed."""

    def __init__(self, runner: Runner, every: int) -> None:
        self._runner = runner
        self._every = every
        self._runs = 0
        self.inputs: Mapping[str, TensorSpec] = runner.inputs
        self.outputs: Mapping[str, TensorSpec] = runner.outputs
        self.feeds: list[Feed] = []

    def run(self, feed: Feed) -> Mapping[str, Array]:
        """Passes the feed on; a copy may be kept."""
        if self._runs % self._every == 0:
            self.feeds.append({name: array.copy() for name, array in feed.items()})
        self._runs += 1
        return self._runner.run(feed)

    def close(self) -> None:
        """The runner stays its owner's."""
