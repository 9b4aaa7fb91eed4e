"""The report's picture: its rows, its charts, and that what is in them can be seen."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.avatar.members import MAX_PREVIEW_PX
from engine.errors import FootageError
from engine.person.landmarks import Landmarks
from export.evaluate.held_out import HeldOut
from export.evaluate.report_picture import (
    COLOURS,
    MARGIN_PX,
    Chart,
    Curve,
    ReportFrame,
    guidance_picture,
    report_png,
    telling_frames,
)
from export.evaluate.report_sheets import driven_picture, held_out_picture
from tests.support.puppet import Pose, Puppet, lively

PUPPET = Puppet(256)


def frame(pose: Pose, truth: bool = True) -> ReportFrame:
    landmarks = PUPPET.landmarks(pose)
    picture, _ = PUPPET.picture(landmarks)
    return ReportFrame(picture, landmarks, landmarks, picture, picture, picture if truth else None)


def opened(png: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.array(image, np.uint8)


def shows(page: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(page.astype(int) - colour) < 12).all(-1))


def test_the_page_fits_the_package() -> None:
    labels = [f"row {index}" for index in range(7)]
    curve = Curve("a", [0.0, 1.0], [1.0, 2.0])
    page = opened(report_png(dict.fromkeys(labels, frame(Pose())), [Chart("t", "x", [curve])] * 3, "title"))
    assert page.shape[1] <= 1600
    assert page.shape[0] <= MAX_PREVIEW_PX


def test_a_truth_adds_its_error_and_a_stranger_is_shown() -> None:
    with_truth = opened(report_png({"r": frame(Pose())}, (), ""))
    driven = opened(driven_picture({"r": frame(Pose(), truth=False)}, "puppet", "clip.mp4"))
    assert with_truth.shape[1] - driven.shape[1] == 256 + MARGIN_PX
    error = with_truth[-MARGIN_PX - 256 : -MARGIN_PX, -MARGIN_PX - 256 : -MARGIN_PX]
    assert not error.any()  # the output is the truth


def test_an_error_is_magnified() -> None:
    exact = frame(Pose())
    assert exact.truth is not None
    darker = ReportFrame(
        exact.driver,
        exact.landmarks,
        exact.target,
        exact.prior,
        exact.output,
        np.asarray(exact.truth // 2 + 60, np.uint8),
    )
    page = opened(report_png({"r": darker}, (), ""))
    error = page[-MARGIN_PX - 256 : -MARGIN_PX, -MARGIN_PX - 256 : -MARGIN_PX].astype(int)
    assert darker.truth is not None
    apart = np.abs(exact.output.astype(int) - darker.truth)
    assert np.array_equal(error, np.minimum(4 * apart, 255))


def test_guidance_shows_face_mouth_and_hands() -> None:
    bare = guidance_picture(PUPPET.landmarks(Pose()))
    raised = guidance_picture(PUPPET.landmarks(Pose(hands=((1.4, 1.9), (-1.4, 1.9)))))
    assert bare.shape == (128, 128, 3)
    yellow = [((picture[..., 0] > 150) & (picture[..., 2] < 80)).sum() for picture in (bare, raised)]
    assert yellow[1] > yellow[0] + 20
    assert ((bare[..., 1] > 150) & (bare[..., 0] < 120)).any()  # eyes


def test_a_chart_draws_its_curves_where_they_are() -> None:
    x = [float(index) for index in range(100)]
    rising = Curve("up", x, x)
    broken = Curve("gap", x, [math.nan if 40 <= value < 60 else 99.0 - value for value in x])
    page = opened(report_png({"r": frame(Pose())}, [Chart("t", "s", [rising, broken])], ""))[-180:]
    up, gap = (np.argwhere(shows(page, colour))[20:] for colour in COLOURS[:2])
    left = page.shape[1] // 3
    assert up[up[:, 1] < left][:, 0].mean() > up[up[:, 1] > 2 * left][:, 0].mean()
    middle = (gap[:, 1] > page.shape[1] * 0.48) & (gap[:, 1] < page.shape[1] * 0.54)
    assert not middle.any()
    assert (gap[:, 1] < left).any()


def test_curves_of_nothing_and_of_one_value() -> None:
    flat, nothing = Curve("flat", [0.0, 1.0], [2.0, 2.0]), Curve("none", [0.0, 1.0], [math.nan] * 2)
    for curve in (flat, nothing):
        opened(report_png({"r": frame(Pose())}, [Chart("t", "s", [curve])], ""))


def test_the_frames_chosen_show_the_range() -> None:
    poses = [Pose(yaw_deg=2.0 * index % 3) for index in range(40)]
    poses[5] = Pose(mouth=0.4)
    poses[11] = Pose(lids=(0.0, 0.0))
    poses[17] = Pose(yaw_deg=30.0)
    poses[23] = Pose(pitch_deg=15.0)
    poses[29] = Pose(yaw_deg=3.0, hands=((1.4, 1.9), (-1.4, 1.9)))
    landmarks = [PUPPET.landmarks(pose) for pose in poses]
    landmarks[31] = Landmarks(256, 256)
    quality = [30.0] * 40
    quality[31], quality[35] = 1.0, 20.0
    chosen = telling_frames(landmarks, quality)
    assert chosen.pop("at rest") not in {5, 11, 17, 23, 31}
    assert chosen == {
        "mouth most open": 5,
        "eyes most shut": 11,
        "head turned most": 17,
        "nod": 23,
        "hands": 29,
        "worst frame": 35,
    }
    with pytest.raises(FootageError, match="no face"):
        telling_frames([Landmarks(256, 256)] * 3)


def test_the_held_out_page_grows_with_what_is_known() -> None:
    frames = [frame(pose) for pose in lively(12, seed=1)]
    values = {name: [30.0 + index for index in range(12)] for name in ("1", "warp_only", "nearest_frame")}
    lips = np.linspace(0, 1, 12).astype(np.float32)
    heights = []
    for aperture, training in (
        (None, {}),
        ((lips, lips), {}),
        ((lips, lips), {"curve": [[30.0, 22.0], [60.0, 24.0]]}),
    ):
        page = opened(held_out_picture(HeldOut({}, frames, values, aperture), "puppet", 25.0, training))
        heights.append(page.shape[0])
    assert heights[0] < heights[1] < heights[2] <= MAX_PREVIEW_PX
