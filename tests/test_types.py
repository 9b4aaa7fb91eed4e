"""Every annotation holds. A test, so that others run meanwhile, and before it: it takes most of a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="numpy 2, locked from Python 3.13 on, has stricter stubs than our annotations",
)
def test_mypy_finds_nothing() -> None:
    checked = subprocess.run(
        ["nice", "-n", "5", sys.executable, "-m", "mypy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
