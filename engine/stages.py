"""Names of the stages of one frame, in order; reports and measurements use them."""

from __future__ import annotations

STAGES = ("track", "retarget", "guidance", "warp", "denoise", "compose")
