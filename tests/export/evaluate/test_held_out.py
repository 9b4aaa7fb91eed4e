"""The held-out report on a puppet's footage, and how reports read in a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from engine.avatar.avatar import Avatar
from engine.person.landmarks import Landmarks
from engine.render.keyframes import KeyFrame
from export.evaluate import held_out as held_out_module
from export.evaluate.baselines import with_grey_keyframes
from export.evaluate.faithfulness import MOTION_FIGURES, compare_hands
from export.evaluate.held_out import (
    REGIONS,
    HeldOut,
    fine_power,
    measure_held_out,
    psnr_db,
    region_boxes,
    ssim,
)
from export.evaluate.report_text import held_out_motion_table, held_out_table, motion_table
from export.footage.prepared import Prepared
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import Script

SIZE = 128
BASELINES = {"nearest_frame", "previous_frame", "warp_only", "shuffled_conditions", "zero_prior"}


def measured(
    avatar: Avatar,
    prepared: Prepared,
    of_truth: Sequence[Landmarks] | None = None,
    of_output: Sequence[Landmarks] | None = None,
) -> HeldOut:
    """With the null runner, which shows the prior as it is; without scripts, as if there were no tracker."""
    scripts = iter([of_truth, of_output])

    def script() -> Script | None:
        frames = next(scripts)
        return None if frames is None else Script(frames)

    return measure_held_out(avatar, prepared, runner="null", make_tracker=script)


@pytest.fixture(scope="module")
def found(puppet_avatar: Avatar, prepared: Prepared) -> HeldOut:
    return measured(puppet_avatar, prepared)


@pytest.fixture(scope="module")
def report(found: HeldOut) -> dict[str, Any]:
    return found.report


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of many steps cost most, and are looked at elsewhere."""
    monkeypatch.setattr(held_out_module, "STEP_FRAMES", 2)


def test_psnr_of_known_errors() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr_db(black, black + np.uint8(1)) == pytest.approx(20 * math.log10(255), abs=1e-3)
    assert psnr_db(black, np.full_like(black, 255)) == pytest.approx(0.0, abs=1e-3)
    assert psnr_db(black, black) > 80


def test_ssim_is_one_for_equals_and_falls_with_blur() -> None:
    picture, _ = Puppet(SIZE).picture(Puppet(SIZE).landmarks())
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-4)
    blurred = [ssim(picture, np.asarray(cv2.GaussianBlur(picture, (0, 0), s), np.uint8)) for s in (0.7, 2.0)]
    assert 1.0 > blurred[0] > blurred[1]


def test_the_report_has_the_promised_names(report: dict[str, Any], prepared: Prepared) -> None:
    assert set(report) >= {"held_out", "baselines", "steps", "sharpness"}
    assert list(report["steps"]) == ["1", "2", "4", "8"]
    assert set(report["held_out"]["psnr_db"]) == set(REGIONS)
    assert set(REGIONS) == {"frame", "face", "mouth", "hands", "torso"}
    assert set(report["baselines"]) == BASELINES
    for values in (*report["baselines"].values(), *report["steps"].values()):
        assert set(values) == set(REGIONS)
    assert report["held_out"]["frames"] == len(prepared.rgb) - prepared.tail_start
    assert 0 < report["held_out"]["ssim"] <= 1
    assert set(report["held_out"]) >= set(MOTION_FIGURES)
    assert set(report["flip"]) == {"1", "warp_only", "nearest_frame"}
    for values in report["flip"].values():
        assert set(values) == set(REGIONS)
        assert all(0 < value < 1 for value in values.values())
    assert json.loads(json.dumps(report)) == report


def test_fine_power_falls_with_blur_and_is_zero_for_a_plain_picture() -> None:
    picture, _ = Puppet(SIZE).picture(Puppet(SIZE).landmarks())
    powers = [fine_power(np.asarray(cv2.GaussianBlur(picture, (0, 0), s), np.uint8)) for s in (0.4, 0.8, 1.6)]
    assert fine_power(picture) > powers[0] > powers[1] > powers[2]
    assert fine_power(np.full_like(picture, 90)) < 1e-3 * powers[2]


def test_baselines_stand_in_the_right_order(report: dict[str, Any]) -> None:
    frame = {name: values["frame"] for name, values in report["baselines"].items()}
    assert frame["zero_prior"] < frame["shuffled_conditions"] < frame["warp_only"]
    assert frame["previous_frame"] > frame["shuffled_conditions"]
    # With the null runner the avatar is its warped key frames.
    assert report["held_out"]["psnr_db"]["frame"] == pytest.approx(frame["warp_only"], abs=0.5)
    assert all(15 < value < 60 for name, value in frame.items() if name != "zero_prior")


def test_regions_not_shown_are_none(puppet_avatar: Avatar, prepared: Prepared) -> None:
    handless = [replace(frame, hand_confidence=np.zeros(2, np.float32)) for frame in prepared.landmarks]
    report = measured(puppet_avatar, replace(prepared, landmarks=handless)).report
    assert report["held_out"]["psnr_db"]["hands"] is None
    assert all(values["hands"] is None for values in report["baselines"].values())
    assert report["held_out"]["psnr_db"]["mouth"] is not None
    assert report["held_out"]["sharpness"]["hands"] is None
    assert all(line.split()[-2] == "-" for line in held_out_table(report).splitlines()[1:])


def test_faceless_frames_are_skipped_and_progress_ends_at_all(
    puppet_avatar: Avatar, prepared: Prepared
) -> None:
    landmarks = list(prepared.landmarks)
    landmarks[62:72] = [Landmarks(SIZE, SIZE)] * 10
    heard: list[tuple[int, int]] = []
    report = measure_held_out(
        puppet_avatar,
        replace(prepared, landmarks=landmarks),
        runner="null",
        progress=lambda done, total: heard.append((done, total)),
        make_tracker=lambda: None,
    ).report
    assert report["held_out"]["frames"] == 5
    assert heard == [(index, 5) for index in range(1, 6)]


def test_boxes_lie_where_the_parts_are() -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), (-1.4, 1.9))))
    boxes = region_boxes(landmarks, SIZE)
    assert boxes["frame"] == [(0, 0, SIZE, SIZE)]
    assert len(boxes["hands"]) == 2
    for parts in boxes.values():
        for x0, y0, x1, y1 in parts:
            assert 0 <= x0 < x1 <= SIZE
            assert 0 <= y0 < y1 <= SIZE
    (face,), (mouth,), (torso,) = boxes["face"], boxes["mouth"], boxes["torso"]
    assert face[0] < mouth[0] < mouth[2] < face[2]
    assert face[1] < mouth[1] < mouth[3] < face[3]
    assert torso[1] > mouth[3]
    assert torso[3] == SIZE


@pytest.mark.parametrize("shift", [-300.0, 300.0])
def test_parts_off_the_canvas_have_no_box(shift: float) -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), None)))
    boxes = region_boxes(landmarks.transformed(1.0, shift, shift, SIZE, SIZE), SIZE)
    assert {name: parts for name, parts in boxes.items() if parts} == {"frame": [(0, 0, SIZE, SIZE)]}


def test_grey_key_frames_keep_their_shape(puppet_avatar: Avatar) -> None:
    grey = with_grey_keyframes(puppet_avatar)
    assert len(grey.keyframes) == len(puppet_avatar.keyframes)
    assert all((key.rgb == 128).all() for key in grey.keyframes)
    assert np.array_equal(grey.keyframes[0].matte, puppet_avatar.keyframes[0].matte)
    assert not (puppet_avatar.keyframes[0].rgb == 128).all()


def test_tables_line_up(report: dict[str, Any]) -> None:
    lines = held_out_table(report).splitlines()
    assert len(lines) == 14
    assert len({len(line) for line in lines}) == 1
    assert f"{report['held_out']['psnr_db']['frame']:.2f}" in lines[1]
    earlier = {**report, "steps": {steps: report["steps"][steps] for steps in ("1", "2")}}
    del earlier["steps_frames"]
    assert len(held_out_table(earlier).splitlines()) == 13
    assert held_out_table({**report, "steps_frames": 4}).splitlines()[-1] == "* of the first 4 frames"
    motion = {
        "motion": {"yaw": {"correlation": 0.98, "gain": 1.02}, "wrists": None},
        "motion_shuffled": {"yaw": {"correlation": 0.01, "gain": 0.0}, "wrists": None},
    }
    lines = motion_table(motion).splitlines()
    assert lines[1].split() == ["yaw", "0.980", "1.02", "0.010"]
    assert lines[2].split() == ["wrists", "-", "-", "-"]
    assert len({len(line) for line in lines}) == 1


# Motion of the output, tracked again


@pytest.fixture(scope="module")
def longer(prepared: Prepared) -> Prepared:
    """With a tail of 40 frames."""
    rgb, matte, landmarks = Puppet(SIZE).film(lively(200, seed=5, hands=True))
    return Prepared(25.0, rgb, matte, landmarks, np.zeros(200, np.int32))


def test_without_a_tracker_nothing_is_said_of_motion(found: HeldOut) -> None:
    assert all(found.report["held_out"][name] is None for name in MOTION_FIGURES)
    assert found.lip_aperture is None


@pytest.mark.usefixtures("few_steps")
def test_an_output_without_a_face_says_nothing(puppet_avatar: Avatar, prepared: Prepared) -> None:
    tail = prepared.landmarks[prepared.tail_start :]
    blank = measured(puppet_avatar, prepared, tail, [Landmarks(SIZE, SIZE)] * len(tail))
    assert blank.report["held_out"]["motion"] is None


@pytest.mark.usefixtures("few_steps")
def test_a_damped_mouth_and_a_lost_hand_show(puppet_avatar: Avatar, longer: Prepared) -> None:
    poses = lively(200, seed=5, hands=True)[longer.tail_start :]
    waving = [
        replace(pose, hands=((1.4 + 0.06 * index, 1.9), (-1.4, 1.9 - 0.06 * index)))
        for index, pose in enumerate(poses)
    ]
    damped = [replace(pose, mouth=0.5 * pose.mouth) for pose in waving]
    truth, output = ([Puppet(SIZE).landmarks(pose) for pose in made] for made in (waving, damped))
    moved = [frame.transformed(1.0, 3.0, 4.0, SIZE, SIZE) for frame in output]
    lost = [
        replace(frame, hand_confidence=np.array([1.0, 0.0], np.float32)) if index < 10 else frame
        for index, frame in enumerate(moved)
    ]
    found = measured(puppet_avatar, longer, truth, lost)
    motion = found.report["held_out"]
    assert motion["motion"]["lip_aperture"]["gain"] == pytest.approx(0.5, abs=0.1)
    assert motion["motion"]["yaw"]["gain"] == pytest.approx(1.0, abs=0.05)
    assert abs(motion["motion_shuffled"]["lip_aperture"]["correlation"]) < 0.5
    assert motion["hands_found"] == pytest.approx(1 - 10 / 80)
    assert motion["wrist_px"] == pytest.approx(5.0, abs=0.01)
    assert motion["fingertip_px"] == pytest.approx(5.0, abs=0.01)
    assert motion["hands_shuffled"]["wrist_px"] > 2 * motion["wrist_px"]
    assert json.loads(json.dumps(found.report)) == found.report
    lines = held_out_motion_table(motion).splitlines()
    assert lines[-2].split()[-2:] == ["5.00", f"{motion['hands_shuffled']['wrist_px']:.2f}"]
    assert len({len(line) for line in lines}) == 1
    assert found.lip_aperture is not None
    assert len(found.lip_aperture[0]) == len(found.lip_aperture[1]) == len(found.report_frames) == 40


def test_many_steps_are_measured_on_fewer_frames(
    puppet_avatar: Avatar, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out_module, "STEP_FRAMES", 5)
    report = measured(puppet_avatar, prepared).report
    assert report["steps_frames"] == 5
    assert report["held_out"]["frames"] == 15
    assert report["steps"]["1"] != report["held_out"]["psnr_db"]
    assert report["steps"]["1"]["frame"] == pytest.approx(report["steps"]["8"]["frame"], abs=0.5)


@pytest.mark.usefixtures("few_steps")
def test_sharpness_tells_a_blurred_avatar(puppet_avatar: Avatar, prepared: Prepared) -> None:
    blurred = [
        KeyFrame.of(np.asarray(cv2.GaussianBlur(key.rgb, (0, 0), 1.5), np.uint8), key.matte, key.landmarks)
        for key in puppet_avatar.keyframes
    ]
    soft = replace(puppet_avatar, keyframes=tuple(blurred))
    before, after = (
        measured(avatar, prepared).report["held_out"]["sharpness"] for avatar in (puppet_avatar, soft)
    )
    assert set(before) == {"frame", "face", "mouth", "hands"}
    assert all(after[region] < 0.7 * before[region] for region in ("frame", "face"))


def test_hands_of_nobody_have_no_figures() -> None:
    nobody = [Puppet(SIZE).landmarks(Pose(hands=(None, None)))] * 3
    assert compare_hands(nobody, nobody) == {
        **dict.fromkeys(("hands_found", "wrist_px", "fingertip_px")),
        "hands_shuffled": dict.fromkeys(("hands_found", "wrist_px", "fingertip_px")),
    }
