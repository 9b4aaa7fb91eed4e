"""How the threads of torch's operators wait for each other.

They spin, and on cores that they share they then take the time from each other: the diffusion graph took
three times as long beside a busy program. A baseline hobbled like that would flatter us.
"""

from __future__ import annotations

import os
import sys


def wait_patiently() -> None:
    """Lets them sleep instead. To be called before torch is imported, which is when the setting is read."""
    if "torch" in sys.modules:
        raise AssertionError("torch is imported already")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
