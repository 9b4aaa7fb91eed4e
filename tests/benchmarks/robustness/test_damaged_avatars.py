"""The instrument of damaged avatars: a short run finds nothing, and a fault would be found."""

from __future__ import annotations

import json

import pytest

from benchmarks.robustness.damaged_avatars import main


@pytest.mark.long
def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Times are not judged: other tests share the machine."""
    assert main(["--quick", "--mutations", "25", "--commands-every", "5"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["ran"] == figures["refused"] + figures["served"] == 25
    assert figures["refused"] > 0
    assert figures["failed"] == figures["read_outside"] == 0
    assert 0 < figures["memory_mb"] < 500
    assert figures["seconds"] >= figures["floor_s"] / 10 > 0
