"""One frame in, one frame out: track, retarget, draw.

`build_pipeline` is the visible start-up list. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.effort import USUAL, Effort
from engine.expression.repertoire import repertoire_for
from engine.media.frame_size import sized_alike
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import Motion, Neutral, build_neutral, motion_of
from engine.person.retarget import Retargeter
from engine.picture.choice import choose_renderer
from engine.picture.graph_files import GraphOf
from engine.picture.renderer import Renderer
from engine.render.background import Background
from engine.render.frame import SQUARE, checked_frame
from engine.render.sampler import check_steps
from engine.render.temporal_cache import CacheConfig
from engine.stages import Clock, StageClock

if TYPE_CHECKING:
    from engine.tracking.tracker import Tracker


CALIBRATION_NS = 700_000_000  # of frames with a face; people hold still that long


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """How to run an avatar."""

    runner: str = "auto"  # see engine.runners.choice
    steps: int = 1  # denoising steps of a steady frame, 1..8; a fresh start takes one more
    threads: int = 0  # of the CPU for the network, 0 = by a short trial
    frame: str = SQUARE  # of the pictures, see engine.render.frame.checked_frame
    live: bool = True  # slow trackers in threads of their own; False looks at every part on every frame
    cache: CacheConfig = field(default_factory=CacheConfig)
    renderer: str = "auto"  # see engine.picture.choice

    def __post_init__(self) -> None:
        check_steps(self.steps)
        checked_frame(self.frame)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One frame of the avatar."""

    rgb: U8Image  # (H, W, 3) RGB of frame_px; the buffer is reused: copy what must outlive the next call
    face_found: bool
    calibrating: bool
    reused: bool  # nothing moved, or nobody drives: the last picture again
    stage_ms: dict[str, float]  # by name of engine.stages.STAGES; a stage that did not run is missing
    landmarks: Landmarks  # the driver's, in px of their frame
    target: Landmarks | None  # the avatar's, in canvas px; None while there has been no face


class Companion(Protocol):
    """What drives beside the camera, or in its place."""

    def look(self, rgb: U8Image, landmarks: Landmarks, time_ns: int) -> None:
        """What the camera shows, (H, W, 3) uint8 RGB, and who was found there; before `motion`, where any."""

    def motion(self, camera: Motion | None, neutral: Neutral) -> Motion | None:
        """What the avatar does now; None: nothing new.

        camera: what the camera's person does, None where no face is seen. Both
        are measured against `neutral`.
        """


class Adjustment(Protocol):
    """What is changed in the motion of whatever drives, before it is drawn."""

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        """The motion to draw instead. retargeter: knows both neutrals, and how the avatar will show a motion.

        Called once for every picture, in order of time.
        """


def build_pipeline(
    avatar: Avatar, config: PipelineConfig | None = None, tracker: Tracker | None = None
) -> Pipeline:
    """Loads, chooses, allocates, warms up. Raises RunnerError when the runner asked for cannot start.

    tracker: instead of the tracker that LiteRT runs, which is then not needed.
    """
    config = config or PipelineConfig()
    graph = GraphOf(avatar, config.frame, config.steps)
    renderer, reason = choose_renderer(
        avatar, config.renderer, config.runner, graph, config.threads, config.cache
    )
    if tracker is None:
        tracker = _own_tracker(config.live)
    pipeline = Pipeline(avatar, config, tracker, renderer, reason)
    pipeline.warm_up()
    return pipeline


def _own_tracker(live: bool) -> Tracker:
    from engine.tracking.live_tracker import LiveTracker
    from engine.tracking.tracker import EveryFrameTracker

    return LiveTracker() if live else EveryFrameTracker(filtered=True)


class Pipeline:
    """Drives one avatar. Not thread-safe: one caller. clock: times the stages."""

    def __init__(
        self,
        avatar: Avatar,
        config: PipelineConfig,
        tracker: Tracker,
        renderer: Renderer,
        runner_reason: str,
        clock: Clock = perf_counter,
    ) -> None:
        self.size = avatar.size
        self.runner_reason = runner_reason
        self._config = config
        self._tracker = tracker
        self._renderer = renderer
        self._now = clock
        filmed = [frame.landmarks for frame in avatar.keyframes]
        self._retargeter = Retargeter(avatar.neutral, avatar.support, avatar.torso, avatar.size, filmed)
        self.own_voice = avatar.voice  # how the avatar's person speaks and rests
        self._target: Landmarks | None = None
        renderer.set_frame(config.frame)
        self._rest_landmarks = avatar.keyframes[0].landmarks
        self._mirror = False
        self._calibration: list[tuple[int, Landmarks]] = []
        self._calibrating = True
        self._person = 0  # whom the calibration is of, see Landmarks.person
        self._companion: Companion | None = None
        self._adjustments: tuple[Adjustment, ...] = ()
        self._camera_px: tuple[int, int] | None = None  # width, height of the first frame

    @property
    def frame_px(self) -> tuple[int, int]:
        """(width, height) of its pictures."""
        return self._renderer.frame_px

    def warm_up(self) -> None:
        """Draws twice, the second time with a last picture, so that the first real frame is not the slow one.

        The first time on a machine, what draws is compiled: some seconds. Emotions are learnt, too.
        """
        repertoire_for(self._retargeter)
        for _ in range(2):
            self._renderer.draw(self._rest_landmarks, StageClock(self._now))
        self._rest()

    def process(self, rgb: U8Image | None, time_ns: int, landmarks: Landmarks | None = None) -> Rendered:
        """Renders the avatar for one frame of the driver.

        rgb: (H, W, 3) uint8 RGB, not mirrored; it is brought to the size of the first since the last reset.
        None: there is no camera. time_ns only grows, except where the camera's stream begins anew. landmarks:
        the driver's, where they are known already; the frame is then not tracked.
        """
        clock = StageClock(self._now)
        if rgb is None:
            landmarks = Landmarks(self.size, self.size)
        elif landmarks is None:
            self._camera_px = self._camera_px or (rgb.shape[1], rgb.shape[0])
            picture = sized_alike(rgb, *self._camera_px)  # the neutral is in px
            picture = np.ascontiguousarray(picture[:, ::-1]) if self._mirror else picture
            landmarks = self._tracker.track(picture, time_ns)
            if self._companion is not None and landmarks.face_confidence > VISIBLE:
                self._companion.look(picture, landmarks, time_ns)
        clock.end("track")
        motion = self._camera_motion(landmarks, time_ns)
        if self._companion is not None:
            motion = self._companion.motion(motion, self.driver)
        if motion is None:
            return self._again(landmarks, clock)
        return self._moved(motion, time_ns, landmarks, clock)

    def process_motion(self, motion: Motion, time_ns: int) -> Rendered:
        """Renders the avatar for motion from elsewhere, measured against `driver`. time_ns only grows."""
        return self._moved(motion, time_ns, Landmarks(self.size, self.size), StageClock(self._now))

    @property
    def driver(self) -> Neutral:
        """What motion is measured against: the driver at rest; the avatar itself while there was none."""
        return self._retargeter.driver

    @property
    def calibrating(self) -> bool:
        """Whether the driver at rest is still looked for."""
        return self._calibrating

    def accompany(self, companion: Companion | None) -> None:
        """Lets this have its say in every frame from the next on; None: the camera drives alone."""
        self._companion = companion

    def adjust(self, adjustments: Sequence[Adjustment]) -> None:
        """Changes all motion by these, one after another, from the next frame on; none: as it is driven."""
        self._adjustments = tuple(adjustments)

    def calibrate(self) -> None:
        """Takes the driver's neutral anew from the next 0.7 s with a face: look at the camera, mouth shut."""
        self._calibration.clear()
        self._calibrating = True

    def calibrate_from(self, frames: Sequence[Landmarks]) -> None:
        """Takes the driver's neutral from frames at hand. Raises FootageError when none has a face."""
        self.drive_by(build_neutral(frames))

    def drive_by(self, neutral: Neutral) -> None:
        """Sets the driver's neutral."""
        self._retargeter.driver = neutral
        self._calibrating = False

    def set_mirror(self, on: bool) -> None:
        """The avatar moves as in a mirror: the driver's left is its right."""
        if on != self._mirror:
            self._mirror = on
            self._tracker.reset()
            self.calibrate()

    def set_background(self, background: Background) -> None:
        """Shows the person before something else from the next picture on, also where nothing moves."""
        self._renderer.set_background(background)

    def set_frame(self, frame: str) -> None:
        """Pictures of this frame from the next on. Raises SettingsError, see `checked_frame`."""
        self._renderer.set_frame(frame)

    def set_effort(self, effort: Effort) -> None:
        """Does so much for each picture from the next on, until the next reset."""
        self._tracker.look_less(effort.look_share)
        self._renderer.paint_every(effort.paint_every)

    def reset(self) -> None:
        """As new: for the next driver."""
        self._tracker.reset()
        self.set_effort(USUAL)
        self._companion = None
        self._adjustments = ()
        self._retargeter.driver = self._retargeter.avatar
        self._mirror = False
        self._camera_px = None
        self._rest()
        self._renderer.set_background(Background.original())
        self.set_frame(self._config.frame)
        self.calibrate()

    def close(self) -> None:
        """Releases tracker and runner; a second call does nothing."""
        self._tracker.close()
        self._renderer.close()

    def _camera_motion(self, landmarks: Landmarks, time_ns: int) -> Motion | None:
        """What the camera's person does; None without a face."""
        if landmarks.face_confidence <= 0:
            return None
        if landmarks.person != self._person:
            self._person = landmarks.person
            self.calibrate()
        if self._calibrating:
            self._calibrate_with(landmarks, time_ns)
        return motion_of(landmarks, self.driver)

    def _moved(self, motion: Motion, time_ns: int, landmarks: Landmarks, clock: StageClock) -> Rendered:
        """Draws what the motion is on the avatar, unless that hardly differs from the last picture."""
        for adjustment in self._adjustments:
            motion = adjustment.adjusted(motion, self._retargeter, time_ns)
        target = self._retargeter.target(motion)
        clock.end("retarget")
        if self._renderer.may_resend(target):
            return self._again(landmarks, clock)
        self._renderer.draw(target, clock)
        self._target = target
        return self._rendered(landmarks, clock, reused=False)

    def _calibrate_with(self, landmarks: Landmarks, time_ns: int) -> None:
        """Collects frames; until there are enough the first serves, so that the picture starts at once."""
        self._calibration.append((time_ns, landmarks))
        lasted_ns = time_ns - self._calibration[0][0]
        if len(self._calibration) == 1 or lasted_ns >= CALIBRATION_NS:
            self._retargeter.driver = build_neutral([frame for _, frame in self._calibration])
        if lasted_ns >= CALIBRATION_NS:
            self._calibrating = False
            self._calibration.clear()

    def _rest(self) -> None:
        """Shows the first key frame, with nothing to go on from."""
        self._renderer.rest()
        self._target = None

    def _again(self, landmarks: Landmarks, clock: StageClock) -> Rendered:
        return self._rendered(landmarks, clock, reused=True)

    def _rendered(self, landmarks: Landmarks, clock: StageClock, reused: bool) -> Rendered:
        found = landmarks.face_confidence > VISIBLE
        return Rendered(
            self._renderer.picture, found, self._calibrating, reused, clock.stage_ms, landmarks, self._target
        )
