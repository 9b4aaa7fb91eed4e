"""The warp's flow: exact where it can be, local where it must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.landmarks import RIGHT, Landmarks
from engine.render.warp import Flow, FlowSolver, body_pairs, control_points, remap, trunk_pairs
from tests.support.puppet import Pose, Puppet

SIZE = 256
CANVAS = (0, 0, SIZE, SIZE)
RAISED = (None, (-1.4, 1.8))


@pytest.fixture(scope="module")
def solver() -> FlowSolver:
    return FlowSolver(CANVAS, 5, SIZE)


def identity(box: tuple[int, int, int, int] = CANVAS) -> FloatArray:
    x0, y0, x1, y1 = box
    grid = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
    return np.asarray(np.stack(grid, -1), np.float32)


def spread_points(count: int = 40, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(20, SIZE - 20, (count, 2)).astype(np.float32)


def solve(solver: FlowSolver, target: FloatArray, source: FloatArray) -> FloatArray:
    return solver.solve(target, source, np.ones(len(target), np.float32)).places()


def at(flow: FloatArray, point: FloatArray) -> FloatArray:
    x, y = np.clip(np.round(point), 0, SIZE - 1).astype(int)
    return np.asarray(flow[y, x])


def test_equal_points_give_the_identity(solver: FlowSolver) -> None:
    points = spread_points()
    assert np.abs(solve(solver, points, points) - identity()).max() < 1e-3


@given(st.floats(-60, 60), st.floats(-60, 60), st.integers(3, 60))
def test_a_shift_is_reproduced_exactly(shift_x: float, shift_y: float, count: int) -> None:
    """Everywhere, not only among the points."""
    shift = np.array([shift_x, shift_y], np.float32)
    points = spread_points(count)
    flow = solve(FlowSolver(CANVAS, 8, SIZE), points, points + shift)
    assert np.abs(flow - identity() - shift).max() < 0.02


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.985, -0.174], [0.174, 0.985]],
        [[1.1, 0.0], [0.0, 1.1]],
        [[1.05, 0.08], [-0.02, 0.93]],
    ],
    ids=["rotation", "scale", "affine"],
)
def test_affine_maps_are_reproduced_within_the_points(solver: FlowSolver, matrix: list[list[float]]) -> None:
    linear = np.array(matrix, np.float32)
    middle = np.float32(SIZE / 2)
    points = np.stack(np.meshgrid(*[np.linspace(20, SIZE - 20, 9)] * 2), -1).reshape(-1, 2).astype(np.float32)
    flow = solve(solver, points, (points - middle) @ linear.T + middle)
    expected = (identity() - middle) @ linear.T + middle
    inside = np.s_[24:-24, 24:-24]
    # The ridge that keeps ill-posed cells calm costs a little of the slope.
    assert np.abs(flow - expected)[inside].max() < 1.0  # px, of up to 30 moved
    assert np.abs(flow - expected)[inside].mean() < 0.3


def test_control_points_are_met(solver: FlowSolver) -> None:
    """A smooth bend that is not an affine map."""
    points = (
        np.stack(np.meshgrid(*[np.linspace(20, SIZE - 20, 10)] * 2), -1).reshape(-1, 2).astype(np.float32)
    )
    source = points + np.stack([6 * np.sin(points[:, 1] / 60), 4 * np.cos(points[:, 0] / 50)], 1)
    flow = solve(solver, points, source.astype(np.float32))
    missed = [
        np.linalg.norm(at(flow, p) - (s + np.round(p) - p)) for p, s in zip(points, source, strict=True)
    ]
    assert np.mean(missed) < 1.0
    assert np.max(missed) < 2.5


@given(st.integers(0, 2**31), st.floats(0, 8))
def test_the_flow_stays_near_what_its_points_say(seed: int, size_px: float) -> None:
    """Any small displacements: no overshoot in the hull, and finite everywhere."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, SIZE, (30, 2)).astype(np.float32)
    moved = rng.uniform(-size_px, size_px, (30, 2)).astype(np.float32)
    flow = solve(FlowSolver(CANVAS, 8, SIZE), points, points + moved) - identity()
    assert np.isfinite(flow).all()
    assert np.abs(flow).max() <= 6 * size_px + 0.01


def test_a_box_of_the_canvas_has_the_flow_of_the_whole(solver: FlowSolver) -> None:
    points = spread_points()
    source = points + np.float32(4) * np.sin(points / 40)
    box = (60, 90, 140, 170)
    part = solve(FlowSolver(box, 5, SIZE), points, source)
    assert part.shape == (80, 80, 2)
    whole = solve(solver, points, source)[90:170, 60:140]
    assert np.abs(part - whole).max() < 0.5


def test_points_without_weight_have_no_say(solver: FlowSolver) -> None:
    points = spread_points()
    source = points + np.float32(3)
    wild = source.copy()
    wild[::2] += 80
    weights = np.ones(len(points), np.float32)
    weights[::2] = 0
    assert np.abs(solver.solve(points, wild, weights).places() - identity() - 3).max() < 0.02


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_points_shift_the_picture(solver: FlowSolver, count: int) -> None:
    points = spread_points(count)
    assert np.abs(solve(solver, points, points + np.float32(7)) - identity() - 7).max() < 0.05


# People


def person(pose: Pose | None = None) -> Landmarks:
    return Puppet(SIZE).landmarks(pose)


def flow_between(solver: FlowSolver, target: Landmarks, source: Landmarks) -> FloatArray:
    return body_pairs(solver, control_points(target), control_points(source)).flow().places()


def test_a_head_turn_moves_the_face_and_not_the_chest(solver: FlowSolver) -> None:
    source, target = person(), person(Pose(x=0.25, roll_deg=6))
    flow = flow_between(solver, target, source)
    for row in (1, 33, 263, 61, 291, 10):
        assert np.linalg.norm(at(flow, target.face[row, :2]) - source.face[row, :2]) < 2.5
    chest = target.pose[topo.SHOULDERS, :2].mean(0) + np.array([0, 20], np.float32)
    assert np.linalg.norm(at(flow, chest) - chest) < 2.5


def test_a_limb_that_moved_far_does_not_tear_the_torso(solver: FlowSolver) -> None:
    """The wrist went across the chest: the flow of the chest must stay what it was without the arm."""
    source, target = person(Pose(hands=(None, (-1.6, 0.6)))), person(Pose(hands=(None, (0.2, 2.6))))
    flow = flow_between(solver, target, source)
    x0, x1 = sorted(target.pose[topo.SHOULDERS, 0].astype(int))
    y0 = int(target.pose[topo.SHOULDERS, 1].mean())
    torso = np.s_[y0 : y0 + 40, x0:x1]
    assert np.abs((flow - identity())[torso]).max() < 4.0


def test_a_limb_that_moved_a_little_takes_its_sleeve_along(solver: FlowSolver) -> None:
    source, target = person(Pose(hands=RAISED)), person(Pose(hands=(None, (-1.3, 1.75))))
    wrist = target.pose[topo.WRISTS[RIGHT], :2]
    wanted = source.pose[topo.WRISTS[RIGHT], :2] - wrist
    found = at(flow_between(solver, target, source), wrist) - np.round(wrist)
    assert found @ wanted > 0.4 * wanted @ wanted


def test_limbs_and_face_do_not_drag_the_trunk(solver: FlowSolver) -> None:
    """Arms are patches of their own, and a turned head once dragged the collar along."""
    source, target = person(Pose(hands=RAISED)), person(Pose(x=0.25, yaw_deg=10, hands=(None, (-1.3, 1.75))))
    trunk, body = (
        pairs(solver, control_points(target), control_points(source)).flow().places()
        for pairs in (trunk_pairs, body_pairs)
    )
    wrist = target.pose[topo.WRISTS[RIGHT], :2]
    chest = target.pose[topo.SHOULDERS, :2].mean(0)
    wanted = source.pose[topo.SHOULDERS, :2].mean(0) - chest
    for place in (wrist, chest):
        assert np.linalg.norm(at(trunk, place) - np.round(place) - wanted) < 1.0
    assert np.linalg.norm(at(body, wrist) - np.round(wrist) - wanted) > 2.0
    nose = target.face[4, :2]
    assert np.linalg.norm(at(trunk, nose) - source.face[4, :2]) < 2.0


def test_unseen_parts_carry_nothing() -> None:
    points = control_points(replace(person(), face_confidence=0.0))
    seen = control_points(person())
    assert points.weights.shape == seen.weights.shape
    assert (points.weights > 0).sum() < (seen.weights > 0).sum()
    assert not control_points(Landmarks(SIZE, SIZE)).weights.any()


def shifted(box: tuple[int, int, int, int], by: float) -> Flow:
    return Flow(box, np.full((2, 2, 2), by, np.float32))


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 3), (SIZE, SIZE, 4)], ids=["1", "3", "4"])
def test_remap_fetches_and_repeats_the_edge(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(remap(image, shifted(CANVAS, 0)), image)
    moved = remap(image, shifted(CANVAS, 10))
    assert np.array_equal(moved[:-10, :-10], image[10:, 10:])
    assert np.array_equal(moved[-1, -1], image[-1, -1])
    box = (30, 50, 90, 80)
    assert np.array_equal(remap(image, shifted(box, -5)), image[45:75, 25:85])


def test_nobody_having_a_say_moves_nothing(solver: FlowSolver) -> None:
    points = spread_points()
    flow = solver.solve(points, points + np.float32(5), np.zeros(len(points), np.float32))
    assert np.array_equal(flow.places(), identity())


def test_a_fetch_between_pixels_keeps_fine_detail() -> None:
    """Half a pixel off, where a bilinear one would leave half of what is finer than four pixels a wave."""
    waves = np.arange(SIZE) * (2 * np.pi / 3.2)
    image = np.broadcast_to(128 + 60 * np.sin(waves), (SIZE, SIZE)).astype(np.uint8)
    kept = remap(np.ascontiguousarray(image), shifted(CANVAS, 0.5))[20:-20, 20:-20].std() / image.std()
    assert kept > 0.75  # bilinear: 0.56
