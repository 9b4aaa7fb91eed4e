"""What all instruments share: options, --quick, the record, and that each of them runs through."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import instruments
from benchmarks.records.instrument import Instrument, add_common, told
from benchmarks.records.readme import DOCUMENTS
from benchmarks.records.record import read_record
from engine.cli import main
from engine.errors import SettingsError
from tests.support.browser import BUNDLED

CHEAP = ("quality", "cpu_paths")
NO_RECORD = {"charts", "compare", "picture", "readme"}  # they read records, or make the README's picture


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clip", type=Path)
    add_common(parser, "size", seconds=60.0)


def measure(args: argparse.Namespace) -> Mapping[str, Any]:
    failures = [] if args.seconds > 50 else [f"{args.seconds} s"]
    return {"seconds": args.seconds, "failures": failures, "config": {"avatar": "ada"}}


SPEED = Instrument("speed", "How fast?", add_options, measure, {"seconds": 2.0})


def test_the_record_has_what_its_figures_need_to_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed.json"
    assert SPEED(["--clip", "a/b/clip.mp4", "--size", "320x240", "--out", str(out)]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record == read_record(out)
    assert (record["benchmark"], record["seconds"], record["passed"]) == ("speed", 60.0, True)
    assert record["machine"]["cores"] >= 1
    assert date.fromisoformat(record["date"]) >= date(2026, 1, 1)
    assert record["config"] == {
        "seconds": 60.0,
        "clip": "clip.mp4",
        "size": [320, 240],
        "quick": False,
        "avatar": "ada",
    }


def test_quick_is_shorter_judges_nothing_and_gives_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert SPEED(["--seconds", "3"]) == 1
    assert "FAILED: 3.0 s" in capsys.readouterr().out
    assert SPEED(["--quick"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["config"]["seconds"] == 2.0
    assert SPEED.options(["--quick", "--seconds", "7"]).seconds == 7.0
    assert not SPEED.options([]).quick


@pytest.mark.parametrize("out", ["speed.txt", "nowhere/speed.json"])
def test_where_nothing_can_be_written_nothing_is_measured(out: str) -> None:
    with pytest.raises(SettingsError, match=r"wanted NAME\.json in a folder that is there"):
        SPEED(["--out", out])


def test_no_folder_is_recorded() -> None:
    assert told([Path("clip.mp4"), "face=a/b.mp4", 3, None]) == ["clip.mp4", "b.mp4", 3, None]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [(None, "no such file"), ("{", "not a readable record"), ("[1]", "holds a JSON list; wanted an object")],
)
def test_what_is_not_a_record(tmp_path: Path, text: str | None, flaw: str) -> None:
    path = tmp_path / "speed.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=flaw):
        read_record(path)


# Each of them


INSTRUMENTS = instruments()


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_instrument_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    module, question = INSTRUMENTS[name]
    run = importlib.import_module(module).main
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: avatarcast bench {name} ")
    assert question in " ".join(text.split())
    assert isinstance(run, Instrument) is (name not in NO_RECORD)
    if isinstance(run, Instrument):
        assert run.name == name
        assert "--quick" in text
        assert set(run.quick) <= {action.dest for action in _actions(run)}


def _actions(run: Instrument) -> list[argparse.Action]:
    parser = argparse.ArgumentParser()
    run.add_options(parser)
    return list(parser._actions)


@pytest.mark.skipif(not BUNDLED.exists(), reason="needs a bundled presenter")
@pytest.mark.parametrize("name", CHEAP)
def test_the_cheap_ones_run_through(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in (DOCUMENTS[1].parent / "results").glob("*.json")}
    assert main(["bench", name, "--quick"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["benchmark"] == name
    assert record["config"]["quick"] is True
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_line_says_in_a_line_what_is_wrong(error_line: Callable[[], str]) -> None:
    assert main(["bench", "compare", "nowhere.json", "nowhere.json"]) == 1
    assert "nowhere.json: no such file; wanted what an instrument wrote" in error_line()
