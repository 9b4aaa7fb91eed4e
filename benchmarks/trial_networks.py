"""Denoisers with parts that were tried and measured, and are not part of the product: see `ablation`.

`AttendingDenoiser` looks up texture in reference frames, `FlowingDenoiser` moves the prior before it is
corrected, `adapted` trains low-rank changes of the weights alone. All keep the inputs and the output of
`engine.denoiser.Denoiser`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from engine.denoiser import EMBEDDING, Denoiser, DenoiserConfig, ModulatedBlock, activate
from engine.guidance import GUIDANCE_CHANNELS

HEADS, KEY_WIDTH, HIDDEN = 4, 32, 64
CELL = 16  # canvas pixels to a cell of the coarse level, at 256 px
MAX_FLOW_PX = 8.0


class AttendingDenoiser(Denoiser):
    """With attention to reference frames after the first coarse block.

    Structure in queries and keys, pure texture in values, after TALK-Act (Guan et al., arXiv:2410.10696).
    rgb: (R, 3, S, S), [-1, 1]; guidance: (R, 8, S/2, S/2), 0..1, of the reference frames.
    """

    rgb: Tensor
    structure: Tensor

    def __init__(self, config: DenoiserConfig, rgb: Tensor, guidance: Tensor) -> None:
        super().__init__(config)
        self.register_buffer("rgb", rgb)
        self.register_buffer("structure", guidance)
        width, keys = config.widths[2], HEADS * KEY_WIDTH
        self.key = nn.Sequential(
            nn.Conv2d(GUIDANCE_CHANNELS, HIDDEN, CELL // 2, stride=CELL // 2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(HIDDEN, keys, 3, padding=1),
        )
        self.value = nn.Sequential(
            nn.Conv2d(3, HIDDEN, 4, stride=4), nn.LeakyReLU(0.1), nn.Conv2d(HIDDEN, width, 4, stride=4)
        )
        self.query = nn.Conv2d(width, keys, 1)
        self.found = nn.Conv2d(width, width, 1)
        for parameter in self.found.parameters():
            nn.init.zeros_(parameter)

    def at_coarse(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.coarse[0](x, embedding)
        key, value = _memory(self.key(self.structure)), _memory(self.value(self.rgb))
        asked: Tensor = self.query(activate(x))
        query = asked.reshape(len(x), HEADS, KEY_WIDTH, -1).transpose(2, 3)
        found = torch.softmax(query @ key * KEY_WIDTH**-0.5, dim=-1) @ value.transpose(2, 3)
        x = x + self.found(found.transpose(2, 3).reshape(x.shape))
        for block in self.coarse[1:]:
            x = block(x, embedding)
        return x


def _memory(x: Tensor) -> Tensor:
    """(R, C, h, w) of the references to (1, HEADS, C / HEADS, R h w)."""
    return x.permute(1, 0, 2, 3).reshape(1, HEADS, x.shape[1] // HEADS, -1)


class FlowingDenoiser(Denoiser):
    """With a residual flow on the prior, after MRFA (Tao et al., NeurIPS 2024): moved, then looked at again.

    The flow has 64 cells and reaches MAX_FLOW_PX at 256 px.
    """

    places: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__(config)
        fine = config.widths[0]
        self.flow = nn.Conv2d(fine, 2, 3, padding=1)
        for parameter in self.flow.parameters():
            nn.init.zeros_(parameter)
        self.look_again = nn.Conv2d(3 * self.factor**2, fine, 1)
        self.fine_again = ModulatedBlock(fine, EMBEDDING)
        line = (torch.arange(config.size) + 0.5) * (2.0 / config.size) - 1.0
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("places", torch.stack([x, y], -1)[None], persistent=False)

    def finish(self, x: Tensor, prior: Tensor, embedding: Tensor) -> Tensor:
        flow = torch.tanh(self.flow(activate(x))) * (MAX_FLOW_PX / 128)
        shift = F.interpolate(flow, size=prior.shape[2:], mode="bilinear", align_corners=False)
        moved = F.grid_sample(
            prior, self.places + shift.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
        )
        x = self.fine_again(x + self.look_again(F.pixel_unshuffle(moved, self.factor)), embedding)
        return super().finish(x, moved, embedding)


class _LowRank(nn.Module):
    """A weight plus the product of two thin matrices; the product starts at zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).reshape(weight.shape)


def adapted(network: Denoiser, rank: int) -> Denoiser:
    """The network with its weights frozen and a low-rank change of each to train, and its biases.

    After LoRA (Hu et al., arXiv:2106.09685). Changed in place.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.requires_grad_(False)
            parametrize.register_parametrization(module, "weight", _LowRank(module.weight, rank))
    return network
