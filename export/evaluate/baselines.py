"""What an avatar is measured against: the avatar and its baselines, all driven by the same landmarks.

Some baselines render (warped key frames alone, conditions of another moment, key frames without a picture),
one looks up the most alike training frame. Nothing is tracked here, and nothing is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np

from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.person.landmarks import Landmarks
from engine.person.motion import Neutral
from engine.pipeline import Pipeline, PipelineConfig, Rendered, build_pipeline
from engine.render.keyframes import KeyFrame, region_features
from engine.render.temporal_cache import CacheConfig
from export.evaluate.replay import NoTracker

BASELINES = ("nearest_frame", "previous_frame", "warp_only", "shuffled_conditions", "zero_prior")
FAR_FRAMES = 37  # shuffled conditions come from this far away in the clip
_LOOKED_AT = ("head", "mouth", "eye_left", "eye_right", "torso")


class Methods:
    """The avatar, by its number of steps, and each baseline that renders, as a pipeline of its own.

    Opens with `with`, which closes the pipelines.
    """

    def __init__(
        self,
        avatar: Avatar,
        driver: Sequence[Landmarks],
        neutral: Neutral,
        fps: float,
        runner: str,
        steps: Sequence[int] = (1,),
    ) -> None:
        """driver: landmarks of each frame, in px of their picture. neutral: the driver's. fps: Hz, likewise.

        Raises RunnerError when the runner asked for cannot start.
        """
        self._driver, self._fps = driver, fps
        self._blank = np.zeros((8, 8, 3), np.uint8)  # landmarks are given, so nobody looks at the camera's
        one = PipelineConfig(runner=runner, steps=steps[0])
        warp_only = PipelineConfig(runner="null", cache=CacheConfig(previous_output=False))
        self._pipelines = {
            **{str(count): _driven(avatar, replace(one, steps=count), neutral) for count in steps},
            "warp_only": _driven(avatar, warp_only, neutral),
            "shuffled_conditions": _driven(avatar, one, neutral),
            "zero_prior": _driven(with_grey_keyframes(avatar), one, neutral),
        }
        self.names = tuple(self._pipelines)
        self.runner_reason = self._pipelines[str(steps[0])].runner_reason

    def render(self, done: int, leave_out: Collection[str] = ()) -> dict[str, Rendered]:
        """What each method, less those left out, makes of frame `done`; call for each frame in order.

        The pictures, (S, S, 3) uint8 RGB, are the caller's to keep.
        """
        found = {}
        for method, pipeline in self._pipelines.items():
            if method in leave_out:
                continue
            far = (done + FAR_FRAMES) % len(self._driver)
            landmarks = self._driver[far if method == "shuffled_conditions" else done]
            rendered = pipeline.process(self._blank, round(done / self._fps * 1e9), landmarks)
            found[method] = replace(rendered, rgb=rendered.rgb.copy())
        return found

    def __enter__(self) -> Methods:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipeline in self._pipelines.values():
            pipeline.close()


def _driven(avatar: Avatar, config: PipelineConfig, neutral: Neutral) -> Pipeline:
    pipeline = build_pipeline(avatar, config, NoTracker())
    pipeline.drive_by(neutral)
    return pipeline


def with_grey_keyframes(avatar: Avatar) -> Avatar:
    """The avatar with mid-grey key frames: what the network makes of guidance alone."""
    grey = tuple(
        KeyFrame.of(np.full_like(key.rgb, 128), key.matte, key.landmarks) for key in avatar.keyframes
    )
    return replace(avatar, keyframes=grey, plate=np.full_like(avatar.plate, 128), bare_torso=None)


class NearestFrame:
    """The training frame whose landmarks are most alike: what a video index without a network would show."""

    def __init__(self, frames: Sequence[Landmarks], neutral: Neutral) -> None:
        """frames: of training, canvas px, one with a face at least. neutral: their person's."""
        self._neutral = neutral
        self._usable = np.flatnonzero([frame.face_confidence > 0 for frame in frames])
        self._table = np.stack([self._vector(frames[index]) for index in self._usable])

    def _vector(self, landmarks: Landmarks) -> FloatArray:
        features = region_features(landmarks, self._neutral)
        return np.concatenate([features[name] for name in _LOOKED_AT])

    def index(self, landmarks: Landmarks) -> int:
        """Which of the frames it is; landmarks: canvas px."""
        return int(self._usable[np.linalg.norm(self._table - self._vector(landmarks), axis=1).argmin()])
