"""Where files of the repository lie, and the clips beside it, which need not be there."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
PRESENTER = DATA / "presenter_driver.mp4"  # a synthetic presenter, 12 s
SHARED = ROOT.parent / "shared" / "data"
