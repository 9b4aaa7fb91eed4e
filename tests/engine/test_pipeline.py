"""The pipeline on a puppet: one frame in, one frame out, at once; and when it keeps the last picture."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import U8Image
from engine.avatar.avatar import Avatar
from engine.errors import FootageError, RunnerError, SettingsError
from engine.media.video import read_frames
from engine.person.face_measures import yaw_deg
from engine.person.geometry import euler_deg_to_rotation
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.person.motion import Motion, Neutral, motion_of
from engine.person.retarget import Retargeter
from engine.picture.step_renderer import StepRenderer
from engine.pipeline import PipelineConfig, build_pipeline
from engine.stages import STAGES
from tests.support.places import PRESENTER
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import DRIVER, FRAME_NS, Make, no_gate
from tests.support.rest import resting

SIZE = 128
PUPPET = Puppet(SIZE)


# One frame in, one frame out


def test_every_frame_gives_a_picture(make: Make) -> None:
    stage = make(lively(20))
    for index in range(20):
        rendered = stage.next()
        assert rendered.rgb.shape == (SIZE, SIZE, 3)
        assert rendered.rgb.dtype == np.uint8
        assert len(stage.tracker.seen) == index + 1
    assert rendered.face_found
    assert set(rendered.stage_ms) == set(STAGES)
    assert all(value >= 0 for value in rendered.stage_ms.values())
    assert rendered.target is not None
    assert (rendered.target.width, rendered.landmarks.width) == (SIZE, 240)


def test_there_is_no_structural_delay(make: Make) -> None:
    """A step of the driver in frame 8 is in picture 8, whole; what comes later does not change it."""
    step = Pose(yaw_deg=8.0, mouth=0.15)
    stage = make([*[Pose()] * 8, *[step] * 4], no_gate()).calibrated()
    pictures = [stage.next() for _ in range(12)]
    assert np.abs(pictures[7].rgb.astype(int) - pictures[6].rgb).mean() < 0.5
    moved = np.abs(pictures[8].rgb.astype(int) - pictures[7].rgb)
    settled = np.abs(pictures[8].rgb.astype(int) - pictures[11].rgb)
    assert moved.mean() > 1.0
    assert settled.mean() < 0.1 * moved.mean()


def test_the_picture_shows_what_the_driver_does(make: Make) -> None:
    stage = make([Pose(), Pose(yaw_deg=8.0, mouth=0.15)], no_gate()).calibrated()
    rest, moved = stage.next(), stage.next()
    assert rest.target is not None
    assert moved.target is not None
    shown = moved.rgb.astype(int)
    face = (slice(25, 80), slice(40, 90))
    error = np.abs(shown - PUPPET.picture(moved.target)[0])[face].mean()
    standing_still = np.abs(shown - PUPPET.picture(rest.target)[0])[face].mean()
    assert error < 0.7 * standing_still


def test_away_from_the_person_the_background_is_the_avatars(make: Make, puppet_avatar: Avatar) -> None:
    stage = make([Pose(x=0.1)]).calibrated()
    rendered = stage.next()
    assert np.array_equal(rendered.rgb[:, :8], puppet_avatar.plate[:, :8])
    assert np.array_equal(rendered.rgb[:, -8:], puppet_avatar.plate[:, -8:])


def test_landmarks_at_hand_are_not_tracked_again(make: Make) -> None:
    stage = make([Pose()]).calibrated()
    known = DRIVER.landmarks(Pose(yaw_deg=5))
    rendered = stage.pipeline.process(np.zeros((240, 240, 3), np.uint8), 0, landmarks=known)
    assert not stage.tracker.seen
    assert rendered.landmarks is known


def test_two_pipelines_give_the_same_pictures(make: Make) -> None:
    one, other = make(lively(10)), make(lively(10))
    for _ in range(10):
        assert np.array_equal(one.next().rgb, other.next().rgb)


def test_hands_follow_the_drivers_own_sides(make: Make) -> None:
    """The footage shows the right hand alone: the driver's right hand is drawn, the left stays hidden."""
    stage = make([Pose(hands=((1.4, 1.9), (-1.4, 1.9)))], no_gate())
    stage.pipeline.calibrate_from([DRIVER.landmarks(Pose(hands=((1.4, 1.9), (-1.4, 1.9))))])
    target = stage.next().target
    assert target is not None
    assert target.hand_confidence[RIGHT] == 1.0
    assert target.hand_confidence[LEFT] == 0.0


# Calibration and mirror


def test_calibration_lasts_seven_tenths_of_a_second(make: Make) -> None:
    stage = make(lively(40))
    calibrating = [stage.next().calibrating for _ in range(40)]
    assert calibrating == [index * FRAME_NS < 700_000_000 for index in range(40)]


def test_calibration_waits_for_a_face(make: Make) -> None:
    stage = make([Pose()] * 40)
    stage.tracker.script[:10] = [Landmarks(240, 240)] * 10
    calibrating = [stage.next().calibrating for _ in range(40)]
    assert calibrating == [(index - 10) * FRAME_NS < 700_000_000 for index in range(40)]


def test_calibration_takes_the_held_pose_as_rest(make: Make) -> None:
    """The driver sits turned by 9 degrees; the avatar looks straight once it knows."""
    stage = make([*[Pose(yaw_deg=9)] * 20, Pose(yaw_deg=9, x=0.02)], no_gate())
    turned = [stage.next() for _ in range(21)][-1]
    straight = make([Pose()], no_gate()).calibrated().next()
    assert turned.target is not None
    assert straight.target is not None
    assert np.abs(turned.target.face[:, :2] - straight.target.face[:, :2]).max() < 1.5


def test_calibrating_again(make: Make) -> None:
    stage = make(lively(60))
    for _ in range(20):
        stage.next()
    stage.pipeline.calibrate()
    assert [stage.next().calibrating for _ in range(20)] == [index < 18 for index in range(20)]


def test_calibrating_from_frames_at_hand(make: Make) -> None:
    stage = make([Pose()])
    with pytest.raises(FootageError, match="no face"):
        stage.pipeline.calibrate_from([Landmarks(240, 240)])
    stage.pipeline.calibrate_from([DRIVER.landmarks(pose) for pose in lively(30)])
    assert not stage.next().calibrating


def test_another_person_is_calibrated_anew(make: Make) -> None:
    stage = make([Pose()] * 40).calibrated()
    assert not stage.next().calibrating
    stage.tracker.script[1:] = [replace(frame, person=1) for frame in stage.tracker.script[1:]]
    assert [stage.next().calibrating for _ in range(20)] == [index < 18 for index in range(20)]


def test_a_frame_of_another_size_is_brought_to_the_first(make: Make) -> None:
    """A sender that saves bits sends half the picture's lines: nobody moves."""
    stage = make([Pose()] * 4).calibrated()
    stage.next()
    small = np.zeros((120, 120, 3), np.uint8)
    small[:, 60:] = 200
    stage.pipeline.process(small, stage.frames * FRAME_NS)
    seen = stage.tracker.seen[-1]
    assert seen.shape == (240, 240, 3)
    assert not seen[:, :118].any()
    assert (seen[2:-2, 122:-2] == 200).all()
    stage.pipeline.reset()
    stage.pipeline.process(small, 0)
    assert stage.tracker.seen[-1].shape == small.shape


def test_the_mirror_flips_the_picture_for_the_tracker(make: Make) -> None:
    stage = make([Pose()] * 4).calibrated()
    stage.next()
    plain = stage.tracker.seen[-1]
    stage.pipeline.set_mirror(True)
    assert stage.tracker.resets == 1
    stage.frames = 0  # the same picture again
    assert stage.next().calibrating
    assert np.array_equal(stage.tracker.seen[-1], plain[:, ::-1])
    assert stage.tracker.seen[-1].flags["C_CONTIGUOUS"]
    stage.pipeline.set_mirror(True)
    assert stage.tracker.resets == 1  # nothing changed
    stage.pipeline.set_mirror(False)
    stage.frames = 0
    stage.next()
    assert np.array_equal(stage.tracker.seen[-1], plain)


# Nothing new to show


def test_a_lost_face_holds_the_picture(make: Make) -> None:
    stage = make(lively(12)).calibrated()
    stage.tracker.script[5:8] = [Landmarks(240, 240)] * 3
    rendered = [stage.next() for _ in range(12)]
    assert [one.face_found for one in rendered] == [*[True] * 5, *[False] * 3, *[True] * 4]
    for lost in rendered[5:8]:
        assert lost.reused
        assert np.array_equal(lost.rgb, rendered[4].rgb)
        assert "denoise" not in lost.stage_ms
    assert not rendered[8].reused


def test_before_any_face_there_is_a_picture_of_the_avatar(make: Make, puppet_avatar: Avatar) -> None:
    stage = make([Pose()])
    stage.tracker.script = [Landmarks(240, 240)]
    rendered = stage.next()
    assert not rendered.face_found
    assert rendered.calibrating
    assert rendered.target is None
    assert np.array_equal(rendered.rgb, puppet_avatar.keyframes[0].rgb)


def test_a_still_pose_is_sent_again_and_refreshed(make: Make) -> None:
    stage = make([Pose()] * 24).calibrated()
    reused = [stage.next().reused for _ in range(23)]
    assert reused == [False, *[True] * 10, False, *[True] * 10, False]


def test_a_moving_pose_is_never_sent_again(make: Make) -> None:
    stage = make([Pose(yaw_deg=float(index % 8)) for index in range(20)]).calibrated()
    assert not any(stage.next().reused for _ in range(20))


def test_without_the_gate_nothing_is_sent_again(make: Make) -> None:
    stage = make([Pose()] * 5, no_gate()).calibrated()
    assert not any(stage.next().reused for _ in range(5))


def test_reset_is_as_new(make: Make, puppet_avatar: Avatar) -> None:
    stage = make(lively(30)).calibrated()
    for _ in range(10):
        stage.next()
    stage.pipeline.set_mirror(True)
    stage.pipeline.reset()
    assert stage.tracker.resets == 2
    stage.tracker.script = [Landmarks(240, 240)]
    lost = stage.next()
    assert lost.calibrating
    assert lost.target is None
    assert np.array_equal(lost.rgb, puppet_avatar.keyframes[0].rgb)  # nothing of the last driver is left
    assert (stage.tracker.seen[-1][:, :120] == stage.tracker.seen[-1][0, 0]).all()  # no longer mirrored
    stage.tracker.script = [DRIVER.landmarks()]
    assert np.array_equal(stage.next().rgb, make([Pose()]).next().rgb)


def test_close_closes_tracker_and_runner(make: Make) -> None:
    stage = make([Pose()])
    stage.pipeline.close()
    assert stage.tracker.closes == 1
    with pytest.raises(RunnerError, match="closed"):
        stage.next()


# Motion from elsewhere


def test_motion_of_a_frame_is_drawn_as_the_frame_is(make: Make) -> None:
    seen, told = make([Pose(yaw_deg=7, mouth=0.1)]).calibrated(), make([]).calibrated()
    motion = motion_of(seen.tracker.script[0], told.pipeline.driver)
    rendered = told.pipeline.process_motion(motion, 0)
    assert np.array_equal(rendered.rgb, seen.next().rgb)
    assert set(rendered.stage_ms) == set(STAGES) - {"track"}


class Turned:
    """Turns the head of whatever drives; remembers when."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        self.times_ns.append(time_ns)
        turn = euler_deg_to_rotation(np.array([6.0, 0.0, 0.0], np.float32))
        return replace(motion, rotation=turn @ motion.rotation)


def test_an_adjustment_changes_what_the_camera_and_others_drive(make: Make) -> None:
    stage, turned = make([Pose()] * 4, no_gate()).calibrated(), Turned()
    before = stage.next()
    assert before.target is not None
    stage.pipeline.adjust([turned])
    by_camera = stage.next().target
    rest = resting(stage.pipeline.driver)
    by_motion = stage.pipeline.process_motion(rest, 2 * FRAME_NS).target
    assert turned.times_ns == [FRAME_NS, 2 * FRAME_NS]
    for target in (by_camera, by_motion):
        assert target is not None
        assert yaw_deg(target.face) - yaw_deg(before.target.face) > 4.0
    stage.pipeline.adjust([])
    assert np.abs(stage.next().rgb.astype(int) - before.rgb).mean() < 0.5


class Nodding:
    """Says what the camera saw, and nods where there was nothing to see."""

    def __init__(self) -> None:
        self.cameras: list[Motion | None] = []
        self.looked: list[int] = []  # widths of the pictures

    def look(self, rgb: U8Image, landmarks: Landmarks, time_ns: int) -> None:
        assert landmarks.face_confidence == 1.0
        self.looked.append(rgb.shape[1])

    def motion(self, camera: Motion | None, neutral: Neutral) -> Motion | None:
        self.cameras.append(camera)
        nod = euler_deg_to_rotation(np.array([0.0, 3.0 * (-1) ** len(self.cameras), 0.0], np.float32))
        return camera or replace(resting(neutral), rotation=nod @ neutral.rotation)


def test_a_companion_drives_where_no_face_is_seen(make: Make) -> None:
    stage, companion = make(lively(6)).calibrated(), Nodding()
    stage.tracker.script[3:5] = [Landmarks(240, 240)] * 2
    stage.pipeline.accompany(companion)
    rendered = [stage.next() for _ in range(6)]
    assert [camera is None for camera in companion.cameras] == [False] * 3 + [True] * 2 + [False]
    assert companion.looked == [240] * 4
    assert not any(one.reused for one in rendered[3:5])
    alone = make(lively(6)).calibrated()
    assert np.array_equal(rendered[2].rgb, [alone.next() for _ in range(3)][-1].rgb)


def test_a_companion_drives_without_any_camera(make: Make) -> None:
    stage = make([])
    stage.pipeline.accompany(Nodding())
    pictures = [stage.pipeline.process(None, index * FRAME_NS) for index in range(2)]
    assert not any(one.face_found or one.reused for one in pictures)
    assert not stage.tracker.seen
    stage.pipeline.reset()
    assert stage.pipeline.process(None, 0).reused  # it has left


# Settings


@pytest.mark.parametrize("steps", [0, 9])
def test_steps_out_of_range_are_refused(steps: int) -> None:
    with pytest.raises(SettingsError, match=f"steps={steps}"):
        PipelineConfig(steps=steps)


def test_a_runner_that_cannot_start_says_so(puppet_avatar: Avatar) -> None:
    with pytest.raises(RunnerError, match="onnx-cpu wanted"):
        build_pipeline(puppet_avatar, PipelineConfig(runner="onnx-cpu", live=False))


# Memory


def test_nothing_grows_over_two_hundred_frames(make: Make) -> None:
    stage = make([]).calibrated()
    script = [DRIVER.landmarks(pose) for pose in lively(20, hands=True)]
    picture = np.zeros((240, 240, 3), np.uint8)
    tracemalloc.start()
    try:
        for index in range(20):
            stage.pipeline.process(picture, index * FRAME_NS, landmarks=script[index])
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for index in range(20, 220):
            stage.pipeline.process(picture, index * FRAME_NS, landmarks=script[index % 20])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < SIZE * SIZE * 3  # bytes: not one picture more


def test_the_picture_buffer_is_reused(make: Make) -> None:
    stage = make(lively(3)).calibrated()
    picture = np.zeros((240, 240, 3), np.uint8)
    first = stage.pipeline.process(picture, 0)
    assert stage.pipeline.process(picture, FRAME_NS).rgb is first.rgb


# Real parts


def test_with_a_real_tracker(puppet_avatar: Avatar) -> None:
    """Every frame of the presenter drives the puppet."""
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
    pipeline = build_pipeline(puppet_avatar, PipelineConfig(runner="null", live=False))
    try:
        assert "null" in pipeline.runner_reason
        found = []
        for frame in read_frames(PRESENTER):
            rendered = pipeline.process(frame.rgb, int(frame.time_s * 1e9))
            found.append(rendered.face_found)
            if frame.index == 14:
                break
        assert np.mean(found) > 0.9
        assert not rendered.calibrating
        target = rendered.target
        assert target is not None
        assert target.pose[11, 0] > target.pose[12, 0]  # the left shoulder is at the right
    finally:
        pipeline.close()
    pipeline.close()  # does nothing


def test_presenters_share_the_avatars_pictures(puppet_avatar: Avatar, make: Make) -> None:
    """Each pipeline once copied them all: 134 MB a presenter at 512 px."""
    renderers = [make([Pose()]).pipeline._renderer for _ in range(2)]
    banks = [one._prior._bank for one in renderers if isinstance(one, StepRenderer)]
    assert len(banks) == 2
    for mine, theirs, stored in zip(*banks, puppet_avatar.keyframes, strict=True):
        assert mine.rgba is theirs.rgba is stored.rgba
