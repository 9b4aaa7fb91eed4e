"""How commands tell where they stand: to people and to programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from export.progress import DISPLAYS, EVERY_S, Bars, JsonLines


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""  # which is for the result
    return [json.loads(line) for line in captured.err.splitlines()]


def test_events_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonLines()
    display.stage("training", 120.0)
    display.advance(60.0, "300 steps,\nloss 0.1")
    display.warn("only 12 s of usable footage: film longer")
    assert events(capsys) == [
        {"event": "stage", "stage": "training", "total": 120.0},
        {
            "event": "progress",
            "stage": "training",
            "done": 60.0,
            "total": 120.0,
            "note": "300 steps,\nloss 0.1",
        },
        {"event": "warning", "text": "only 12 s of usable footage: film longer"},
    ]


def test_a_program_is_not_flooded_and_hears_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = JsonLines(clock)
    display.stage("tracking", 1.0)
    for step in range(1, 1000):  # a millisecond each
        clock.now_s += 0.001
        display.advance(step / 1000)
    display.advance(1.0)
    done = [event["done"] for event in events(capsys)[1:]]
    assert len(done) == 1 + int(0.999 / EVERY_S) + 1  # the first, then one a quarter second, then the last
    assert done == sorted(done)
    assert done[0] == 0.001
    assert done[-1] == 1.0


def test_each_stage_tells_its_first_progress(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = JsonLines(clock)
    for name in ("tracking", "cutting out"):
        display.stage(name, 1.0)
        display.advance(0.1)
    told = [(event["event"], event["stage"]) for event in events(capsys)]
    assert told == [(kind, name) for name in ("tracking", "cutting out") for kind in ("stage", "progress")]


def test_no_progress_beyond_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    """Some files do not know how many frames they hold."""
    display = JsonLines()
    display.stage("tracking", 1.0)
    display.advance(1.7)
    assert events(capsys)[-1]["done"] == 1.0


def test_bars_show_stage_and_note(capsys: pytest.CaptureFixture[str]) -> None:
    display = Bars()
    display.stage("training", 60.0)
    display.advance(90.0, "12 steps")
    display.warn("film longer")
    display.close()
    display.close()
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "60/60 s" in shown
    assert "avatarcast: note: film longer" in shown


def test_bars_begin_with_their_stage_and_count_frames_or_shares(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        for done in (1, 2, 3):  # more than there were said to be
            bars.show("tracking", done, 2)
        bars.show("converting", 0.5)
    shown = capsys.readouterr().err
    assert "3/3 frames" in shown
    assert "50 %" in shown
    assert shown.index("tracking") < shown.index("converting")


def test_bars_are_the_default() -> None:
    assert next(iter(DISPLAYS)) == "bars"


def test_a_process_whose_listener_died_is_ended() -> None:
    """Even in the middle of a long step that tells nothing."""
    code = (
        "import time; from export.progress import end_with_listener\n"
        "end_with_listener(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    assert process.poll() is None
    process.stderr.close()
    assert process.wait(timeout=30) == -signal.SIGTERM
    process.stdout.close()
