"""Names of the arrays that travel between modules; their docstrings give shapes, ranges and units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I420 = NDArray[np.uint8]  # (H * 3 / 2, W), planes as encoders take them
U8Image = NDArray[np.uint8]  # (H, W, C) or (H, W), 0..255
FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
