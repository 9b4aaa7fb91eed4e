"""Sampling: the noise levels of a frame's denoising steps, and what comes of them.

Each step is another draw: the warm start is noised anew and denoised, and the picture is the mean of the
steps. A chain in which each step starts from the last one's picture lost 0.3 dB with the second step, since
the network trusts its own pictures; the mean gains with every step, if little. Pure functions; the network is
a callable. Knows nothing of runners.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.errors import SettingsError
from engine.render import kernels
from engine.render.planes import to_picture

Denoise = Callable[[FloatArray, float], FloatArray]  # (noisy (1, 3, S, S), noise level) -> clean (1, 3, S, S)

STEADY_LEVEL = 0.3  # a frame that follows another: keep the warm start's layout, renew its detail
START_LEVEL = 1.0  # first frame, or a jump: nothing to keep
MAX_STEPS = 8
DRAW_SHIFT_PX = (31, 57)  # the noise field shifted by so much, around its edges, is another draw


def check_steps(steps: int) -> None:
    """Raises SettingsError for a number of steps outside 1..8."""
    if not 1 <= steps <= MAX_STEPS:
        raise SettingsError(f"steps={steps}: must be 1 to {MAX_STEPS}")


def noised(
    picture: U8Image, noise: FloatArray, level: float, draw: int = 0, out: FloatArray | None = None
) -> FloatArray:
    """The picture at level 0, noise at level 1, straight in between (rectified flow, Liu et al.,
    arXiv:2209.03003): (1, 3, S, S) float32, into `out` where it is given.

    picture: (S, S, 3) uint8, which stands for [-1, 1]; noise: (1, 3, S, S) float32; draw: which of the draws
    that the noise field can give.
    """
    planes = np.empty_like(noise) if out is None else out
    down, right = (draw * shift for shift in DRAW_SHIFT_PX)
    size = len(picture)
    kernels.add_noise(picture, noise[0], np.float32(level), down % size, right % size, planes[0])
    return planes


def sample(
    denoise: Denoise,
    start: U8Image,
    noise: FloatArray,
    steps: int,
    fresh: bool,
    buffer: FloatArray | None = None,
) -> FloatArray:
    """The clean picture (1, 3, S, S).

    start: (S, S, 3) uint8, the warm start; noise: (1, 3, S, S) float32, unit variance. fresh: there is
    nothing to start from, so a step from pure noise comes first and its picture is the warm start. denoise
    may return the same array each time. buffer: (1, 3, S, S) float32, to hand to denoise; a fresh one each
    time without it. Raises SettingsError for steps outside 1..8.
    """
    check_steps(steps)
    if fresh:
        start = to_picture(denoise(noised(start, noise, START_LEVEL, out=buffer), START_LEVEL)[0])
    clean = denoise(noised(start, noise, STEADY_LEVEL, out=buffer), STEADY_LEVEL)
    if steps == 1:
        return clean
    mean = clean.copy()
    for draw in range(1, steps):
        made = denoise(noised(start, noise, STEADY_LEVEL, draw, buffer), STEADY_LEVEL)
        mean += (made - mean) / np.float32(draw + 1)
    return mean
