"""Commands as a container may run them: a user without name and home, and a disk that cannot be written.

In a mount namespace of their own; needs root and Linux's unshare and setpriv.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from benchmarks.live.driver_pictures import DriverPictures
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.live.server_link import at
from benchmarks.live.server_process import server_process
from engine.user_folders import CACHE_VARIABLE, cache_folder
from tests.support.browser import BUNDLED
from tests.support.places import PRESENTER, ROOT
from tests.support.waiting import WAIT_S

# Everything that is mounted can only be read, but for the folder named first, if any: that is new, and holds
# nothing but what was compiled before, found in the folder named second.
BOX = """
mount --make-rprivate /
for place in $(cut -d ' ' -f 2 /proc/self/mounts | sort -u); do
    case $place in
        /proc* | /sys* | /dev | /dev/pts) ;;
        *) mount -o remount,bind,ro "$place" 2>/dev/null ;;
    esac
done
[ -z "$1" ] || mount -t tmpfs -o mode=1777 none "$1"
if [ -n "$1" ] && [ -d "$2" ]; then
    mkdir -p "$AVATARCAST_CACHE"
    cp -r "$2" "$AVATARCAST_CACHE/compiled"
    chmod -R a+rwX "$AVATARCAST_CACHE"
fi
shift 2
exec env -u HOME setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps=-all "$@"
"""
CLI = (sys.executable, "-m", "engine.cli")


def boxed(*command: str, writable: str = "") -> list[str]:
    return ["unshare", "--mount", "sh", "-c", BOX, "sh", writable, str(cache_folder() / "compiled"), *command]


def run(*command: str, writable: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        boxed(*command, writable=writable),
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def has_boxes() -> bool:
    """Whether they can be made here, and whether such a user can read this checkout and its Python."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    refused = "import numpy, engine, pathlib; pathlib.Path('/tmp/avatarcast-test').touch()"
    return "Read-only file system" in run(sys.executable, "-c", refused).stderr


pytestmark = [
    pytest.mark.skipif(not has_boxes(), reason="needs root, unshare, setpriv, a checkout all can read"),
    pytest.mark.skipif(
        ROOT.is_relative_to("/tmp"), reason="the checkout lies in a folder that is emptied here"
    ),
    pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled avatar is not in the checkout"),
]


@pytest.mark.parametrize("arguments", [["info", "theo"], ["enroll", "--help"]])
def test_what_writes_nothing_needs_nothing(arguments: list[str]) -> None:
    done = run(*CLI, *arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_must_write_says_where_it_cannot() -> None:
    done = run(*CLI, "render", "--avatar", "theo", "--driver", str(PRESENTER), "--out", "/var/tmp/x.mp4")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert (
        "--out /var/tmp/x.mp4: /var/tmp is not a folder that can be written to; create it or choose" in line
    )


SCRATCH = """
import sys
from engine.errors import FileError
from engine.files import scratch
try:
    with scratch() as folder:
        print(folder)
except FileError as error:
    sys.exit(str(error))
"""


def test_without_a_temporary_folder_the_variable_is_named() -> None:
    done = run(sys.executable, "-c", SCRATCH)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("no temporary folder can be made (")
    assert line.endswith("name one that can be written with TMPDIR")
    assert run(sys.executable, "-c", SCRATCH, writable="/tmp").stdout.startswith("/tmp/")
    named = run(sys.executable, "-c", SCRATCH, writable="/media", TMPDIR="/media")
    assert named.stdout.startswith("/media/")


SERVE = (*CLI, "serve", "--port", "0", "--json", "--avatar", "theo", "--runner", "null")


@pytest.mark.parametrize(("writable", "kept"), [("", ""), ("/tmp", ""), ("/media", "/media")])
async def test_the_server_serves(writable: str, kept: str, tmp_path: Path) -> None:
    """The page and a call; where nothing can be kept, it says so in one line with the way out."""
    cache = f"{writable}/cache" if writable else ""
    folders = {"XDG_DATA_HOME": kept, "TMPDIR": writable, CACHE_VARIABLE: cache, "NUMBA_CACHE_DIR": ""}
    pictures, came = DriverPictures(PRESENTER, 320, 240), asyncio.Event()
    with (
        (tmp_path / "log").open("wb") as log,
        server_process(boxed(*SERVE, writable=writable), log, folders) as (_, facts),
    ):
        link = str(facts["link"])
        async with aiohttp.ClientSession() as http, http.get(at(link, "/")) as page:
            assert page.status == 200
        peer = AiortcPeer(link, StampedCamera(pictures.at, 15), on_picture=lambda _: came.set())
        try:
            await peer.connect()
            await asyncio.wait_for(came.wait(), WAIT_S)
        finally:
            await peer.close()
    warnings = [line for line in (tmp_path / "log").read_text().splitlines() if "WARNING" in line]
    assert len(warnings) == (kept == "")
    if warnings:
        assert "no avatar can be made here: /" in warnings[0]
        assert warnings[0].endswith("choose another with --studio or XDG_DATA_HOME")
