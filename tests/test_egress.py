"""Nothing leaves, and nothing is left behind: every command, where all that it sends and writes is seen.

Each runs in namespaces of its own, with a way out and a fresh home, which tests/support/egress_stage.py lays.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from engine.user_folders import cache_folder
from tests.support.browser import BUNDLED
from tests.support.presenter_clip import write_presenter

HERE = Path(__file__).parent
LIMIT_S = 1800  # on a machine that is busy with other tests
AVATARCAST = (sys.executable, "-m", "engine.cli")
CACHE = "home/.cache/avatarcast/"  # as the README names it
KEYS = "home/.local/share/avatarcast/keys/"
RECORDING = "home/.local/share/avatarcast/recordings/ada-lovelace"
# A driver of virtual cameras that shows nothing: the real one is a kernel module.
NO_CAMERA = """
class PixelFormat:
    I420 = "I420"
class Camera:
    device = "none"
    def __init__(self, *_, **__): pass
    def send(self, frame): pass
    def close(self): pass
"""


def refusal() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    missing = [tool for tool in ("unshare", "ip") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "this user may not open /dev/net/tun"
    done = subprocess.run([*namespaces(), "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def namespaces() -> list[str]:
    """The command that makes those of network and mounts."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--kill-child"]


pytestmark = pytest.mark.skipif(bool(why := refusal()), reason=f"no namespaces: {why}")


@dataclass(frozen=True)
class Seen:
    """What a command asked of the network, and the files that are there after it."""

    status: int
    queries: list[str]
    packets: list[str]
    files: set[str]  # of home, work, tmp and shm
    said: str


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Seen]:
    """Runs a command and tells what was seen. Files put into tmp_path / "stage" / "work" are there for it."""
    return watched_in(tmp_path / "stage")


def watched_in(stage: Path) -> Callable[..., Seen]:
    """The same in this folder."""
    report = stage / "report.json"
    (stage / "work").mkdir(parents=True)
    compiled = cache_folder() / "compiled"
    if compiled.is_dir():  # or each command compiles all loops over pixels anew
        shutil.copytree(compiled, stage / CACHE / "compiled")

    def run(*command: str | Path) -> Seen:
        words = [*namespaces(), sys.executable, HERE / "support" / "egress_stage.py", stage, report, *command]
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        said = done.stdout + done.stderr
        assert report.exists(), said
        seen = json.loads(report.read_text())
        files = {
            str(path.relative_to(stage))
            for folder in ("home", "work", "tmp", "shm")
            for path in (stage / folder).rglob("*")
            if not path.is_dir()
        }
        return Seen(seen["status"], seen["queries"], seen["packets"], files, said)

    return run


@pytest.fixture
def work(tmp_path: Path, watched: object) -> Path:
    """The folder in which the command runs."""
    return tmp_path / "stage" / "work"


def assert_silent(seen: Seen, *files: str) -> None:
    """It worked, and did nothing but write these files; one that ends in / stands for all in that folder."""
    assert seen.status == 0, seen.said
    assert not seen.queries
    assert not seen.packets
    folders = tuple(name for name in (*files, CACHE) if name.endswith("/"))
    assert {name for name in seen.files if not name.startswith(folders)} == set(files) - set(folders)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of the presenter."""
    return write_presenter(tmp_path_factory.mktemp("driver") / "driver.mp4", 12)


def test_a_command_that_talks_is_caught(watched: Callable[..., Seen]) -> None:
    """The stage sees each kind of what no command may do."""
    code = (
        "import pathlib, socket\n"
        "socket.getaddrinfo('telemetry.example', 443)\n"
        "for family, to in ((socket.AF_INET, '192.0.2.7'), (socket.AF_INET6, '2001:db8::7'),\n"
        "                   (socket.AF_INET, '224.0.0.251')):\n"
        "    socket.socket(family, socket.SOCK_DGRAM).sendto(b'hello', (to, 443))\n"
        "talk = socket.socket()\n"
        "talk.setblocking(False)\n"
        "talk.connect_ex(('192.0.2.7', 443))\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('127.0.0.1', 443))\n"
        "for folder in (pathlib.Path.home(), pathlib.Path('/dev/shm'), pathlib.Path()):\n"
        "    (folder / 'mine').write_text('x')\n"
        "for folder in ('/tmp', '/var/tmp', '/etc'):\n"
        "    try: pathlib.Path(folder, 'avatarcast-was-here').write_text('x')\n"
        "    except OSError: print('refused', folder)\n"
    )
    seen = watched(sys.executable, "-c", code)
    assert seen.status == 0, seen.said
    assert set(seen.queries) == {"telemetry.example, type 1", "telemetry.example, type 28"}
    assert sorted(packet.rpartition(",")[0] for packet in seen.packets) == [
        "protocol 17 to 192.0.2.7",
        "protocol 17 to 2001:db8::7",
        "protocol 17 to 224.0.0.251",
        "protocol 6 to 192.0.2.7",
    ]
    assert {name for name in seen.files if not name.startswith(CACHE)} == {
        "home/mine",
        "shm/mine",
        "work/mine",
    }
    assert [line for line in seen.said.splitlines() if "refused" in line] == [
        "refused /tmp",
        "refused /var/tmp",
        "refused /etc",
    ]


def test_doctor_and_info(watched: Callable[..., Seen]) -> None:
    assert_silent(watched("sh", "-c", f"{' '.join(AVATARCAST)} doctor; {' '.join(AVATARCAST)} info theo"))


def test_serve_with_a_call_and_a_recording(
    watched: Callable[..., Seen], networked_file: Path, driver: Path
) -> None:
    seen = watched(sys.executable, HERE / "support" / "egress_call.py", networked_file, driver, "1")
    assert_silent(seen, f"{RECORDING}.webm", f"{RECORDING}.json", KEYS)


@pytest.mark.long
def test_serve_for_a_minute(watched: Callable[..., Seen], networked_file: Path, driver: Path) -> None:
    """What ONNX Runtime has to report it would send after five to ten seconds."""
    seen = watched(sys.executable, HERE / "support" / "egress_call.py", networked_file, driver, "60")
    assert_silent(seen, f"{RECORDING}.webm", f"{RECORDING}.json", KEYS)


@pytest.mark.long
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'avatarcast[fleet]'")
def test_fleet(networked_file: Path) -> None:
    """Until its one machine serves; Ray leaves its logs in the folder for what is temporary, and a token.

    That folder's name must be short: Ray puts sockets into it.
    """
    code = (
        "import json, signal, subprocess, sys\n"
        "command = [sys.executable, *sys.argv[1:]]\n"
        "with subprocess.Popen(command, stdout=subprocess.PIPE) as head:\n"
        "    served = json.loads(head.stdout.readline())\n"
        "    head.send_signal(signal.SIGINT)\n"
        "    sys.exit(head.wait() or served['nodes'] != 1)\n"
    )
    options = ("--avatar", networked_file, "--runner", "null", "--port", "0", "--json")
    with TemporaryDirectory() as folder:
        seen = watched_in(Path(folder))(sys.executable, "-c", code, *AVATARCAST[1:], "fleet", *options)
    assert_silent(seen, "tmp/ray/", "home/.ray/auth_token", KEYS)


def test_render(watched: Callable[..., Seen], networked_file: Path, driver: Path) -> None:
    command = ("render", "--avatar", networked_file, "--driver", driver, "--out", "talk.mp4")
    assert_silent(watched(*AVATARCAST, *command), "work/talk.mp4", KEYS)


def test_camera(watched: Callable[..., Seen], networked_file: Path, driver: Path, work: Path) -> None:
    (work / "pyvirtualcam.py").write_text(NO_CAMERA)  # -m puts the working folder first
    python = (sys.executable, "-B", *AVATARCAST[1:])  # -B: that stand-in is not compiled into the folder
    seen = watched(*python, "camera", "--avatar", networked_file, "--device", driver)
    assert_silent(seen, "work/pyvirtualcam.py", KEYS)


def test_evaluate(watched: Callable[..., Seen], driver: Path) -> None:
    """Of a presenter: in what a small network draws a face is found by chance."""
    command = ("evaluate", BUNDLED, "--driver", driver, "--picture", "report.png", "--json")
    assert_silent(watched(*AVATARCAST, *command), "work/report.png")


def test_bench(watched: Callable[..., Seen], networked_file: Path, driver: Path) -> None:
    options = ("--seconds", "1", "--warm-up", "1", "--size", "320x240", "--fps", "15")
    command = ("bench", "glass_to_glass", "--avatar", networked_file, "--driver", driver, *options)
    assert_silent(watched(*AVATARCAST, *command), KEYS)


def test_forget(watched: Callable[..., Seen], networked_file: Path, tmp_path: Path) -> None:
    studio = tmp_path / "stage" / "home" / ".local" / "share" / "avatarcast"
    studio.mkdir(parents=True)
    shutil.copy(networked_file, studio)
    assert_silent(watched(*AVATARCAST, "forget", networked_file.stem), KEYS)


@pytest.mark.long
def test_export(watched: Callable[..., Seen], networked_file: Path, work: Path) -> None:
    shutil.copy(networked_file, work)
    seen = watched(*AVATARCAST, "export", networked_file.name)
    assert_silent(seen, f"work/{networked_file.name}", KEYS)


@pytest.mark.long
def test_enroll(watched: Callable[..., Seen], work: Path) -> None:
    """From film to avatar: prepared first, as for another machine, then trained from that."""
    write_presenter(work / "me.mp4", 135)
    consent = ("--out", "me.avatar", "--consent", "Nobody, made for tests", "--person", "synthetic")
    size = ("--size", "128")
    prepared = watched(*AVATARCAST, "enroll", "me.mp4", *consent, *size, "--prepare-only")
    assert_silent(prepared, "work/me.mp4", "work/me.prepared.npz")
    trained = watched(
        *(*AVATARCAST, "enroll", "me.prepared.npz", *consent, *size),
        *("--minutes", "0.1", "--device", "cpu"),
    )
    assert_silent(trained, "work/me.mp4", "work/me.prepared.npz", "work/me.avatar", KEYS)
