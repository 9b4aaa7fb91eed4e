"""Somebody at rest."""

from __future__ import annotations

import numpy as np

from engine.person.motion import Motion, Neutral
from engine.voice.motion_code import CODE, LIDS, decode


def resting(neutral: Neutral) -> Motion:
    """Lips shut, eyes open, arms unseen."""
    code = np.zeros(CODE, np.float32)
    code[LIDS] = 1.0
    return decode(code, neutral)
