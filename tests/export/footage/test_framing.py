"""The choice of the canvas square, and its cutting. Exact landmarks come from a drawn puppet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from engine.arrays import FloatArray
from engine.errors import FootageError, SettingsError
from engine.media.video import read_frames
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from export.footage.framing import Framing, choose_framing, crop_resize, parse_framing, to_canvas
from tests.support.places import SHARED
from tests.support.puppet import Pose, Puppet

SIZE = 480
PUPPET = Puppet(SIZE)


def performance(count: int = 100, **changes: Any) -> list[Pose]:
    """Looks about and shows both hands now and then."""
    poses = []
    for index in range(count):
        shown = index % 50 < 20
        pose = Pose(
            yaw_deg=14 * float(np.sin(index / 20)),
            hands=((0.6, 1.2), (-0.6, 1.2)) if shown else (None, None),
        )
        poses.append(replace(pose, **changes))
    return poses


def tracked(poses: Sequence[Pose]) -> list[Landmarks]:
    return [PUPPET.landmarks(pose) for pose in poses]


def wide(found: Sequence[Landmarks], width: int, height: int, x: float, y: float) -> list[Landmarks]:
    """The puppet's square placed in a larger picture."""
    return [one.transformed(1.0, x, y, width, height) for one in found]


class TestFraming:
    def test_a_square_that_is_filled_stays_whole(self) -> None:
        assert choose_framing(tracked(performance())) == Framing(0, 0, SIZE)

    def test_head_and_shoulders_of_a_wide_picture(self) -> None:
        found = wide(tracked(performance(hands=(None, None), zoom=0.6)), 1280, 720, 500, 100)
        framing = choose_framing(found)
        assert framing == choose_framing(found, "head")
        assert_within(framing, 1280, 720)
        face = np.concatenate([one.face[:, :2] for one in found])
        assert_holds(framing, face)
        assert framing.side < 720
        assert face[:, 1].min() - framing.y > 0.1 * float(np.ptp(face[:, 1]))  # room for the hair

    def test_hands_widen_the_view(self) -> None:
        poses = performance(zoom=0.5, hands=((1.2, 1.6), (-1.2, 1.6)))
        found = wide(tracked(poses), 1280, 720, 400, 50)
        framing = choose_framing(found)
        assert framing == choose_framing(found, "upper")
        assert framing.side > choose_framing(found, "head").side
        assert_holds(framing, np.concatenate([one.hands[..., :2].reshape(-1, 2) for one in found]))

    def test_hands_seen_once_in_a_while_do_not(self) -> None:
        shown = performance(zoom=0.5, hands=((1.2, 1.6), None))
        hidden = performance(zoom=0.5, hands=(None, None))
        poses = [
            one if index % 10 == 0 else other
            for index, (one, other) in enumerate(zip(shown, hidden, strict=True))
        ]
        found = wide(tracked(poses), 1280, 720, 400, 50)
        assert choose_framing(found) == choose_framing(found, "head")

    def test_a_person_at_the_border_keeps_the_square_inside(self) -> None:
        for x, y in ((-200, -150), (900, 300)):
            assert_within(choose_framing(wide(tracked(performance()), 1280, 720, x, y), "upper"), 1280, 720)

    def test_full_is_as_large_as_the_picture_allows(self) -> None:
        framing = choose_framing(wide(tracked(performance()), 1280, 720, 700, 0), "full")
        assert framing.side == 720
        assert_within(framing, 1280, 720)
        assert framing.x > 280  # follows the person to the right

    def test_no_face_is_an_error(self) -> None:
        with pytest.raises(FootageError, match="no face in any of 3 frames"):
            choose_framing([Landmarks(64, 64)] * 3)

    def test_what_is_given_by_hand_is_taken(self) -> None:
        framing = parse_framing("40,420,1000")
        assert framing == Framing(40, 420, 1000)
        found = wide(tracked(performance()), 1080, 1920, 300, 500)
        assert choose_framing(found, framing) == framing
        assert parse_framing("upper") == "upper"
        assert str(framing) == "40,420,1000"

    @pytest.mark.parametrize("text", ["nose", "1,2", "1,2,3,4", "a,b,c", "0,0,10", ""])
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(SettingsError, match="framing"):
            parse_framing(text)

    def test_a_square_beside_the_picture_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=f"outside the {SIZE}x{SIZE} picture"):
            choose_framing(tracked(performance(5)), Framing(SIZE, 0, 100))

    @pytest.mark.parametrize(
        "framing", [Framing(100, 60, 200), Framing(-50, -20, 300), Framing(300, 350, 260)]
    )
    def test_pictures_and_landmarks_move_together(self, framing: Framing) -> None:
        """A dot drawn at a landmark lies at the transformed landmark of the crop."""
        found = tracked([Pose()])[0]
        place = np.array([max(framing.x, 0) + 120, max(framing.y, 0) + 90], np.float32)
        found.face[0, :2] = place + 0.5  # the middle of that pixel
        rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
        cv2.circle(rgb, (int(place[0]), int(place[1])), 4, (255, 255, 255), -1)
        crop = crop_resize(rgb, framing, 128)
        moved = to_canvas(found, framing, 128)
        assert crop.shape == (128, 128, 3)
        assert (moved.width, moved.height) == (128, 128)
        rows, columns = np.indices((128, 128))
        weight = crop[..., 0].astype(float)
        centre = [(weight * (axis + 0.5)).sum() / weight.sum() for axis in (columns, rows)]
        np.testing.assert_allclose(centre, moved.face[0, :2], atol=0.3)

    def test_beyond_the_picture_its_edge_goes_on(self) -> None:
        rgb = np.full((100, 100, 3), 77, np.uint8)
        assert (crop_resize(rgb, Framing(-40, -40, 180), 90) == 77).all()


def assert_within(framing: Framing, width: int, height: int) -> None:
    assert framing.x >= 0
    assert framing.y >= 0
    assert framing.x + framing.side <= width
    assert framing.y + framing.side <= height


def assert_holds(framing: Framing, points: FloatArray) -> None:
    inside = (points >= [framing.x, framing.y]) & (
        points <= [framing.x + framing.side, framing.y + framing.side]
    )
    assert inside.all(axis=1).mean() > 0.97


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_real_footage_with_hands_is_framed_as_we_know_it() -> None:
    """One frame in four of the clip whose good crop is known: x=40, y=420, side 1000."""
    tracking = pytest.importorskip("engine.tracking.tracker", reason="needs LiteRT")
    with tracking.EveryFrameTracker() as tracker:
        found = [
            tracker.track(frame.rgb, int(frame.time_s * 1e9))
            for frame in read_frames(SHARED / "footage" / "man_tshirt_hands_20s.mp4")
            if frame.index % 4 == 0
        ]
    framing = choose_framing(found)
    known = Framing(40, 420, 1000)
    overlap = max(0, min(framing.x + framing.side, 1040) - max(framing.x, 40)) * max(
        0, min(framing.y + framing.side, 1420) - max(framing.y, 420)
    )
    assert overlap / (framing.side**2 + known.side**2 - overlap) > 0.75
    assert (np.mean([one.hand_confidence[[LEFT, RIGHT]] > 0.5 for one in found], axis=0) > 0.6).all()
