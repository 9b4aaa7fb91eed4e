"""What the one graph computes of control points is what the steps compute: flows, gazes, mesh, outlines."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from engine.arrays import FloatArray
from engine.person import topology as topo
from engine.person.landmarks import LEFT
from engine.picture.contract import OUTLINE_POINTS
from engine.picture.graph_flows import looked, solved
from engine.picture.graph_mesh import FaceMesh, filled
from engine.render.guidance import GuidancePainter
from engine.render.patches import Gaze, clipped, eye_cell_px, face_box, head_outline, look
from engine.render.prior import PATCH_SOFTNESS
from engine.render.warp import CONTROL_POINTS, SOFTNESS, FlowSolver, Pairs, body_pairs, control_points
from tests.support.puppet import Pose, Puppet

SIZE, CELLS = 128, 32
PUPPET = Puppet(SIZE)
SOURCE = PUPPET.landmarks(Pose())
TARGET = PUPPET.landmarks(Pose(x=0.2, yaw_deg=20.0, roll_deg=10.0, hands=((-1.5, 2.2), None)))


def in_graph(pairs: Pairs, softness: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Flows, and boxes. The last points are unknown, and nowhere."""
    row = np.zeros((1, 5, CONTROL_POINTS + 2), np.float32)
    row[0, 0:2, :-2], row[0, 2:4, :-2], row[0, 4, :-2] = pairs.target.T, pairs.source.T, pairs.weights
    row[0, :4, -2:] = np.nan
    boxes = torch.tensor([[*map(float, pairs.solver.box), pairs.solver.columns, pairs.solver.rows]])
    return solved(torch.from_numpy(row), boxes, CELLS, torch.tensor([softness**2]), SIZE), boxes


def apart(found: torch.Tensor, grid: FloatArray) -> float:
    """px, of the cells that there are."""
    _, rows, columns = grid.shape
    return float(np.abs(found[0, :, :rows, :columns].numpy() - grid).max())


@pytest.mark.parametrize("box", [(0, 0, SIZE, SIZE), (40, 30, 75, 49)], ids=["canvas", "patch"])
def test_a_flow_is_the_solvers(box: tuple[int, int, int, int]) -> None:
    pairs = body_pairs(FlowSolver(box, 4, SIZE), control_points(TARGET), control_points(SOURCE))
    flow = pairs.flow()
    assert np.abs(flow.grid).max() > 3.0
    assert apart(in_graph(pairs, SOFTNESS)[0], flow.grid) < 1e-3


def test_of_points_that_nobody_knows_nothing_moves() -> None:
    pairs = body_pairs(
        FlowSolver((0, 0, SIZE, SIZE), 4, SIZE), control_points(TARGET), control_points(SOURCE)
    )
    assert not in_graph(replace(pairs, weights=0 * pairs.weights), SOFTNESS)[0].any()


def test_an_iris_slides_as_it_does_in_steps() -> None:
    box = clipped(face_box("eye_left", TARGET) or (0, 0, 0, 0), SIZE)
    assert box is not None
    face = SOURCE.face.copy()
    face[topo.IRISES[LEFT], :2] += (1.0, -0.5)
    solver = FlowSolver(box, eye_cell_px(box, SIZE), SIZE, PATCH_SOFTNESS)
    pairs = body_pairs(solver, control_points(TARGET), control_points(SOURCE))
    flows, boxes = in_graph(pairs, PATCH_SOFTNESS)
    gaze, flow = Gaze.of(LEFT, TARGET, replace(SOURCE, face=face)), pairs.flow()
    still = flow.grid.copy()
    look(flow, gaze)
    assert np.abs(flow.grid - still).max() > 0.5
    numbers = np.concatenate([gaze.centre, gaze.source, [gaze.radius]]).astype(np.float32)
    lids = torch.from_numpy(gaze.lids[None])
    assert apart(looked(flows, boxes, torch.from_numpy(numbers[None]), lids), flow.grid) < 1e-3
    assert apart(looked(flows, boxes, torch.zeros(1, 5), lids), still) < 1e-3  # no eye


@pytest.mark.parametrize("yaw_deg", [0.0, 45.0])
def test_the_mesh_is_the_one_that_is_drawn(yaw_deg: float) -> None:
    hand = (-0.1, 0.1)  # before the face
    target = PUPPET.landmarks(Pose(yaw_deg=yaw_deg, hands=(None, hand)))
    painter = GuidancePainter(SIZE)
    drawn = painter.halves(target)[1][..., :3].astype(np.float32)
    free = painter.halves(target, mesh=False)[1][..., 0]
    assert 0 < (free < 255).sum() < free.size / 4
    vertices = torch.from_numpy(target.face[None, :468, :2].copy())
    found = FaceMesh(SIZE)(vertices)[0].permute(1, 2, 0).numpy() * (free[..., None] / 255)
    there, both = drawn.any(2), drawn.any(2) & found.any(2)
    assert (there != found.any(2)).sum() < 0.03 * there.sum()
    assert np.abs(drawn - found)[both].mean() < 6.0
    assert not FaceMesh(SIZE)(0 * vertices).any()


def test_an_outline_is_filled() -> None:
    outline = head_outline(TARGET)
    wanted = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(wanted, outline, 1)
    padded = np.concatenate([outline, outline[-1:].repeat(OUTLINE_POINTS - len(outline), 0)])
    starts = torch.from_numpy(padded.astype(np.float32))
    all_of_them = torch.ones(len(starts), dtype=torch.bool)
    found = filled(starts, starts.roll(-1, 0), all_of_them, SIZE).numpy()
    assert (found != wanted).sum() < 0.01 * wanted.sum()
