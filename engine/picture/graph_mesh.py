"""The face mesh of the guidance in the one graph, without drawing a triangle: its colours and its outline.

Colours change slowly over a face: they are interpolated from the triangles' middles by inverse distance
(Shepard, ACM National Conference 1968) on a coarse grid. The outline is sharp: of each row all between the
leftmost and the rightmost point of what faces the camera, as faces have no holes. Needs torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.person import topology as topo
from engine.render.guidance import mesh_colours

CELLS = 48  # of the colours' grid over the face
REACH_PX = 1.0  # at 256 px of canvas: nearer than this, a triangle no longer gains say
_OUTSIDE = 1e4  # px


class FaceMesh(nn.Module):
    """Draws it on guidance of half the canvas's size."""

    triangles: Tensor
    colours: Tensor

    def __init__(self, canvas_px: int) -> None:
        super().__init__()
        self.size, self.reach_px = canvas_px // 2, REACH_PX * canvas_px / 256
        _, triangles = topo.canonical_face()
        self.register_buffer("triangles", torch.from_numpy(triangles.T.copy()), persistent=False)
        colours = torch.from_numpy(mesh_colours()).float()
        weights = torch.cat([colours, torch.ones_like(colours[:, :1])], 1)
        self.register_buffer("colours", weights, persistent=False)

    def forward(self, face: Tensor) -> Tensor:
        """(1, 3, size, size) 0..255. face: vertices (1, V, 2), px of the canvas; all 0: nothing is drawn."""
        corners = face[0, self.triangles.flatten()].reshape(3, -1, 2) / 2.0 - 0.5
        a, b, c = corners
        facing = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) < 0.0
        low, high = corners.amin((0, 1)), corners.amax((0, 1))
        cell = (high - low).clamp(min=1.0) / CELLS
        middles = low + (torch.arange(CELLS, device=face.device)[:, None] + 0.5) * cell
        centroids = corners.mean(0)
        away = ((middles[:, None] - centroids) / self.reach_px).square() + 0.5  # (CELLS, T, 2)
        away = away[:, None, :, 1] + away[None, :, :, 0]
        near = facing / (away * away * away)
        sums = near.flatten(0, 1) @ self.colours
        coloured = (sums[:, :3] / sums[:, 3:].clamp(min=1e-20)).T.reshape(1, 3, CELLS, CELLS)

        index = torch.arange(self.size, device=face.device).float()
        across = torch.stack(
            [
                ((index - low[0]) / cell[0] - 0.5)[None].expand(self.size, -1),
                ((index - low[1]) / cell[1] - 0.5)[:, None].expand(-1, self.size),
            ],
            -1,
        )
        maps = F.grid_sample(
            coloured, across[None] * (2.0 / (CELLS - 1)) - 1.0, padding_mode="border", align_corners=True
        )
        ends = corners[[1, 2, 0]].flatten(0, 1)
        return maps * filled(corners.flatten(0, 1), ends, facing.repeat(3), self.size)


def filled(starts: Tensor, ends: Tensor, counts: Tensor, size: int) -> Tensor:
    """(size, size) 1 from the leftmost to the rightmost edge of each row, else 0.

    starts, ends: (E, 2) px, where pixel middles are whole numbers; counts: (E,) bool, edges that there are.
    """
    index = torch.arange(size, device=starts.device).float()
    rows = index[:, None]
    rise, run = ends[:, 1] - starts[:, 1], ends[:, 0] - starts[:, 0]
    steep = rise.abs() > 1e-6
    along = ((rows - starts[:, 1]) / torch.where(steep, rise, torch.ones_like(rise))).clamp(0.0, 1.0)
    x = starts[:, 0] + along * run
    top, bottom = torch.minimum(starts[:, 1], ends[:, 1]), torch.maximum(starts[:, 1], ends[:, 1])
    meets = counts & (rows >= top - 0.5) & (rows <= bottom + 0.5)
    first = torch.where(meets, x, torch.full_like(x, _OUTSIDE)).amin(1, keepdim=True)
    last = torch.where(meets, x, torch.full_like(x, -_OUTSIDE)).amax(1, keepdim=True)
    return ((index >= first - 0.5) & (index <= last + 0.5)).float()
