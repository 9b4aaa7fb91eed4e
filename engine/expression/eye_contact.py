"""Look at the camera: the eyes turn to it from wherever the driver's screen is.

The irises go where the head that is shown needs them, and the lids with them. A bounded correction that ends
where the head turns away is known from gaze redirection (Ganin et al., DeepWarp, ECCV 2016); the geometry is
that of an eyeball seen from afar.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.arrays import FloatArray
from engine.expression.easing import Eased
from engine.person import topology as topo
from engine.person.gaze import EYEBALL, LIDS_FOLLOW, camera_axis, facing_shift, iris_shift
from engine.person.motion import Motion
from engine.person.retarget import Retargeter

LIMIT_DEG = 12.0  # of the correction; eyes turned further than that look wrong in a face that does not know
FULL_DEG, NONE_DEG = 15.0, 25.0  # the head's turn up to which it holds, and from which there is none
EASE_S = 0.15  # time constant: as long as a quick look up takes
WIDEST = 1.3  # share of the lids' gap


class EyeContact:
    """Use: `wanted` says whether, from any thread. Knows one stream of pictures."""

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        self._eased = Eased(EASE_S)  # the share of the correction that is shown

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        """See `engine.pipeline.Adjustment`. Where the avatar looks at rest counts as the camera."""
        rotation, at_rest = retargeter.shown_rotation(motion), retargeter.avatar.rotation
        share = float(self._eased.toward(np.asarray(self._goal(rotation, at_rest)), time_ns))
        if share <= 0.0:
            return motion
        correction = facing_shift(rotation, at_rest) - iris_shift(motion.expression)
        limit = EYEBALL * np.sin(np.radians(LIMIT_DEG))
        correction *= share * min(1.0, limit / max(float(np.linalg.norm(correction)), 1e-6))
        expression = motion.expression.copy()
        for iris in topo.IRISES:
            expression[iris, :2] += correction
        driver = retargeter.driver
        wider = np.clip(1.0 - LIDS_FOLLOW * correction[1], 0.0, WIDEST)  # shut lids stay shut
        lids = driver.lid_closed + wider * (motion.lid_gap - driver.lid_closed)
        return replace(motion, expression=expression, lid_gap=np.asarray(lids, np.float32))

    def _goal(self, rotation: FloatArray, at_rest: FloatArray) -> float:
        if not self.wanted:
            return 0.0
        turned = np.clip(camera_axis(rotation) @ camera_axis(at_rest), -1.0, 1.0)
        return float(np.interp(np.degrees(np.arccos(turned)), [FULL_DEG, NONE_DEG], [1.0, 0.0]))
