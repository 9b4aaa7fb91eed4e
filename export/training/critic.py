"""The critic of adversarial training: tells the denoiser's pictures from frames of the footage.

Relativistic, with zero-centred penalties on both sides (R3GAN, Huang et al., arXiv:2501.05441), the penalties
approximated by small disturbances instead of second derivatives (Lin et al., arXiv:2501.08316). Knows nothing
of denoisers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.render.guidance import GUIDANCE_CHANNELS

DISTURBANCE = 0.01  # of pictures on [-1, 1]
PENALTY_WEIGHT = 100.0  # of the squared change that a disturbance makes


class PatchCritic(nn.Module):
    """A score for every patch of a picture (PatchGAN, Isola et al., arXiv:1611.07004).

    Judges the picture together with its guidance, where there is some: sharp, but of another pose, is no
    likeness.
    """

    def __init__(self, width: int, guided: bool) -> None:
        super().__init__()
        self._guided = guided
        seen = width + (GUIDANCE_CHANNELS if guided else 0)
        self.first = nn.Conv2d(3, width, 4, stride=2, padding=1)
        self.middle = nn.ModuleList(
            [
                nn.Conv2d(seen, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            ]
        )
        self.last = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, picture: Tensor, guidance: Tensor | None = None) -> Tensor:
        """picture: (B, 3, S, S), [-1, 1]; guidance: (B, 8, S/2, S/2), 0..1. Returns (B, 1, S/8, S/8)."""
        x = _activate(self.first(picture))
        if self._guided:
            assert guidance is not None
            x = torch.cat([x, guidance], dim=1)
        for convolution in self.middle:
            x = _activate(convolution(x))
        scores: Tensor = self.last(x)
        return scores


def critic_loss(critic: PatchCritic, real: Tensor, made: Tensor, guidance: Tensor | None = None) -> Tensor:
    """What the critic minimises. real, made: (B, 3, S, S), [-1, 1], of the same poses; `made` is detached."""
    pictures = torch.cat([real, made])
    disturbed = pictures + DISTURBANCE * torch.randn_like(pictures)
    maps = None if guidance is None else guidance.repeat(4, 1, 1, 1)
    scores = critic(torch.cat([pictures, disturbed]), maps)
    of_real, of_made, of_disturbed = scores.split([len(real), len(made), len(disturbed)])
    penalty = ((torch.cat([of_real, of_made]) - of_disturbed) ** 2).mean()
    loss: Tensor = F.softplus(of_made - of_real).mean() + PENALTY_WEIGHT * penalty
    return loss


def deception_loss(critic: PatchCritic, real: Tensor, made: Tensor, guidance: Tensor | None = None) -> Tensor:
    """What the denoiser minimises: the made pictures' scores against those of the real ones."""
    maps = None if guidance is None else guidance.repeat(2, 1, 1, 1)
    of_real, of_made = critic(torch.cat([real, made]), maps).chunk(2)
    loss: Tensor = F.softplus(of_real - of_made).mean()
    return loss


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
