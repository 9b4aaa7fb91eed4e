"""The `avatarcast` command as a user meets it, and the doctor on machines that lack something."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engine import cli
from engine.commands import doctor
from engine.errors import AvatarcastError, BusyError

Fake = Callable[[Callable[[Any], Any]], None]
COMMANDS = ("bench", "doctor", "enroll", "evaluate", "export", "render", "serve")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a command `act` in place of all others; it does what it is given."""

    def install(act: Callable[[Any], Any]) -> None:
        module = ModuleType("fake_command")
        module.__dict__.update(
            add_arguments=lambda parser: parser.add_argument("--number", type=int), run=act
        )
        monkeypatch.setitem(sys.modules, "fake_command", module)
        entry = metadata.EntryPoint("act", "fake_command", cli.GROUP)
        monkeypatch.setattr(cli, "_commands", lambda: {"act": entry})
        monkeypatch.setattr(cli, "_docstring", lambda name: "Acts.\n\nAt length.")

    return install


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_lists_every_command_without_importing_one() -> None:
    code = (
        "import sys\nfrom engine import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "bad = {'torch', 'ai_edge_litert', 'aiortc', 'onnxruntime', 'stream.commands.serve'}\n"
        "bad &= set(sys.modules)\n"
        "assert not bad\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for name in COMMANDS:
        line = next(line for line in result.stdout.splitlines() if line.strip().startswith(name))
        assert len(line.split()) > 3, line
        assert "not in this installation" not in line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: avatarcast {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"avatarcast {metadata.version('avatarcast')}\n"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "ended by SIGTERM"),
        (signal.SIGHUP, "ended by SIGHUP"),
    ],
)
def test_signals_end_a_command_in_order(
    fake: Fake, capsys: pytest.CaptureFixture[str], number: signal.Signals, words: str
) -> None:
    """A second one, as shells send when a terminal is closed, does not cut the tidying short."""
    tidied = []

    def act(_: Any) -> int:
        try:
            signal.raise_signal(number)
        finally:
            if number != signal.SIGINT:
                signal.raise_signal(signal.SIGHUP)
            tidied.append(True)
        raise AssertionError("it went on")

    fake(act)
    assert cli.main(["act"]) == 128 + number
    assert capsys.readouterr().err == f"avatarcast: {words}\n"
    assert tidied == [True]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


FILMING = """
import itertools, sys
from fractions import Fraction
import numpy as np
from engine import cli
from engine.media.video import VideoWriter

def film(_):
    with VideoWriter(sys.argv[1], 64, 48, Fraction(10)) as writer:
        for index in itertools.count():
            writer.write(np.full((48, 64, 3), index % 256, np.uint8))
            if index == 20:
                print("filming", flush=True)

cli._dispatch = film
sys.exit(cli.main([]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended_leaves_no_half_written_film(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FILMING, str(tmp_path / "film.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "filming\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == f"avatarcast: ended by {number.name}"
    assert list(tmp_path.iterdir()) == []


def test_a_closed_terminal_is_no_end_after_nohup(fake: Fake) -> None:
    def act(_: Any) -> int:
        signal.raise_signal(signal.SIGHUP)
        return 0

    fake(act)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.main(["act"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["--fly"], ["doctor", "--fly"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: avatarcast" in capsys.readouterr().err


def test_the_command_gets_its_arguments_and_gives_the_status(fake: Callable[..., None]) -> None:
    fake(lambda args: args.number)
    assert cli.main(["act", "--number", "7"]) == 7


@pytest.mark.parametrize("error", [AvatarcastError("found 1;\nwanted 2"), BusyError("found 1; wanted 2")])
def test_a_known_error_is_one_line(
    fake: Callable[..., None], error: Exception, error_line: Callable[[], str]
) -> None:
    def act(args: Any) -> int:
        raise error

    fake(act)
    assert cli.main(["act"]) == 1
    assert error_line() == "avatarcast: error: found 1; wanted 2"


def test_an_unknown_error_keeps_its_traceback(fake: Callable[..., None]) -> None:
    fake(lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["act"])


@pytest.mark.parametrize(
    ("package", "cure"), [("torch", "pip install 'avatarcast[train]'"), ("leftpad", "pip install leftpad")]
)
def test_a_missing_package_names_its_extra(
    fake: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    error_line: Callable[[], str],
    package: str,
    cure: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    fake(lambda args: importlib.import_module(package))
    assert cli.main(["act"]) == 1
    assert f"{package} is not installed and this command needs it: {cure}" in error_line()


def test_our_own_missing_module_is_a_bug(fake: Callable[..., None]) -> None:
    fake(lambda args: importlib.import_module("engine.nonsense"))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["act"])


@pytest.mark.parametrize("module", ["benchmarks_elsewhere.command", "benchmarks.command_elsewhere"])
def test_a_command_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
    error_line: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    module: str,
) -> None:
    entry = metadata.EntryPoint("bench", module, cli.GROUP)
    monkeypatch.setattr(cli, "_commands", lambda: {"bench": entry})
    assert cli.main(["bench", "--help"]) == 1
    assert f"bench: found no module {module} in this installation; wanted a checkout" in error_line()
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert f"not in this installation: {module}" in " ".join(capsys.readouterr().out.split())


def test_interrupted(fake: Callable[..., None], error_line: Callable[[], str]) -> None:
    def act(args: Any) -> int:
        raise KeyboardInterrupt

    fake(act)
    assert cli.main(["act"]) == 130
    assert error_line() == "avatarcast: interrupted"


def test_a_reader_that_leaves_is_no_error() -> None:
    script = (
        "import sys\nfrom engine import cli\n"
        "cli._dispatch = lambda arguments: print('x\\n' * 200000)\nsys.exit(cli.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 141


def test_doctor_as_a_program() -> None:
    result = command("doctor", "--json")
    report = json.loads(result.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert result.returncode == (0 if report["can_serve"] else 1)
    for name in ("python", "cv2", "ai_edge_litert", "aiortc", "av", "onnx-cpu", "null", "export onnx"):
        assert checks[name]["ok"], checks[name]
    assert report["can_serve"], checks["presenter theo"]
    for name in ("onnx-cuda", "tensorrt", "tensorrt-rtx", "export tensorrt", "export tensorrt-rtx"):
        assert (
            checks[name]["ok"]
            or "wanted" in checks[name]["detail"]
            or "pip install" in checks[name]["detail"]
        )


def test_doctor_prints_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [doctor.Check("av", False, "broken", needed=True), doctor.Check("onnx-cpu", True, "fine")]
    monkeypatch.setattr(doctor, "run_checks", lambda: iter(checks))
    assert doctor.run(SimpleNamespace(json=False)) == 1  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["MISSING av        broken", "ok      onnx-cpu  fine"]
    assert "cannot serve yet; it lacks av" in lines[2]


@pytest.mark.parametrize(("error", "cured"), [(ImportError("no libGL"), True), (OSError("read-only"), False)])
def test_doctor_cures_what_is_not_installed_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cured: bool
) -> None:
    def fails(_: str) -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    check = doctor._package("cv2", "", cure="apt-get install it")
    assert not check.ok
    assert str(error) in check.detail
    assert check.detail.endswith("apt-get install it") == cured


@pytest.mark.parametrize(
    "missing", ["numpy", "cv2", "ai_edge_litert", "aiohttp", "aiortc", "av", "onnxruntime", "torch", "PIL"]
)
def test_doctor_without(missing: str) -> None:
    """Any one package missing: a report all the same, and whether serving is possible."""
    # Three load for seconds, and serving never needs them.
    absent = {missing, "torch", "tensorrt", "tensorrt_rtx"}
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({sorted(absent)!r}))\n"
        "from engine import cli\nsys.exit(cli.main(['doctor', '--json']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    report = json.loads(result.stdout)
    assert report["can_serve"] is (missing == "torch")
    assert result.returncode == (0 if missing == "torch" else 1)
    failed = [check["detail"] for check in report["checks"] if not check["ok"]]
    assert any(missing in detail for detail in failed), failed
