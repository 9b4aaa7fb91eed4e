"""Adds an emotion to the motion of whatever drives; lips open and shut as they are driven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.expression.easing import Eased
from engine.expression.feeling import NEUTRAL, Schedule, steady
from engine.expression.repertoire import repertoire_for
from engine.person.motion import Motion
from engine.person.retarget import Retargeter

EASE_S = 0.35  # time constant: expressions take half a second to a second to form


class EmotionControl:
    """Use: `want` says which feelings, from any thread; eased into. Knows one stream of pictures."""

    def __init__(self, schedule: Schedule | None = None) -> None:
        """schedule: see `want`."""
        self._wanted: tuple[Schedule, list[int]] = (schedule or steady(NEUTRAL), [])
        self._eased = Eased(EASE_S)

    def want(self, schedule: Schedule) -> None:
        """Its times count from the next picture."""
        self._wanted = (schedule, [])

    def adjusted(self, motion: Motion, retargeter: Retargeter, time_ns: int) -> Motion:
        """See `engine.pipeline.Adjustment`."""
        schedule, begun_ns = self._wanted
        if not begun_ns or time_ns < begun_ns[0]:  # or the camera's stream began anew
            begun_ns[:] = [time_ns]
        strengths = self._eased.toward(schedule.at((time_ns - begun_ns[0]) * 1e-9).strengths, time_ns)
        if not strengths.any():
            return motion
        repertoire = repertoire_for(retargeter)
        driver = retargeter.driver
        added = np.tensordot(strengths, repertoire.offsets, axes=1)
        open_range = np.maximum(driver.lid_open - driver.lid_closed, 1e-3)
        openness = np.clip((motion.lid_gap - driver.lid_closed) / open_range, 0.0, 1.0)  # a blink stays one
        lids = motion.lid_gap + openness * (strengths @ repertoire.lids)
        return replace(
            motion,
            expression=np.asarray(motion.expression + added, np.float32),
            lid_gap=np.asarray(np.maximum(lids, np.minimum(motion.lid_gap, driver.lid_closed)), np.float32),
        )
