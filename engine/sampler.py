"""Sampling: how many denoising steps a frame takes, and at which noise levels.

Pure functions; the network is a callable. Knows nothing of runners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingsError

FloatArray = NDArray[np.float32]
Denoise = Callable[[FloatArray, float], FloatArray]  # (noisy (1, 3, S, S), noise level) -> clean (1, 3, S, S)

STEADY_LEVEL = 0.3  # a frame that follows another: keep the warm start's layout, renew its detail
START_LEVEL = 1.0  # first frame, or a jump: nothing to keep
REFINE_LEVELS = (0.15, 0.08)  # steps after the first
MAX_STEPS = 1 + len(REFINE_LEVELS)


def noise_levels(steps: int, fresh: bool) -> tuple[float, ...]:
    """Noise levels of one frame's steps, falling. A fresh start takes at least two.

    Raises SettingsError for steps outside 1..3.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise SettingsError(f"steps={steps}: must be 1 to {MAX_STEPS}")
    if fresh:
        return (START_LEVEL, *REFINE_LEVELS[: max(steps, 2) - 1])
    return (STEADY_LEVEL, *REFINE_LEVELS[: steps - 1])


def noised(clean: FloatArray, noise: FloatArray, level: float) -> FloatArray:
    """clean at level 0, noise at level 1, straight in between (rectified flow, Liu et al., arXiv:2209.03003).

    clean, noise: equal shapes, float32.
    """
    return np.asarray(clean + np.float32(level) * (noise - clean), np.float32)


def sample(denoise: Denoise, start: FloatArray, noise: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Noises `start` to each level in turn and denoises it; each starts from the last one's clean picture.

    start: (1, 3, S, S) float32, [-1, 1]; noise: the same shape, unit variance. Returns the clean picture.
    """
    clean = start
    for level in levels:
        clean = denoise(noised(clean, noise, level), level)
    return clean
