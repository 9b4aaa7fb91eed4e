"""A few cases of the crash matrix, for the suite; `avatarcast bench crash_matrix` has the two hundred."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.records.tables import FAULTS

pytest.importorskip("torch", reason="needs torch")

CASES = 6


@pytest.mark.long
def test_after_a_crash_each_work_goes_on_or_says_why_and_leaves_nothing() -> None:
    command = [sys.executable, "-m", "engine.cli", "bench", "crash_matrix", "--kills", str(CASES)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr + result.stdout
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["failures"] == []
    assert figures["outcomes"]["went on"] + figures["outcomes"]["said why"] == CASES
    assert set(figures["cells"]) == {"recording", "packages", "enrolment", "export"}
    assert all(set(cells) == set(FAULTS) for cells in figures["cells"].values())
