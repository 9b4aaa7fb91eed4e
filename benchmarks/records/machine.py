"""What a measurement ran on, and what a process costs: read from the system, nothing installed for it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.cores import usable_cores

PACKAGES = ("ai-edge-litert", "aiortc", "av", "numpy", "onnxruntime", "opencv-contrib-python")
ROOT = Path(__file__).parents[2]


def describe_machine() -> dict[str, Any]:
    """CPU, cores, memory, system, versions: enough to tell whose figures these are."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_mb": round(int((_field(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0]) / 1024),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str | None:
    """The commit measured, with "+" where tracked files differ from it; None outside a repository."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process; None where the system does not say."""
    return _memory_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float | None:
    """The most that its resident memory has ever been; None where the system does not say."""
    return _memory_mb(pid, "VmHWM")


def forget_peak() -> None:
    """This process's peak counts from here; it stays as it was where the system cannot forget it.

    `ru_maxrss` would not do: it begins with what the parent held, even after exec.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory_mb(pid: int, name: str) -> float | None:
    text = _field(Path(f"/proc/{pid}/status"), name)
    return None if text is None else int(text.split()[0]) / 1024


def cpu_seconds(pid: int) -> float | None:
    """CPU time a process has used, all threads; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _field(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
