"""The finished picture: what the network painted, fine detail of the prior, the person over the plate.

A network that learns from squared errors paints the mean of what could be there: right on average, and soft.
Where its picture and the prior agree in the coarse, the prior's fine part takes the place of its own; where
they differ the prior is wrong, and its detail with it. A network of half the canvas's size corrects the
prior's coarse part alone. Knows nothing of networks.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.arrays import FloatArray, U8Image
from engine.render import kernels
from engine.render.prior import Prior

FINE_PX = 7  # at 256 px: what a blur of this width takes away is fine
# Levels of 255 by which the coarse parts may differ. On the presenter 12 gains 0.28 dB and a fifth in
# sharpness, on footage with moving sleeves it costs 0.14 dB and gains as much.
AGREE = 12.0
_TRUST = np.exp(-((np.arange(256) / AGREE) ** 2)).astype(np.float32)


def fine_px(size: int) -> int:
    """Width of that blur on a canvas of so many px."""
    return max(3, FINE_PX * size // 256) | 1


class Composer:
    """Finishes pictures over one plate, (S, S, 3) uint8. Its buffers are reused: one caller."""

    def __init__(self, plate: U8Image) -> None:
        self._plate = plate
        self._fine_px = fine_px(len(plate))
        self._painted, self._coarse, self._coarse_prior = (np.empty_like(plate) for _ in range(3))

    def compose(self, clean: FloatArray, fed: FloatArray, prior: Prior, out: U8Image) -> None:
        """The picture, into `out` (S, S, 3) uint8.

        clean: float32, about [-1, 1], what the network made of `fed`; both (3, S, S), the prior, or half as
        large, the shrunk prior. Away from the person the plate stays as it is.
        """
        fine = self._fine_px, self._fine_px
        if clean.shape[1] == len(self._plate):
            kernels.into_picture(clean, self._painted)
        else:
            kernels.correct(prior.rgb, clean, fed, self._painted)
        cv2.blur(self._painted, fine, dst=self._coarse)
        cv2.blur(prior.rgb, fine, dst=self._coarse_prior)
        kernels.finish(
            self._painted, self._coarse, prior.rgb, self._coarse_prior, _TRUST, prior.near, self._plate, out
        )
