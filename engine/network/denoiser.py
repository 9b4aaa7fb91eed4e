"""The denoiser: a small U-Net in pixel space that predicts the clean picture.

Given a noised picture, the noise level, a warped prior and guidance maps it returns the clean picture
directly (x0-prediction, Salimans and Ho, arXiv:2202.00512), as a correction of the prior. The only engine
module besides `torch_runner` that needs torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import SettingsError
from engine.render.guidance import GUIDANCE_CHANNELS

GRID = 64  # cells across the canvas at the U-Net's finest level, at every canvas size
EMBEDDING = 64  # numbers that tell the noise level
MAX_WIDTH, MAX_BLOCKS = 1024, 16
_LEVEL_FREQUENCIES = 8


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Shape of the U-Net. The default takes about 1.5 GMAC at 256 px."""

    size: int = 256  # px of the square canvas, multiple of 128: 64 cells of whole guidance pixels
    widths: tuple[int, int, int] = (48, 96, 160)  # channels at 64, 32 and 16 cells
    middle_blocks: int = 3
    fine_blocks: int = 2  # at 64 cells, on the way up

    def __post_init__(self) -> None:
        step = 2 * GRID  # guidance has half the size, and its cells are whole pixels too
        if self.size < step or self.size % step:
            raise SettingsError(f"size={self.size}: must be a multiple of {step}")
        numbers = (self.size, *self.widths, self.middle_blocks, self.fine_blocks)
        if any(type(number) is not int for number in numbers) or len(self.widths) != 3:
            raise SettingsError(f"widths={self.widths}, blocks and size: must be integers, three widths")
        if not all(1 <= width <= MAX_WIDTH for width in self.widths):
            raise SettingsError(f"widths={self.widths}: must be from 1 to {MAX_WIDTH}")
        for name in ("middle_blocks", "fine_blocks"):
            if not 1 <= getattr(self, name) <= MAX_BLOCKS:
                raise SettingsError(f"{name}={getattr(self, name)}: must be from 1 to {MAX_BLOCKS}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for storing."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DenoiserConfig:
        """Inverse of `to_dict`. Raises TypeError, KeyError or SettingsError where it is not one."""
        return cls(**{**values, "widths": tuple(values["widths"])})


class ModulatedBlock(nn.Module):
    """Two convolutions in a residual, modulated by the noise level (FiLM, Perez et al., arXiv:1709.07871).

    No normalisation: the last convolution starts at zero, which trains as well at this depth and is cheaper.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        for parameter in (*self.last.parameters(), *self.modulation.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(activate(x)) * (1 + scale) + shift
        change: Tensor = self.last(activate(hidden))
        return x + change


class Denoiser(nn.Module):
    """See the module.

    Takes what `engine.network.contract.denoiser_inputs` says, any batch size; gives "clean".
    """

    frequencies: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.factor = config.size // GRID
        self.embed = nn.Sequential(
            nn.Linear(2 * _LEVEL_FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )
        channels = 2 * 3 * self.factor**2 + GUIDANCE_CHANNELS * (self.factor // 2) ** 2
        self.stem = nn.Conv2d(channels, fine, 1)
        self.fine_in = ModulatedBlock(fine, EMBEDDING)
        self.down_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in = ModulatedBlock(middle, EMBEDDING)
        self.down_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(ModulatedBlock(coarse, EMBEDDING) for _ in range(config.middle_blocks))
        self.up_middle = nn.Conv2d(coarse, middle, 1)
        self.middle_out = nn.ModuleList(ModulatedBlock(middle, EMBEDDING) for _ in range(2))
        self.up_fine = nn.Conv2d(middle, fine, 1)
        self.fine_out = ModulatedBlock(fine, EMBEDDING)
        self.fine_more = nn.ModuleList(ModulatedBlock(fine, EMBEDDING) for _ in range(config.fine_blocks - 1))
        self.head = nn.Conv2d(fine, 3 * self.factor**2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        octaves = torch.arange(_LEVEL_FREQUENCIES, dtype=torch.float32)
        self.register_buffer("frequencies", torch.pi * 2.0 ** (octaves / 2.0), persistent=False)

    def forward(self, noisy: Tensor, prior: Tensor, guidance: Tensor, noise_level: Tensor) -> Tensor:
        cells = [
            F.pixel_unshuffle(noisy, self.factor),
            F.pixel_unshuffle(prior, self.factor),
            F.pixel_unshuffle(guidance * 2.0 - 1.0, self.factor // 2),
        ]
        return self.correct(self.stem(torch.cat(cells, dim=1)), prior, noise_level)

    def correct(self, stem: Tensor, prior: Tensor, noise_level: Tensor) -> Tensor:
        """The clean picture, from what the stem makes of the inputs (N, widths[0], 64, 64), in its type."""
        phase = noise_level[:, None] * self.frequencies
        embedding = self.embed(torch.cat([phase.sin(), phase.cos()], dim=1)).to(stem.dtype)
        fine = self.fine_in(stem, embedding)
        middle = self.middle_in(self.down_middle(fine), embedding)
        x = self.down_coarse(middle)
        for block in self.coarse:
            x = block(x, embedding)
        x = F.interpolate(self.up_middle(x), scale_factor=2.0, mode="nearest") + middle
        for block in self.middle_out:
            x = block(x, embedding)
        x = F.interpolate(self.up_fine(x), scale_factor=2.0, mode="nearest") + fine
        x = self.fine_out(x, embedding)
        for block in self.fine_more:
            x = block(x, embedding)
        return prior + F.pixel_shuffle(self.head(activate(x)), self.factor)


def activate(x: Tensor) -> Tensor:
    """The network's one nonlinearity."""
    return F.leaky_relu(x, 0.1)
