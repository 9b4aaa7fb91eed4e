"""Cuts in a clip, by its pictures and by the face. Exact landmarks come from a drawn puppet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.media.video import read_frames
from engine.person.landmarks import Landmarks
from export.footage.cuts import CutWatch, face_jumps, find_cuts, thumbnail
from tests.support.places import SHARED
from tests.support.puppet import Pose, Puppet

SIZE = 480
PUPPET = Puppet(SIZE)


def tracked(poses: Sequence[Pose]) -> list[Landmarks]:
    return [PUPPET.landmarks(pose) for pose in poses]


def test_even_and_fast_motion_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    assert find_cuts(rng.uniform(5.0, 9.0, 200).astype(np.float32), np.zeros(200, np.float32)) == []


def test_a_jump_within_one_take() -> None:
    changes = np.full(100, 0.6, np.float32)
    changes[40] = 9.0
    assert find_cuts(changes, np.zeros(100, np.float32)) == [40]


def test_a_frame_skipped_by_rate_conversion_is_no_cut() -> None:
    changes = np.full(100, 2.5, np.float32)
    changes[::5] = 5.0
    assert find_cuts(changes, np.zeros(100, np.float32)) == []


def test_another_scene_is_a_cut_even_amid_motion() -> None:
    changes = np.full(100, 8.0, np.float32)
    changes[60:62] = (70.0, 45.0)  # a flash, or two cuts in a row
    assert find_cuts(changes, np.zeros(100, np.float32)) == [60, 61]


def test_a_face_that_jumps_before_a_plain_wall() -> None:
    poses = [Pose(x=0.001 * index) for index in range(30)] + [Pose(x=0.5)] * 30
    jumps = face_jumps(tracked(poses))
    assert find_cuts(np.full(60, 0.5, np.float32), jumps) == [30]


def test_a_lost_face_is_no_jump() -> None:
    found = tracked([Pose()] * 10)
    found[5] = Landmarks(SIZE, SIZE)
    assert not face_jumps(found).any()


def test_the_first_frame_is_never_a_cut() -> None:
    changes = np.array([50.0, 9.0, 0.5, 0.5], np.float32)
    assert find_cuts(changes, np.zeros(4, np.float32)) == [1]


def test_duplicated_frames_are_no_cuts() -> None:
    """Webcams repeat frames: every other change is zero, the next one double."""
    changes = np.tile(np.array([0.0, 4.0], np.float32), 50)
    assert find_cuts(changes, np.zeros(100, np.float32)) == []


def test_cuts_seen_as_they_come_are_those_seen_afterwards() -> None:
    rng = np.random.default_rng(3)
    levels = np.cumsum(rng.uniform(0.3, 1.5, 120)).astype(np.float32)
    levels[40:] += 12.0
    levels[90:] += 60.0
    smalls = [np.full((4, 4, 3), level, np.float32) for level in levels]
    watch, seen, changes = CutWatch(), [], []
    for index, small in enumerate(smalls):
        watch.next(small)
        if index:
            seen += [index - 1] * watch.cut
            changes.append(watch.change)
    watch.end()
    seen += [len(smalls) - 1] * watch.cut
    changes.append(watch.change)
    wanted = np.concatenate([[0.0], np.diff(levels)]).astype(np.float32)
    assert changes == pytest.approx(wanted.tolist(), abs=1e-3)
    assert seen == find_cuts(wanted, np.zeros(120, np.float32)) == [40, 90]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("footage/man_tshirt_hands_20s.mp4", 271),
        ("footage/man_sweater_hands_20s.mp4", 67),
        ("footage/weekly_address_20s.mp4", None),
        ("footage/video_call_62s/blend_kaminoke.mp4", None),
    ],
)
def test_known_cuts_of_real_clips(name: str, near: int | None) -> None:
    """By the picture alone, over the 12 s around the known cut."""
    changes, before = [], None
    for frame in read_frames(SHARED / name):
        small = thumbnail(frame.rgb)
        changes.append(0.0 if before is None else float(np.abs(small - before).mean()))
        before = small
        if frame.index >= 300:
            break
    cuts = find_cuts(np.array(changes, np.float32), np.zeros(len(changes), np.float32))
    assert cuts == ([] if near is None else [near])
