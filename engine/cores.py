"""How much of the processor this process may use: by its affinity, and by the quota of its container.

The kernel throttles a container that has used up its quota until the next period, so threads beyond it only
wait for each other. Quotas are those of Linux's control groups, both versions:
https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files and
https://docs.kernel.org/scheduler/sched-bwc.html. A group is bound by those above it too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")
# Libraries that count the cores by themselves, and the variable by which they are told.
_COUNTING = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")  # torch and MKL; OpenCV


def usable_share() -> float:
    """Cores' worth of processor time, above 0: 1.5 under a quota of 150 ms in each 100 ms."""
    return min(float(_affine()), quota())


def usable_cores() -> int:
    """How many threads can compute at once: the share, rounded up."""
    return math.ceil(usable_share())


def limit_libraries() -> None:
    """Tells libraries that count cores and know no quota how many threads to start.

    Before they are imported; child processes inherit it, and who has set a variable keeps it.
    """
    if usable_cores() < _affine():
        for name in _COUNTING:
            os.environ.setdefault(name, str(usable_cores()))


def quota(process: Path = _PROC) -> float:
    """Cores' worth of time that the control groups of a process grant; infinite where none bounds it.

    process: its folder in /proc.
    """
    return min(_quotas(process), default=math.inf)


def _affine() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(process: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):  # no Linux, or a /proc that is hidden
        mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines()]
        for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "" or "cpu" in controllers.split(","):
                for mount in _mounts(mounts, controllers):
                    yield from _along(*mount, PurePosixPath(group))


def _mounts(mounts: list[list[str]], controllers: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """Where that hierarchy is mounted, and which of its groups is the root there (proc_pid_mountinfo(5))."""
    for fields in mounts:
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind == "cgroup2" if controllers == "" else kind == "cgroup" and "cpu" in options.split(","):
            yield Path(fields[4]), PurePosixPath(fields[3])


def _along(mount: Path, root: PurePosixPath, group: PurePosixPath) -> Iterator[float]:
    """The quotas of the group and of those above it, as far as they can be seen."""
    # In a container the mount may show its own group as the root while /proc names it from outside.
    below = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    if ".." in below.parts:  # seen from a namespace beside it
        below = PurePosixPath()
    for folder in (mount / below, *(mount / above for above in below.parents)):
        with suppress(OSError, ValueError):
            quota_us, period_us = _read(folder)
            if quota_us > 0 and period_us > 0:
                yield quota_us / period_us


def _read(folder: Path) -> tuple[float, float]:
    """Quota and period of one group, in the same unit; the quota is not positive where there is none.

    Raises OSError and ValueError where the group says nothing of it.
    """
    second = folder / "cpu.max"
    if second.exists():
        quota_text, period_text = second.read_text(encoding="ascii").split()
        return (-1.0 if quota_text == "max" else float(quota_text)), float(period_text)
    first = [folder / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    quota_us, period_us = (float(path.read_text(encoding="ascii")) for path in first)
    return quota_us, period_us
