"""Names of the arrays that travel between modules; their docstrings give shapes, ranges and units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8Image = NDArray[np.uint8]  # (H, W, C) or (H, W), 0..255
FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
