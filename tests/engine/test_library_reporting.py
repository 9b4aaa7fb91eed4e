"""No library that we import reports anything to its maker, and what waited to be sent is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.library_reporting import VARIABLES, switch_off

QUEUE = Path("Microsoft", "DeveloperTools", ".onnxruntime")


def run_python(code: str, home: Path, **variables: str) -> str:
    """What the code prints, in a home of its own and without CI, where ONNX Runtime is silent by itself."""
    quiet = {"CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "AVATARCAST_CACHE", *VARIABLES}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is another one there")
@pytest.mark.parametrize("package", ["engine", "export", "stream", "engine.runners.onnx_runner"])
def test_onnx_runtime_keeps_no_device_id_whichever_package_comes_first(package: str, tmp_path: Path) -> None:
    code = f"import {package}\nimport engine.runners.onnx_runner"
    run_python(code, tmp_path)
    assert not files_in(tmp_path)


def test_a_child_process_inherits_the_silence(tmp_path: Path) -> None:
    code = (
        "import engine, subprocess, sys\n"
        "child = 'import os; print(os.environ[\"ORT_DISABLE_TELEMETRY\"])'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)"
    )
    assert run_python(code, tmp_path, ORT_DISABLE_TELEMETRY="0") == "1"


def test_what_waited_to_be_sent_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / QUEUE).mkdir(parents=True)
    for name in ("deviceid", "onnxruntime.db", "somebody_elses"):
        (tmp_path / QUEUE / name).write_text("x")
    switch_off()
    assert files_in(tmp_path) == {QUEUE / "somebody_elses"}
    (tmp_path / QUEUE / "somebody_elses").unlink()
    switch_off()
    assert not (tmp_path / QUEUE).exists()


def test_a_home_that_cannot_be_read_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("AVATARCAST_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    switch_off()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
