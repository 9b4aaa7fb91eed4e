"""The held-out report on a puppet's footage, and how reports read in a terminal."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.puppet import Pose, Puppet
from engine.avatar import Avatar
from engine.landmarks import Landmarks
from export.held_out import (
    REGIONS,
    fine_power,
    held_out_report,
    psnr_db,
    region_boxes,
    replace_keyframes,
    ssim,
)
from export.prepared import Prepared
from export.report_text import held_out_table, motion_table

SIZE = 128
BASELINES = {"nearest_frame", "previous_frame", "warp_only", "shuffled_conditions", "zero_prior"}


@pytest.fixture(scope="module")
def report(puppet_avatar: Avatar, prepared: Prepared) -> dict[str, Any]:
    """With the null runner, which shows the prior as it is."""
    return held_out_report(puppet_avatar, prepared, runner="null")


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
    report = held_out_report(puppet_avatar, replace(prepared, landmarks=handless), runner="null")
    assert report["held_out"]["psnr_db"]["hands"] is None
    assert all(values["hands"] is None for values in report["baselines"].values())
    assert report["held_out"]["psnr_db"]["mouth"] is not None
    assert all(line.split()[-2] == "-" for line in held_out_table(report).splitlines()[1:])


def test_faceless_frames_are_skipped_and_progress_ends_at_all(
    puppet_avatar: Avatar, prepared: Prepared
) -> None:
    landmarks = list(prepared.landmarks)
    landmarks[62:72] = [Landmarks(SIZE, SIZE)] * 10
    heard: list[tuple[int, int]] = []
    report = held_out_report(
        puppet_avatar,
        replace(prepared, landmarks=landmarks),
        runner="null",
        progress=lambda done, total: heard.append((done, total)),
    )
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
    grey = replace_keyframes(puppet_avatar)
    assert len(grey.keyframes) == len(puppet_avatar.keyframes)
    assert all((key.rgb == 128).all() for key in grey.keyframes)
    assert grey.keyframes[0].matte is puppet_avatar.keyframes[0].matte
    assert not (puppet_avatar.keyframes[0].rgb == 128).all()


def test_tables_line_up(report: dict[str, Any]) -> None:
    lines = held_out_table(report).splitlines()
    assert len(lines) == 9
    assert len({len(line) for line in lines}) == 1
    assert f"{report['held_out']['psnr_db']['frame']:.2f}" in lines[1]
    earlier = {**report, "steps": {steps: report["steps"][steps] for steps in ("1", "2")}}
    assert len(held_out_table(earlier).splitlines()) == 8
    motion = {
        "motion": {"yaw": {"correlation": 0.98, "gain": 1.02}, "wrists": None},
        "motion_shuffled": {"yaw": {"correlation": 0.01, "gain": 0.0}, "wrists": None},
    }
    lines = motion_table(motion).splitlines()
    assert lines[1].split() == ["yaw", "0.980", "1.02", "0.010"]
    assert lines[2].split() == ["wrists", "-", "-", "-"]
    assert len({len(line) for line in lines}) == 1
