"""Guidance maps of a puppet: what is drawn where, and that it stays so."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.person import topology as topo
from engine.person.landmarks import LEFT, RIGHT, Landmarks
from engine.render.guidance import GUIDANCE_CHANNELS, GuidancePainter
from tests.support.places import DATA
from tests.support.puppet import Pose, Puppet

SIZE = 256
GOLDEN = DATA / "guidance.npz"
GOLDEN_POSE = Pose(yaw_deg=12, pitch_deg=-4, mouth=0.1, gaze_x=0.03, hands=((1.4, 1.9), None))
CONTOURS, MOUTH, EYES, BODY, MESH_X, _, MESH_Z, HANDS = range(GUIDANCE_CHANNELS)
IRIS = 150  # above what the white of an eye has, below what an iris has

Maps = NDArray[np.uint8]


def write_golden() -> None:
    """The golden maps anew: python -c "from tests.engine.render.test_guidance import *; write_golden()"."""
    np.savez_compressed(GOLDEN, maps=draw(GOLDEN_POSE))


def draw(pose: Pose, size: int = SIZE) -> Maps:
    return GuidancePainter(size).draw(Puppet(size).landmarks(pose)).copy()


def area(channel: Maps, above: int = 60) -> int:
    return int((channel > above).sum())


def eye_box(landmarks: Landmarks, side: int) -> tuple[slice, slice]:
    eye = landmarks.face[topo.EYES[side], :2] / 2
    low, high = np.floor(eye.min(0) - 1).astype(int), np.ceil(eye.max(0) + 1).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def centroid_x(channel: Maps) -> float:
    weight = channel.astype(np.float64)
    return float((weight * np.arange(channel.shape[1])).sum() / weight.sum())


def test_the_maps_are_the_golden_ones() -> None:
    """Strokes may differ by a level between builds of OpenCV; a moved or missing one differs by a hundred."""
    with np.load(GOLDEN) as data:
        golden = data["maps"].astype(int)
    assert golden.shape == (SIZE // 2, SIZE // 2, GUIDANCE_CHANNELS)
    difference = np.abs(draw(GOLDEN_POSE).astype(int) - golden)
    assert (difference > 16).mean() < 1e-4, f"at most {difference.max()}, on average {difference.mean():.4f}"


@pytest.mark.parametrize("size", [128, 256, 512])
def test_every_channel_has_its_part(size: int) -> None:
    maps = draw(Pose(hands=((1.4, 1.9), (-1.4, 1.9))), size)
    assert maps.shape == (size // 2, size // 2, GUIDANCE_CHANNELS)
    assert all(maps[..., channel].max() > 100 for channel in range(GUIDANCE_CHANNELS))
    assert not draw(Pose(), size)[..., HANDS].any()


def test_nobody_there_nothing_drawn() -> None:
    assert not GuidancePainter(SIZE).draw(Landmarks(SIZE, SIZE)).any()


def test_a_shut_eye_hides_its_iris() -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(lids=(0.0, 1.0)))
    eyes = GuidancePainter(SIZE).draw(landmarks)[..., EYES]
    assert eyes[eye_box(landmarks, LEFT)].max() < IRIS
    assert eyes[eye_box(landmarks, RIGHT)].max() > 200


def test_lids_cover_the_iris_little_by_little() -> None:
    visible = [int((draw(Pose(lids=(o, o)), 512)[..., EYES] > IRIS).sum()) for o in (1.0, 0.6, 0.3, 0.0)]
    assert visible == sorted(visible, reverse=True)
    assert visible[0] > 1.5 * visible[2]
    assert visible[-1] == 0


def test_gaze_moves_the_iris_within_the_eye() -> None:
    def iris(pose: Pose) -> Maps:
        eyes = draw(pose)[..., EYES]
        return np.where(eyes > IRIS, eyes, 0).astype(np.uint8)

    assert centroid_x(iris(Pose(gaze_x=0.06))) > centroid_x(iris(Pose())) + 0.5


def test_the_mouths_opening_grows_with_its_aperture() -> None:
    areas = [area(draw(Pose(mouth=gap))[..., MOUTH], 180) for gap in (0.0, 0.08, 0.16, 0.3)]
    assert areas == sorted(areas)
    assert np.diff(areas).min() > 15  # px of the map


def test_the_back_of_the_head_is_not_drawn() -> None:
    painter = GuidancePainter(SIZE)
    turned = painter.draw(Puppet(SIZE).landmarks(Pose(yaw_deg=179.0)))[..., MESH_X:HANDS].copy()
    facing = painter.draw(Puppet(SIZE).landmarks())[..., MESH_X:HANDS]
    # The mesh has no back: from behind only what curls round the edges faces the camera.
    assert area(turned.max(2), 0) < 0.1 * area(facing.max(2), 0)


def test_what_is_near_covers_what_is_far() -> None:
    """From the side the nose is in front of the far cheek: there the mesh shows the nose's colour."""
    landmarks = Puppet(SIZE).landmarks(Pose(yaw_deg=50.0))
    maps = GuidancePainter(SIZE).draw(landmarks)
    x, y = (landmarks.face[4, :2] / 2).astype(int)
    assert maps[y, x - 2, MESH_Z] < 90  # the nose is nearest: lowest z, and colours run 55..255


def test_mesh_colours_run_across_the_face() -> None:
    landmarks = Puppet(SIZE).landmarks()
    mesh_x = GuidancePainter(SIZE).draw(landmarks)[..., MESH_X]
    left, right = (landmarks.face[[234, 454], :2] / 2).astype(int)
    assert int(mesh_x[right[1], right[0] - 3]) - int(mesh_x[left[1], left[0] + 3]) > 120


@pytest.mark.parametrize("shift_px", [0.25, 0.5, 1.0, 1.5])
def test_a_shift_below_a_pixel_shows(shift_px: float) -> None:
    painter = GuidancePainter(SIZE)
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), (-1.4, 1.9))))
    before = painter.draw(landmarks).copy()
    after = painter.draw(landmarks.transformed(1.0, shift_px, 0.0, SIZE, SIZE))
    for channel in (CONTOURS, MOUTH, HANDS):
        moved = centroid_x(after[..., channel]) - centroid_x(before[..., channel])
        assert moved == pytest.approx(shift_px / 2, abs=0.2)  # the maps have half the canvas size
        assert moved > 0.3 * shift_px / 2


def test_unsure_hands_and_arms_are_left_out_and_surer_ones_are_brighter() -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), None)))

    def hands(confidence: float) -> int:
        unsure = replace(landmarks, hand_confidence=np.array([confidence, 0.0], np.float32))
        return int(GuidancePainter(SIZE).draw(unsure)[..., HANDS].max())

    assert hands(0.4) == 0
    assert 0 < hands(0.7) < hands(1.0)
    seen = landmarks.pose_confidence * 0.4
    assert not GuidancePainter(SIZE).draw(replace(landmarks, pose_confidence=seen))[..., BODY].any()


def test_the_nearer_hand_covers_the_farther() -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((0.0, 2.0), (0.0, 2.0))))
    hands = landmarks.hands.copy()
    hands[RIGHT] = hands[LEFT]  # in one place: what differs is depth and confidence
    sure = replace(landmarks, hands=hands, hand_confidence=np.array([1.0, 0.6], np.float32))
    pose = sure.pose.copy()
    pose[topo.WRISTS[LEFT], 2], pose[topo.WRISTS[RIGHT], 2] = -50, 50
    near = GuidancePainter(SIZE).draw(replace(sure, pose=pose))[..., HANDS].astype(int)
    pose = pose.copy()
    pose[topo.WRISTS[LEFT], 2], pose[topo.WRISTS[RIGHT], 2] = 50, -50
    far = GuidancePainter(SIZE).draw(replace(sure, pose=pose))[..., HANDS].astype(int)
    assert near.sum() > 1.3 * far.sum()


def test_a_person_far_outside_the_canvas_does_no_harm() -> None:
    landmarks = Puppet(SIZE).landmarks(Pose(hands=((1.4, 1.9), None)))
    for shift in (-1e5, -300.0, 300.0, 1e5):
        maps = GuidancePainter(SIZE).draw(landmarks.transformed(1.0, shift, shift, SIZE, SIZE))
        assert not maps[..., MESH_X:HANDS].any()


def test_drawing_allocates_nothing_that_stays() -> None:
    painter = GuidancePainter(SIZE)
    frames = [Puppet(SIZE).landmarks(Pose(yaw_deg=yaw, hands=((1.4, 1.9), None))) for yaw in (-5, 0, 5)]
    for frame in frames:
        painter.draw(frame)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for index in range(200):
            painter.draw(frames[index % 3])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000  # bytes; one kept map would be 131,072
    assert painter.draw(frames[0]) is painter.draw(frames[1])
