"""The gate's verdict: what must be refused though PSNR has nothing against it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from engine.arrays import U8Image
from engine.errors import RunnerError
from export.convert.gate import GateReport, compared, require
from export.convert.motion_gate import MotionReport
from export.evaluate.held_out import Scores, region_boxes
from tests.support.puppet import Pose, Puppet

SIZE = 128
BOUND_DB = 0.3


def softened(rgb: U8Image) -> U8Image:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.6), np.uint8)


def tinted(rgb: U8Image) -> U8Image:
    """A little green: nothing to PSNR beside what is out of place."""
    return np.asarray(np.clip(rgb + np.array([-2, 2, -2]), 0, 255), np.uint8)


def verdict(change: Callable[[U8Image], U8Image]) -> GateReport:
    """Of a network whose pictures, a pixel out of place, another changes so."""
    puppet = Puppet(SIZE)
    scores = Scores(("before", "after"))
    for turn in (-6.0, 0.0, 6.0):
        landmarks = puppet.landmarks(Pose(yaw_deg=turn))
        truth, _ = puppet.picture(landmarks)
        astray = np.roll(truth, 1, axis=1)
        scores.add({"before": astray, "after": change(astray)}, truth, region_boxes(landmarks, SIZE))
    return compared(scores, 3, MotionReport(0, 0.0, {}))


def test_the_same_again_passes() -> None:
    found = verdict(lambda rgb: rgb)
    assert (found.loss_db, found.flip_growth, found.sharpness_kept) == (0.0, 0.0, 1.0)
    require(found, BOUND_DB)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (softened, r"keeps \d\d % of the sharpness .* at least 90 %"),
        (tinted, r"of its FLIP error .* at most 5 %"),
    ],
)
def test_psnr_alone_would_have_let_it_through(change: Callable[[U8Image], U8Image], words: str) -> None:
    found = verdict(change)
    assert found.loss_db <= BOUND_DB
    with pytest.raises(RunnerError, match=words.replace(" %", "%")):
        require(found, BOUND_DB)
