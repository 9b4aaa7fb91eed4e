"""`avatarcast bench`: it finds the instruments by their question and hands on options and status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import command
from engine import cli


def test_every_instrument_is_listed_with_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    questions = {line.split()[0]: line for line in lines}
    assert {"glass_to_glass", "quality", "readme"} <= set(questions)
    assert all(line.endswith("?") for line in lines)
    assert "machine" not in questions


def test_an_instrument_begins_with_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    (tmp_path / "speed.py").write_text('"""How\nfast?\n\nVery."""')
    (tmp_path / "part.py").write_text('"""A part.\n\nOf what?"""')
    (tmp_path / "bare.py").write_text("")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "deep.py").write_text('"""How?"""')
    assert command.instruments() == {
        "speed": ("benchmarks.speed", "How fast?"),
        "deep": ("benchmarks.part.deep", "How?"),
    }


def test_options_and_status_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[str]] = []

    def main(words: Sequence[str]) -> int:
        seen.append(words)
        return 4

    module = ModuleType("benchmarks.speed")
    module.__dict__["main"] = main
    monkeypatch.setitem(sys.modules, "benchmarks.speed", module)
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    (tmp_path / "speed.py").write_text('"""How fast?"""')
    assert cli.main(["bench", "speed", "--seconds", "3", "--help"]) == 4
    assert seen == [["--seconds", "3", "--help"]]


def test_an_unknown_instrument(error_line: Callable[[], str]) -> None:
    assert cli.main(["bench", "speed"]) == 1
    assert "instrument is 'speed'; wanted one of" in error_line()
