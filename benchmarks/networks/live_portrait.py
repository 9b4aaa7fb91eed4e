"""The compute graph of a warping portrait animator, LivePortrait's (arXiv:2407.03168), for one picture.

Motion from the picture (a ConvNeXt), a dense motion field from 21 points (an hourglass of 3-D convolutions),
a volume of features warped by it, and a decoder with spatially adaptive normalisation (SPADE,
arXiv:1903.07291) that doubles its sides three times. By published shapes, with random weights: it takes about
the time of the real one and makes no picture worth looking at. Needs torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POINTS, DEPTH, CELLS, FEATURES = 21, 16, 64, 32
_WIDTHS = (32, 64, 128, 256, 512, 1024)


class _Spade(nn.Module):
    """Normalises, then scales and shifts by what the features say of each place."""

    def __init__(self, width: int, label: int = 256) -> None:
        super().__init__()
        self.shared = nn.Conv2d(label, 128, 3, padding=1)
        self.scale_shift = nn.Conv2d(128, 2 * width, 3, padding=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        label = F.interpolate(label, size=x.shape[2:], mode="nearest")
        scale, shift = self.scale_shift(F.relu(self.shared(label))).chunk(2, 1)
        return F.leaky_relu(F.instance_norm(x) * (1 + scale) + shift, 0.2)


class _SpadeBlock(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.first, self.last = _Spade(width), _Spade(out)
        self.to_out, self.kept = nn.Conv2d(width, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.beside = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        changed = self.kept(self.last(self.to_out(self.first(x, label)), label))
        result: Tensor = self.beside(x) + changed
        return result


class LivePortraitShaped(nn.Module):
    """Picture (1, 3, 256, 256) and a volume (1, 32, 16, 64, 64) to a picture (1, 3, 512, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 96, 4, stride=4)
        motion: list[nn.Module] = []
        for width, following, blocks in ((96, 192, 3), (192, 384, 3), (384, 768, 9), (768, 0, 3)):
            for _ in range(blocks):
                motion += [nn.Conv2d(width, width, 7, padding=3, groups=width)]
                motion += [nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)]
            motion += [nn.Conv2d(width, following, 2, stride=2)] if following else []
        self.motion, self.points = nn.Sequential(*motion), nn.Linear(768, 3 * POINTS)
        narrow = nn.Conv3d(FEATURES, 4, 1)
        inside = (POINTS + 1) * 5
        pairs = list(zip((inside, *_WIDTHS[1:]), _WIDTHS[1:], strict=False))
        self.narrow = narrow
        self.down = nn.ModuleList(nn.Conv3d(a, b, 3, padding=1) for a, b in pairs)
        ups = [(1024, 512), (1024, 256), (512, 128), (256, 64), (128, 32)]
        self.up = nn.ModuleList(nn.Conv3d(a, b, 3, padding=1) for a, b in ups)
        self.mask = nn.Conv3d(32 + inside, POINTS + 1, 7, padding=3)
        self.flat = nn.Sequential(nn.Conv2d(FEATURES * DEPTH, 256, 3, padding=1), nn.Conv2d(256, 256, 1))
        self.widen = nn.Conv2d(256, 512, 3, padding=1)
        self.middle = nn.ModuleList(_SpadeBlock(512, 512) for _ in range(6))
        self.up_first, self.up_last = _SpadeBlock(512, 256), _SpadeBlock(256, 64)
        self.out = nn.Conv2d(64, 12, 3, padding=1)

    def forward(self, picture: Tensor, volume: Tensor) -> Tensor:
        points = self.points(self.motion(self.stem(picture)).mean((2, 3))).reshape(1, POINTS, 3)
        label = self.flat(self.warped(volume, points))
        x = self.widen(label)
        for block in self.middle:
            x = block(x, label)
        x = self.up_first(F.interpolate(x, scale_factor=2.0), label)
        x = self.up_last(F.interpolate(x, scale_factor=2.0), label)
        return F.pixel_shuffle(self.out(x), 2).sigmoid()

    def warped(self, volume: Tensor, points: Tensor) -> Tensor:
        """(1, 512, 64, 64): the volume where the points have moved, its depth as channels."""
        axes = [torch.linspace(-1, 1, count, device=volume.device) for count in (DEPTH, CELLS, CELLS)]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).to(volume.dtype)
        shifts = F.pad(points, (0, 0, 1, 0)).reshape(-1, 1, 1, 1, 3)
        moved = grid + shifts  # (points and background, depth, rows, columns, 3)
        small = self.narrow(volume).expand(POINTS + 1, -1, -1, -1, -1)
        each = F.grid_sample(small, moved, align_corners=True)
        heat = (-50 * (grid - shifts).square().sum(-1)).exp()[:, None]
        x = inside = torch.cat([heat, each], 1).reshape(1, -1, DEPTH, CELLS, CELLS)
        kept = []
        for down in self.down:
            x = F.avg_pool3d(F.relu(down(x)), (1, 2, 2))
            kept.append(x)
        for index, up in enumerate(self.up):
            x = F.relu(up(F.interpolate(x, scale_factor=(1.0, 2.0, 2.0))))
            x = x if index == len(self.up) - 1 else torch.cat([x, kept[-2 - index]], 1)
        share = self.mask(torch.cat([x, inside], 1)).softmax(1)[0, :, ..., None]
        return F.grid_sample(volume, (share * moved).sum(0)[None], align_corners=True).flatten(1, 2)
