"""One frame in, one frame out, at once: what the driver does in a frame shows in the picture made from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from numpy.typing import NDArray

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer, StampedCamera, without_colour_in_the_corner
from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.network.contract import NullRunner, denoiser_inputs, denoiser_outputs
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import Pipeline, PipelineConfig
from engine.tracking.face_finder import FaceFinder
from engine.tracking.hand_sides import HandFound, PoseFound
from engine.tracking.live_tracker import LiveTracker
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from tests.support.puppet import Pose
from tests.support.puppet_stage import DRIVER, FRAME_NS

REST, STEP = Pose(), Pose(yaw_deg=8.0, mouth=0.15)
CALM = 30  # camera pictures at rest: the calibration takes 0.7 s of them
HOLD = 8  # camera pictures that each pose lasts from then on
WANTED = 90  # pictures of the avatar
WAIT_S = 60.0
LUMA = {REST: 64, STEP: 192}  # what the camera's wall is lit with while the driver holds a pose
FACE = (slice(25, 80), slice(40, 90))  # of the puppet's 128 px


def pose_of(number: int) -> Pose:
    """What the driver does in the camera's picture of that number."""
    return STEP if number >= CALM and (number - CALM) // HOLD % 2 == 0 else REST


def seen_in(rgb: U8Image) -> Pose:
    """What a tracker finds in a camera's picture."""
    return STEP if rgb[rgb.shape[0] // 2 :].mean() > 128 else REST


class ByTheLight(FaceFinder):
    """Finds the face of the pose that the wall's light stands for, without looking for one."""

    def __init__(self) -> None:
        pass

    def find(self, rgb: U8Image) -> NDArray[np.float32] | None:
        return DRIVER.landmarks(seen_in(rgb)).face

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class NoPart:
    """A body or hands that are never seen."""

    def __init__(self, found: PoseFound | list[HandFound] | None) -> None:
        self._found = found

    def find(self, rgb: U8Image) -> PoseFound | list[HandFound] | None:
        return self._found

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class Unfiltered:
    """The landmarks of the pose that the wall's light stands for."""

    def track(self, rgb: U8Image, time_ns: int) -> Landmarks:
        return DRIVER.landmarks(seen_in(rgb))

    def look_less(self, share: float) -> None:
        pass

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


def pipeline_of(avatar: Avatar, tracker: LiveTracker | Unfiltered) -> Pipeline:
    runner = NullRunner(denoiser_inputs(avatar.size), denoiser_outputs(avatar.size))
    return Pipeline(avatar, PipelineConfig(), tracker, StepRenderer(avatar, runner), "made for a test")


def test_a_step_goes_through_the_live_tracker_in_its_own_frame(puppet_avatar: Avatar) -> None:
    """The filters that steady a still face do not make a quick one late: most of it is there at once."""
    tracker = LiveTracker(face=ByTheLight(), pose=NoPart(None), hands=NoPart([]))
    pipeline = pipeline_of(puppet_avatar, tracker)
    pipeline.drive_by(build_neutral([DRIVER.landmarks()]))
    poses = [*[REST] * 10, *[STEP] * 20]
    try:
        pictures = [
            pipeline.process(np.full((240, 240, 3), LUMA[pose], np.uint8), index * FRAME_NS).rgb.astype(int)
            for index, pose in enumerate(poses)
        ]
    finally:
        pipeline.close()
    whole = np.abs(pictures[29] - pictures[9])[FACE].mean()
    before = np.abs(pictures[9] - pictures[8])[FACE].mean()
    left = np.abs(pictures[29] - pictures[10])[FACE].mean()
    assert before < 0.02 * whole
    assert left < 0.5 * whole


@dataclass
class Kept:
    """The avatar's pictures as the caller decoded them."""

    pictures: list[U8Image] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, luma: U8Image) -> None:
        self.pictures.append(luma[FACE])
        if len(self.pictures) >= WANTED:
            self.enough.set()


async def test_a_step_is_in_the_streams_picture_of_the_same_number(puppet_avatar: Avatar) -> None:
    """Camera, codecs, queues, pipeline, codecs: each answer shows the pose of the very picture it answers."""

    def planes(elapsed_s: float) -> U8Image:
        lit = np.full((360, 320), 128, np.uint8)
        lit[:240] = LUMA[pose_of(round(elapsed_s * 20))]
        return without_colour_in_the_corner(lit)

    kept = Kept()
    served = replace(
        echo_avatar(lambda: pipeline_of(puppet_avatar, Unfiltered())), size_px=puppet_avatar.size
    )
    registry = SessionRegistry(Avatars([served]))
    await registry.warm()
    http = TestServer(LiveServer(registry, Access()).app())
    await http.start_server()
    peer = AiortcPeer(f"http://127.0.0.1:{http.port}", StampedCamera(planes, 20.0), on_picture=kept)
    try:
        await peer.connect()
        await asyncio.wait_for(kept.enough.wait(), WAIT_S)
    finally:
        await peer.close()
        await http.close()
    told = [
        (arrival.number, picture)
        for arrival, picture in zip(peer.arrivals, kept.pictures, strict=True)
        if arrival.number is not None and arrival.number >= CALM
    ]
    mean = {
        pose: np.mean([picture for number, picture in told if pose_of(number) is pose], axis=0)
        for pose in (REST, STEP)
    }
    assert np.abs(mean[STEP] - mean[REST]).mean() > 1.0
    for number, picture in told:
        nearest = min(mean, key=lambda pose: float(np.abs(picture - mean[pose]).mean()))
        assert nearest is pose_of(number), f"picture {number} shows another frame's pose"


@pytest.mark.parametrize(("number", "pose"), [(0, REST), (29, REST), (30, STEP), (37, STEP), (38, REST)])
def test_the_script(number: int, pose: Pose) -> None:
    assert pose_of(number) is pose
