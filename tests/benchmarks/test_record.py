"""The recorder of results: it names the machine and no folder; a failed command writes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.records import record


def run(monkeypatch: pytest.MonkeyPatch, results: Path, *arguments: str) -> int:
    monkeypatch.setattr(record, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["record", *arguments])
    return record.main()


def test_a_result_is_recorded_with_its_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, "machine", "doctor") == 0
    recorded = json.loads((tmp_path / "machine.json").read_text())
    assert recorded["command"] == ["avatarcast", "doctor"]
    assert recorded["machine"]["cores"] >= 1
    assert recorded["seconds"] > 0
    assert recorded["result"]


def test_a_failed_command_records_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "missing.avatar"
    assert run(monkeypatch, tmp_path, "broken", "evaluate", str(missing)) == 1
    assert not list(tmp_path.iterdir())


def test_folders_are_left_out() -> None:
    assert record._without_folders({"out": "/a/b/c.avatar", "note": "at /a b", "frames": 3}) == {
        "out": "c.avatar",
        "note": "at /a b",
        "frames": 3,
    }
