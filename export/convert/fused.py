"""A denoiser fused for running: the same function of the same weights, in operations that run faster.

Pixel-unshuffle followed by a 1x1 convolution is one convolution as wide as its stride, exactly: so nothing is
shuffled, concatenated or rescaled on the way in. Only for export; training and stored weights keep the plain
form.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from engine.network.denoiser import Denoiser


class FusedDenoiser(nn.Module):
    """Takes and gives what the Denoiser does, with parts that it shares with it; built once, not trained."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network
        factor, fine = network.factor, network.config.widths[0]
        pixels = 3 * factor**2
        weight, bias = network.stem.weight.detach(), network.stem.bias
        assert bias is not None  # as the Denoiser makes it
        noisy, prior, guidance = weight.tensor_split((pixels, 2 * pixels), dim=1)
        self.noisy = _strided(noisy, factor)
        self.prior = _strided(prior, factor)
        # guidance enters as 2 g - 1: the 2 goes into the weights, the -1 into the bias.
        self.guidance = _strided(2.0 * guidance, factor // 2)
        with torch.no_grad():
            offset = bias.detach() - guidance.sum(dim=(1, 2, 3))
            self.guidance.bias = nn.Parameter(offset.reshape(fine))

    def forward(self, noisy: Tensor, prior: Tensor, guidance: Tensor, noise_level: Tensor) -> Tensor:
        """As `Denoiser.forward`."""
        return self.network.correct(self.stem(noisy, prior, guidance), prior, noise_level)

    def stem(self, noisy: Tensor, prior: Tensor, guidance: Tensor) -> Tensor:
        """What the Denoiser's stem makes of these inputs."""
        summed: Tensor = self.noisy(noisy) + self.prior(prior) + self.guidance(guidance)
        return summed


class HalfDenoiser(nn.Module):
    """The fused denoiser in float16; inputs, output, noise level and the sum with the prior are float32.

    Only the correction of the prior is rounded, and it is small.
    """

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        network = deepcopy(network)
        frequencies = network.frequencies.clone()
        self.fused = FusedDenoiser(network).half()
        network.embed.float()  # its sines would lose their phase
        network.frequencies = frequencies

    def forward(self, noisy: Tensor, prior: Tensor, guidance: Tensor, noise_level: Tensor) -> Tensor:
        """As `Denoiser.forward`."""
        stem = self.fused.stem(noisy.half(), prior.half(), guidance.half())
        return self.fused.network.correct(stem, prior, noise_level)


def _strided(weight: Tensor, stride: int) -> nn.Conv2d:
    """The 1x1 convolution `weight` on pixel-unshuffled input as one on the input itself; no bias yet."""
    unshuffled = weight.shape[1] // stride**2
    convolution = nn.Conv2d(unshuffled, weight.shape[0], stride, stride=stride, bias=False)
    convolution.weight = nn.Parameter(weight.reshape(weight.shape[0], unshuffled, stride, stride).clone())
    return convolution
