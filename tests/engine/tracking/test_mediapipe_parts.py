"""The parts find what MediaPipe 0.10.21 found with these networks, on six frames of a synthetic presenter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.arrays import FloatArray, U8Image
from engine.media.video import read_frames

pytest.importorskip("ai_edge_litert", reason="needs LiteRT")
from engine.tracking.detector import Detector
from engine.tracking.mediapipe_parts import FaceCounter, FacePart, HandsPart, PersonMatte, PosePart
from engine.tracking.region import Region, about, around_points, turn
from tests.support.places import PRESENTER

FOUND = PRESENTER.with_name("mediapipe_found.npz")

needs_film = pytest.mark.skipif(not PRESENTER.exists(), reason=f"{PRESENTER.name} is not there")


@pytest.fixture(scope="module")
def frames() -> list[U8Image]:
    return [frame.rgb for frame in read_frames(PRESENTER)][80:86]


@pytest.fixture(scope="module")
def found() -> dict[str, FloatArray]:
    with np.load(FOUND) as table:
        return dict(table)


def apart_px(ours: FloatArray, theirs: FloatArray) -> float:
    return float(np.linalg.norm(ours[..., :2] - theirs[..., :2], axis=-1).mean())


@needs_film
def test_faces_are_where_mediapipe_finds_them(frames: list[U8Image], found: dict[str, FloatArray]) -> None:
    part = FacePart()
    faces = np.array([part.find(frame)[0] for frame in frames])
    assert apart_px(faces, found["face"]) < 0.1
    assert apart_px(faces[:, 468:], found["face"][:, 468:]) < 0.1  # irises
    assert np.abs(faces[..., 2] - found["face"][..., 2]).mean() < 0.1


@needs_film
def test_bodies_are_where_mediapipe_finds_them(frames: list[U8Image], found: dict[str, FloatArray]) -> None:
    part = PosePart()
    bodies = [part.find(frame) for frame in frames]
    for body, points, visibility in zip(bodies, found["pose"], found["visibility"], strict=True):
        assert body is not None
        seen = visibility > 0.5
        assert apart_px(body.points[seen], points[seen]) < 3.5  # trembles as much; most 2.3 when measured
        np.testing.assert_allclose(body.visibility, visibility, atol=0.15)


@needs_film
@pytest.mark.parametrize(("quick", "name"), [(False, "hands"), (True, "quick_hands")])
def test_hands_are_where_mediapipe_finds_them(
    frames: list[U8Image], found: dict[str, FloatArray], quick: bool, name: str
) -> None:
    part = HandsPart(quick)
    hands = [part.find(frame) for frame in frames]
    assert [len(one) for one in hands] == [1] * len(frames)
    assert apart_px(np.array([one[0].points for one in hands]), found[name]) < 0.5
    if not quick:
        left = np.array([one[0].left_probability for one in hands])
        np.testing.assert_allclose(left, found["left"], atol=0.02)


@needs_film
def test_the_matte_is_mediapipes(frames: list[U8Image], found: dict[str, FloatArray]) -> None:
    assert np.abs(PersonMatte().alpha(frames[0]) * 255 - found["matte"]).max() < 2


@needs_film
def test_every_face_is_counted(frames: list[U8Image]) -> None:
    two = np.hstack([frames[0], frames[0]])
    boxes = FaceCounter().find(two)
    assert len(boxes) == 2
    left, right = boxes[np.argsort(boxes[:, 0])]
    assert right[0] - left[0] == pytest.approx(256, abs=8)
    assert len(FaceCounter().find(np.zeros((90, 160, 3), np.uint8))) == 0


def test_a_turned_square_is_cut_out_upright() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    region = Region(120.0, 90.0, 64.0, math.radians(35))
    (corner,) = region.to_picture(np.array([[0.25, 0.75]], np.float32))
    x, y = np.round(corner).astype(int)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    cut = region.cut_out(picture, 32)[0, :, :, 0]
    row, column = np.argwhere(cut > 0.5).mean(0)
    assert (column, row) == pytest.approx((8, 24), abs=1.0)


@pytest.mark.parametrize("black", [True, False])
def test_outside_the_picture_is_black_or_its_border(black: bool) -> None:
    cut = Region(0.0, 0.0, 40.0).cut_out(np.full((30, 30, 3), 255, np.uint8), 8, black_around=black)
    assert cut[0, 0, 0, 0] == (0.0 if black else 1.0)
    assert cut[0, 7, 7, 0] == pytest.approx(1.0)


def test_the_square_about_turned_points_holds_them() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (12, 2)).astype(np.float32)
    angle = turn(points[0], points[1], math.pi / 2)
    region = about(*around_points(points, angle), angle, 1.0)
    cos, sin = math.cos(angle), math.sin(angle)
    from_middle = points - np.array([region.x, region.y], np.float32)
    own = from_middle @ np.array([[cos, -sin], [sin, cos]], np.float32)
    assert np.abs(own).max() == pytest.approx(region.side / 2, rel=1e-4)
    assert own[1, 1] < own[0, 1]  # the second point is above the first
    assert own[1, 0] == pytest.approx(own[0, 0], abs=1e-3)


def test_squares_share_what_they_overlap() -> None:
    one = Region(0.0, 0.0, 10.0)
    assert one.shares(one) == pytest.approx(1.0)
    assert one.shares(Region(5.0, 0.0, 10.0)) == pytest.approx(1 / 3)
    assert one.shares(Region(0.0, 0.0, 5.0)) == pytest.approx(0.25)
    assert one.shares(Region(20.0, 0.0, 10.0)) == 0.0


def test_nothing_is_detected_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)
    assert Detector("palm_detector", 192, {8: 2, 16: 6}, signed=False).find(noise) == []
