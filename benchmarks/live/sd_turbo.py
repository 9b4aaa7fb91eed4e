"""The compute graph that open live diffusion tools put in our denoiser's place: SD-Turbo in one step.

A picture is encoded to latents by a tiny autoencoder, denoised once by SD-Turbo's U-Net under the embedding
of one fixed prompt, and decoded: what StreamDiffusion (arXiv:2312.12491) does per frame with SD-Turbo
(arXiv:2311.17042) and TAESD. Built from diffusers' classes by published shapes, with random weights: it takes
the time of the real one and makes no picture worth looking at. Needs diffusers and torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

LATENT_SHRINK = 8  # px of the picture to a latent cell
LATENT_CHANNELS = 4
TEXT_TOKENS = 77
LAST_TIMESTEP = 999  # one step goes from there to the picture
FIRST_ALPHA = 0.0047  # cumulative, of Stable Diffusion's schedule at that step


@dataclass(frozen=True, slots=True)
class SdTurboConfig:
    """Shape of the graph; the defaults are SD-Turbo's U-Net (866 M parameters) and TAESD."""

    size_px: int = 256  # of the square picture, a multiple of 64
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    heads: tuple[int, ...] = (5, 10, 20, 20)
    text_width: int = 1024
    norm_groups: int = 32
    coder_width: int = 64

    def unet(self) -> dict[str, Any]:
        """Arguments of UNet2DConditionModel."""
        return {
            "sample_size": self.size_px // LATENT_SHRINK,
            "block_out_channels": self.widths,
            "attention_head_dim": self.heads,
            "cross_attention_dim": self.text_width,
            "norm_num_groups": self.norm_groups,
            "use_linear_projection": True,
        }

    def coder(self) -> dict[str, Any]:
        """Arguments of AutoencoderTiny."""
        widths = (self.coder_width,) * 4
        return {"encoder_block_out_channels": widths, "decoder_block_out_channels": widths}


class SdTurbo(nn.Module):
    """Picture (1, 3, S, S) float32 in [-1, 1] and latent noise (1, 4, S/8, S/8) to a picture."""

    prompt: Tensor

    def __init__(self, config: SdTurboConfig) -> None:
        super().__init__()
        self.coder = AutoencoderTiny(**config.coder())
        self.unet = UNet2DConditionModel(**config.unet())
        self.register_buffer("prompt", torch.randn(1, TEXT_TOKENS, config.text_width))

    def forward(self, picture: Tensor, noise: Tensor) -> Tensor:
        latent = self.coder.encode(picture).latents
        noised = FIRST_ALPHA**0.5 * latent + (1 - FIRST_ALPHA) ** 0.5 * noise
        guess = self.unet(noised, LAST_TIMESTEP, encoder_hidden_states=self.prompt).sample
        clean = (noised - (1 - FIRST_ALPHA) ** 0.5 * guess) / FIRST_ALPHA**0.5
        result: Tensor = self.coder.decode(clean).sample
        return result


class SdTurboOnCpu:
    """The graph in torch on so many threads of the CPU, fp32. One caller."""

    def __init__(self, config: SdTurboConfig, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.config = config
        self.module = SdTurbo(config).eval()
        side = config.size_px // LATENT_SHRINK
        self._noise = torch.randn(1, LATENT_CHANNELS, side, side)

    def run(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """rgb: (S, S, 3) uint8. Gives (1, 3, S, S) float32 without meaning."""
        picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            return np.asarray(self.module(picture, self._noise).numpy(), np.float32)
