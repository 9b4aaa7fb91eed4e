"""How many cores are counted: under a real quota where one can be set, and from files like the kernel's."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.live.echo_server import echo_avatar
from engine.cores import quota, usable_cores, usable_share
from stream.render.avatars import Avatars
from stream.sessions import registry
from tests.support.places import ROOT

GROUPS = Path("/sys/fs/cgroup")
SEEN = """
import json, os
from engine.cores import quota, usable_cores, usable_share
from engine.runners.choice import default_threads
import cv2
print(json.dumps({
    "quota": quota(), "share": usable_share(), "cores": usable_cores(), "runner": default_threads(),
    "opencv": cv2.getNumThreads(), "torch": os.environ["OMP_NUM_THREADS"],
}))
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of one core, where this machine lets us make one."""
    for first in ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us"):
        parent = (GROUPS / first).parent
        folder = parent / f"avatarcast-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / "cpu.cfs_quota_us").exists():
                (folder / "cpu.cfs_quota_us").write_text("100000")
            elif (folder / "cpu.max").exists():
                (folder / "cpu.max").write_text("100000 100000")
            else:
                continue
            yield folder
            return
        finally:
            folder.rmdir()
    pytest.skip("no control group can be made here")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a quota of one core changes nothing here")
def test_a_quota_bounds_whatever_counts_cores(group: Path) -> None:
    counted = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    environment = {name: value for name, value in os.environ.items() if name not in counted}
    joined = subprocess.run(
        ["sh", "-c", f'echo $$ > "{group}/cgroup.procs"'], capture_output=True, text=True, check=False
    )
    if joined.returncode:
        pytest.skip(f"no process may join a control group here: {joined.stderr.strip()}")
    done = subprocess.run(
        ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$0" -c "$1"', sys.executable, SEEN],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen = {"quota": 1.0, "share": 1.0, "cores": 1, "runner": 1, "opencv": 1, "torch": "1"}
    assert json.loads(done.stdout) == seen


def test_room_on_the_server_is_that_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "usable_share", lambda: 1.5)
    capacity = registry.SessionRegistry(Avatars([echo_avatar()])).capacity
    capacity.read(0.0, 0)
    capacity.read(1.0, 10)
    assert capacity.room(0).fps == pytest.approx(15.0)  # a picture takes 100 ms of a core


def kernel(root: Path, mounts: str, group: str, files: Mapping[str, str]) -> Path:
    """A process's folder in /proc as the kernel writes it, with its groups below `root`."""
    process = root / "proc"
    process.mkdir()
    process.joinpath("mountinfo").write_text(mounts.replace("/sys/fs/cgroup", f"{root}/cgroup"))
    process.joinpath("cgroup").write_text(group)
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return process


UNIFIED = "31 23 0:28 {root} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
SPLIT = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct ro shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
OTHERS = "23 1 8:1 / / rw - ext4 /dev/vda rw\n33 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup none rw,cpuset\n"


@pytest.mark.parametrize(
    ("mounts", "group", "files", "cores"),
    [
        (UNIFIED.format(root="/"), "0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        (UNIFIED.format(root="/"), "0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        (UNIFIED.format(root="/"), "0::/\n", {}, math.inf),  # the machine's own root
        # A group is bound by those above it.
        (
            UNIFIED.format(root="/"),
            "0::/a.slice/b\n",
            {"a.slice/cpu.max": "300000 100000", "a.slice/b/cpu.max": "max 100000"},
            3.0,
        ),
        (
            UNIFIED.format(root="/"),
            "0::/a.slice/b\n",
            {"a.slice/cpu.max": "300000 100000", "a.slice/b/cpu.max": "50000 200000"},
            0.25,
        ),
        # A container's own group is the root of what it sees, whatever it is called outside.
        (UNIFIED.format(root="/docker/ab"), "0::/docker/ab\n", {"cpu.max": "200000 100000"}, 2.0),
        (UNIFIED.format(root="/"), "0::/../../pod\n", {"cpu.max": "200000 100000"}, 2.0),
        (
            SPLIT.format(root="/docker/ab"),
            "4:cpu,cpuacct:/docker/ab\n3:cpuset:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            SPLIT.format(root="/"),
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        # Groups of the second version beside the first, which has the processor.
        (
            UNIFIED.format(root="/") + SPLIT.format(root="/"),
            "4:cpu,cpuacct:/x\n0::/\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "80000", "cpu,cpuacct/x/cpu.cfs_period_us": "40000"},
            2.0,
        ),
        (UNIFIED.format(root="/"), "0::/\n", {"cpu.max": "nonsense\n"}, math.inf),
        (UNIFIED.format(root="/"), "0::/\n", {"cpu.max": "0 0\n"}, math.inf),
        ("", "nonsense\n", {}, math.inf),
    ],
)
def test_the_quota_of_a_group(
    tmp_path: Path, mounts: str, group: str, files: Mapping[str, str], cores: float
) -> None:
    assert quota(kernel(tmp_path, OTHERS + mounts, group, files)) == cores


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path) == math.inf


def test_without_a_quota_the_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert 0 < usable_share() <= usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
