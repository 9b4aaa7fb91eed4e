"""Flows of the one graph: moving least squares and the sliding irises, as products of matrices.

What `engine.render.warp.FlowSolver` and `engine.render.patches.look` do, for all flows at once. Sums are
taken about the middle of each box, where float32 has digits to spare; a product in TF32 would lose them.
Needs torch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.render.patches import IRIS_GAIN, IRIS_GIVES_WAY, IRIS_REACH, LID_EDGE
from engine.render.warp import RIDGE


def cell_places(boxes: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """(R, cells) px each: the middles of the cells of grids along x and along y; what lies past them is idle.

    boxes: (R, 6) x0, y0, x1, y1 px, then columns and rows.
    """
    along = torch.arange(cells, device=boxes.device) + 0.5
    x0, y0, x1, y1, columns, rows = boxes[:, :, None].unbind(1)
    return x0 + along * (x1 - x0) / columns.clamp(min=1.0), y0 + along * (y1 - y0) / rows.clamp(min=1.0)


def solved(pairs: Tensor, boxes: Tensor, cells: int, softness: Tensor, size: int) -> Tensor:
    """(R, 2, cells, cells) px: the shifts by which what is at the targets is fetched from the sources.

    pairs: (R, 5, N) x and y of the target px, of the source px, weight; boxes: see `cell_places`; softness:
    (R,) shares of the canvas of `size` px, squared.
    """
    middles = (boxes[:, 0:2] + boxes[:, 2:4]) / 2.0
    said = pairs[:, 4:] > 0.0  # what nobody knows may lie anywhere
    target = torch.where(said, (pairs[:, 0:2] - middles[:, :, None]) / size, torch.zeros_like(pairs[:, 0:2]))
    shift = torch.where(said, (pairs[:, 2:4] - pairs[:, 0:2]) / size, torch.zeros_like(target))
    xs, ys = (
        (place - middles[:, axis : axis + 1]) / size for axis, place in enumerate(cell_places(boxes, cells))
    )
    away_x = (xs[:, :, None] - target[:, None, 0]).square() + softness[:, None, None]
    away_y = (ys[:, :, None] - target[:, None, 1]).square()
    away = away_y[:, :, None] + away_x[:, None]  # (R, rows, columns, N)
    near = pairs[:, 4][:, None, None] / (away * away)

    x, y, dx, dy = (*target.unbind(1), *shift.unbind(1))
    terms = torch.stack(
        [torch.ones_like(x), x, y, x * x, x * y, y * y, dx, dy, x * dx, y * dx, x * dy, y * dy], -1
    )
    sums = near.flatten(1, 2) @ terms
    total, *rest = sums.unbind(-1)
    each = torch.where(total > 0.0, 1.0 / total.clamp(min=1e-12), torch.zeros_like(total))
    mx, my, mxx, mxy, myy, sx, sy, sxx, syx, sxy, syy = (one * each for one in rest)
    cxx, cxy, cyy = mxx - mx * mx + RIDGE, mxy - mx * my, myy - my * my + RIDGE
    determinant = cxx * cyy - cxy * cxy
    node_x = xs[:, None].expand(-1, cells, -1).flatten(1)
    node_y = ys[:, :, None].expand(-1, -1, cells).flatten(1)
    from_x, from_y = node_x - mx, node_y - my
    along_x = (cyy * from_x - cxy * from_y) / determinant
    along_y = (cxx * from_y - cxy * from_x) / determinant
    shift_x = sx + along_x * (sxx - mx * sx) + along_y * (syx - my * sx)
    shift_y = sy + along_x * (sxy - mx * sy) + along_y * (syy - my * sy)
    shifts = torch.stack([shift_x, shift_y], 1).reshape(-1, 2, cells, cells)
    return shifts * size


def looked(flows: Tensor, boxes: Tensor, gazes: Tensor, lids: Tensor) -> Tensor:
    """Flows of eyes, (E, 2, cells, cells) px, with the irises where they are to be.

    gazes: (E, 5) px, the iris's middle, where the source has it, its radius; lids: (E, 2, K, 2) px, see
    `engine.render.patches.Gaze`. A radius of 0 is no eye.
    """
    cells = flows.shape[-1]
    centre, source, radius = gazes[:, 0:2], gazes[:, 2:4], gazes[:, 4:].clamp(min=1e-3)
    low, high, count = (boxes[:, at : at + 2] for at in (0, 2, 4))
    here = (centre - low) * count / (high - low).clamp(min=1.0) - 0.5
    here = torch.minimum(here.clamp(min=0.0), (count - 1.0).clamp(min=0.0)) * (2.0 / (cells - 1)) - 1.0
    shift = F.grid_sample(flows, here[:, None, None], padding_mode="border", align_corners=True)[..., 0, 0]
    missing = IRIS_GAIN * (source - centre - shift)
    far = missing.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)
    missing = missing * (IRIS_REACH * radius / far).clamp(max=1.0)

    xs, ys = cell_places(boxes, cells)
    x, y, wide = xs[:, None], ys[:, :, None], radius[:, :, None]
    away = ((x - centre[:, None, 0:1]).square() + (y - centre[:, None, 1:]).square()).sqrt() / wide
    near = _smooth((IRIS_GIVES_WAY - away) / (IRIS_GIVES_WAY - 1.0))
    lower, upper = _lid(lids[:, 0], xs)[:, None], _lid(lids[:, 1], xs)[:, None]
    depth = torch.minimum(lower - y, y - upper)
    share = near * _smooth(depth / (LID_EDGE * wide)) * (gazes[:, 4:, None] > 0.0)
    return flows + share[:, None] * missing[:, :, None, None]


def _lid(points: Tensor, xs: Tensor) -> Tensor:
    """(E, cells) px: how high a lid, (E, K, 2) from left to right, is at each of xs, (E, cells)."""
    start, step = points[:, :-1], points[:, 1:] - points[:, :-1]
    along = ((xs[:, :, None] - start[:, None, :, 0]) / step[:, None, :, 0].clamp(min=1e-6)).clamp(0.0, 1.0)
    return points[:, :1, 1] + (along * step[:, None, :, 1]).sum(-1)


def _smooth(value: Tensor) -> Tensor:
    """0 below 0, 1 above 1, eased between."""
    way = value.clamp(0.0, 1.0)
    return way * way * (3.0 - 2.0 * way)
