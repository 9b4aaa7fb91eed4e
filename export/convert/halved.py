"""A denoiser of half its canvas, from the same weights and without training.

Stem and head are linear in pixels. Fed with a picture that is the same over each 2 x 2, the stem sums its
weights over them; and the mean over each 2 x 2 of what the head paints is that of its weights. So this is the
large network on pictures without their finest octave, of which it gives the change without its finest octave,
exactly; in between nothing differs. Only for export.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.network.denoiser import Denoiser


def halved(network: Denoiser) -> Denoiser:
    """A new network of half the side, which must be an even number of its pixels a cell."""
    factor, fine = network.factor, network.config.widths[0]
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    pixels = 3 * factor**2
    noisy, prior, guidance = state["stem.weight"].tensor_split((pixels, 2 * pixels), dim=1)
    summed = [_blocks(part, side, 1).sum(dim=(3, 5)) for part, side in _with(factor, noisy, prior, guidance)]
    state["stem.weight"] = torch.cat([part.reshape(fine, -1, 1, 1) for part in summed], dim=1)
    for name in ("head.weight", "head.bias"):
        state[name] = _blocks(state[name], factor, 0).mean(dim=(2, 4)).flatten(0, 2)
    small = Denoiser(replace(network.config, size=network.config.size // 2))
    small.load_state_dict(state)
    return small.eval()


def _with(factor: int, noisy: Tensor, prior: Tensor, guidance: Tensor) -> list[tuple[Tensor, int]]:
    """Each part of the stem with the side of its cells."""
    return [(noisy, factor), (prior, factor), (guidance, factor // 2)]


def _blocks(weight: Tensor, side: int, at: int) -> Tensor:
    """The channels, which are cells of side x side pixels, as (..., channels, rows, 2, columns, 2, ...)."""
    half = side // 2
    return weight.reshape(*weight.shape[:at], -1, half, 2, half, 2, *weight.shape[at + 1 :])
