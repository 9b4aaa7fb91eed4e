"""The instrument of 52 scores: what it reads off a face, and which scores count as come through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pictures.face_scores import NAMES, POINTS, FaceScores, agreement
from engine.errors import SettingsError
from tests.support.places import SHARED
from tests.support.puppet import Pose, Puppet

TASK = SHARED / "models" / "face_landmarker.task"


def test_a_score_comes_through_by_correlation_and_gain() -> None:
    """One as it should be, one at half its strength, one that does something else; the rest lie still."""
    wave, other = (np.sin(np.arange(60) * rate) for rate in (0.3, 1.1))
    truth = np.zeros((60, len(NAMES)), np.float32)
    truth[:, :3] = 0.4 + 0.3 * wave[:, None]
    shown = truth.copy()
    shown[:, 1] = 0.5 * truth[:, 1]
    shown[:, 2] = 0.4 + 0.3 * other
    found = agreement(truth, shown)
    assert (found["moving"], found["through"], found["correlated"]) == (3, 0.333, 0.667)
    assert found["scores"][NAMES[1]]["gain"] == pytest.approx(0.5)
    assert found["eyes_asymmetry"] is None


def test_frames_without_a_face_in_either_are_left_out() -> None:
    truth = np.random.default_rng(0).uniform(0, 1, (30, len(NAMES))).astype(np.float32)
    shown = truth.copy()
    shown[:10] = np.nan
    found = agreement(truth, shown)
    assert (found["frames"], found["through"], found["eyes_asymmetry"]) == (20, 1.0, 1.0)


def test_one_line_says_that_a_file_is_no_such_network(tmp_path: Path) -> None:
    (tmp_path / "no.task").write_bytes(b"PK")
    for file in ("no.task", "nowhere.task"):
        with pytest.raises(SettingsError, match=r"wanted face_landmarker\.task"):
            FaceScores(tmp_path / file)


@pytest.mark.skipif(not TASK.exists(), reason="../shared with MediaPipe's face_landmarker.task is not there")
def test_an_open_jaw_and_shut_lids_are_read_as_such() -> None:
    puppet = Puppet(256)
    poses = [Pose(), Pose(mouth=0.3), Pose(lids=(0.0, 1.0))]
    frames = [puppet.landmarks(pose) for pose in poses]
    lost = replace(frames[0], face_confidence=0.0)
    rest, spoken, winking, nothing = FaceScores(TASK).of([*frames, lost])
    jaw, left, right = (NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"))
    assert spoken[jaw] > rest[jaw] + 0.2
    assert winking[left] > winking[right] + 0.2
    assert np.isnan(nothing).all()
    assert len(POINTS) == 146
