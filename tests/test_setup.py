"""`make` and the set-up script on machines that lack something, with a Python that only pretends."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import tomllib  # type: ignore[import-not-found]  # mypy looks at 3.10

from engine.commands.doctor import PYTHON_WANTED
from tests.support.places import ROOT

# Answers what the set-up script asks; each knob is an environment variable.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) echo "${FAKE_VERSION:-3.11.9}" ;;
    *"import ensurepip, venv"*) [ -z "${FAKE_NO_VENV:-}" ] ;;
    *"-m venv"*)
        for venv; do :; done
        mkdir -p "$venv/bin" && cp "$0" "$venv/bin/python" && echo made >> calls ;;
    *"-m pip --version"*) exit 0 ;;
    *"-m pip install"*) echo "$*" >> calls; [ -z "${FAKE_NO_NETWORK:-}" ] ;;
    *"import cv2"*)
        [ -z "${FAKE_NO_GL:-}" ] || { echo "ImportError: libGL.so.1: no such file" >&2; exit 1; } ;;
    *) echo "run: $*" >> calls ;;
esac
"""


PROJECT = "-m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable ."


def locked(*kinds: str) -> list[str]:
    """How pip is called with these locks."""
    how = "-m pip install --disable-pip-version-check --no-build-isolation --require-hashes"
    return [f"{how}{' --no-compile' * (kind == 'dev')} -r .ci/lock/{kind}.txt" for kind in kinds]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of the set-up in an otherwise empty folder, and a `bin` with no Python in it."""
    folder = tmp_path / "check out"  # a space, as in people's folders
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / ".ci/setup.sh", folder / ".ci")
    shutil.copytree(ROOT / ".ci/lock", folder / ".ci/lock")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "mkdir", "cp", "sed", "tail", "touch", "make"):
        found = shutil.which(tool)
        assert found, f"this machine lacks {tool}"
        (tmp_path / "bin" / tool).symlink_to(found)
    return folder


def put_python(checkout: Path, name: str = "python3", body: str = FAKE_PYTHON) -> Path:
    path = checkout.parent / "bin" / name
    path.write_text(body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make(
    checkout: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent), **(env or {})}
    return subprocess.run(
        ["make", *arguments],
        executable=shutil.which("make", path=os.environ["PATH"]),
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line the set-up says; make adds one of its own."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_no_python(checkout: Path) -> None:
    line = complaint(make(checkout, "setup"))
    assert "found no working Python; wanted Python 3.11 to 3.14" in line
    assert "make setup PYTHON=" in line
    assert not (checkout / ".venv").exists()


def test_only_unsuitable_pythons(checkout: Path) -> None:
    put_python(checkout, "python3", "#!/bin/sh\necho 3.10.13\n")
    put_python(checkout, "python", "#!/bin/sh\necho 3.9.2\n")
    put_python(checkout, "python3.12", "#!/bin/sh\nexit 127\n")  # a version manager's empty shim
    line = complaint(make(checkout, "run"))
    assert "found python3 is 3.10.13, python is 3.9.2; wanted" in line
    assert not (checkout / ".venv").exists()


def test_project_set_up_and_doctor_want_the_same_pythons(checkout: Path) -> None:
    (_, low), (_, high) = PYTHON_WANTED
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">=3.{low},<3.{high + 1}"
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python ::" in text]
    assert named == [f"3.{minor}" for minor in range(low, high + 1)]
    put_python(checkout)
    for minor in range(low - 1, high + 2):
        shutil.rmtree(checkout / ".venv", ignore_errors=True)
        done = make(checkout, "setup", env={"FAKE_VERSION": f"3.{minor}.1"})
        assert (done.returncode == 0) == (low <= minor <= high)


def test_a_named_python_is_the_only_one_tried(checkout: Path) -> None:
    put_python(checkout)
    other = put_python(checkout, "other", "#!/bin/sh\necho 3.15.0\n")
    assert f"{other} is 3.15.0 (PYTHON={other})" in complaint(make(checkout, "setup", f"PYTHON={other}"))
    good = put_python(checkout, "good")
    assert make(checkout, "setup", f"PYTHON={good}").returncode == 0


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        ("FAKE_NO_VENV", "apt-get install python3.11-venv"),
        ("FAKE_NO_NETWORK", "pip could not install what .ci/lock lists"),
        (
            "FAKE_NO_GL",
            "(ImportError: libGL.so.1: no such file); on Debian/Ubuntu: apt-get install libgl1",
        ),
    ],
)
def test_what_is_missing_is_said_and_setup_is_not_taken_as_done(checkout: Path, knob: str, said: str) -> None:
    put_python(checkout)
    assert said in complaint(make(checkout, "setup", env={knob: "1"}))
    assert make(checkout, "setup").returncode == 0  # cured, the same command goes on


def test_run_sets_up_once_and_again_when_the_dependencies_change(checkout: Path) -> None:
    put_python(checkout)
    arguments = ("run", "PORT=9000", "AVATAR=my one.avatar")
    assert make(checkout, *arguments).returncode == 0
    assert make(checkout, *arguments).returncode == 0
    serve = "run: -m engine.cli serve --avatar my one.avatar --port 9000"
    installs = [*locked("build", "serve"), PROJECT]
    assert (checkout / "calls").read_text().splitlines() == ["made", *installs, serve, serve]
    for number, changed in enumerate(("pyproject.toml", ".ci/lock/serve.txt"), 1):
        (checkout / "calls").unlink()
        later = (checkout / changed).stat().st_mtime + 10 * number
        os.utime(checkout / changed, (later, later))
        os.utime(checkout / ".venv/.ready-serve", (later - 5, later - 5))
        assert make(checkout, "run").returncode == 0
        calls = (checkout / "calls").read_text().splitlines()
        assert calls == [*installs, "run: -m engine.cli serve"]  # the same environment, brought up to date


def test_an_environment_of_another_python_is_rebuilt(checkout: Path) -> None:
    put_python(checkout)
    put_python(checkout, "python3.9", "#!/bin/sh\necho 3.9.1\n")
    (checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(checkout.parent / "bin/python3.9", checkout / ".venv/bin/python")
    assert make(checkout, "setup").returncode == 0
    assert (checkout / "calls").read_text().splitlines()[0] == "made"


def test_the_development_setup_covers_serving_too(checkout: Path) -> None:
    put_python(checkout)
    assert make(checkout, "setup-dev").returncode == 0
    assert make(checkout, "setup").returncode == 0
    calls = (checkout / "calls").read_text().splitlines()
    torch = "-m pip install --disable-pip-version-check --quiet --no-index --no-deps torch=="
    made, build, *both, project = calls
    dev, own = sorted(both, key=lambda call: "torch==" in call)  # they run side by side
    assert [made, build, dev, project] == ["made", *locked("build", "dev"), PROJECT]
    assert own.startswith(torch)  # a torch of the user's own was found


def test_torch_is_locked_where_the_user_has_none_of_their_own(checkout: Path) -> None:
    put_python(
        checkout,
        body=FAKE_PYTHON.replace('*"-m pip install"*)', '*"--no-index"*) exit 1 ;;\n    *"-m pip install"*)'),
    )
    assert make(checkout, "setup-dev").returncode == 0
    calls = (checkout / "calls").read_text().splitlines()
    assert locked("torch")[0].replace("--require-hashes", "--require-hashes --no-deps") in calls[2:4]


def test_a_torch_that_cannot_be_had_is_told(checkout: Path) -> None:
    put_python(
        checkout,
        body=FAKE_PYTHON.replace('*"-m pip install"*)', '*torch*) exit 1 ;;\n    *"-m pip install"*)'),
    )
    done = make(checkout, "setup-dev")
    assert done.returncode != 0
    assert "setup: torch is not installed, see above" in done.stderr


def test_what_looks_after_the_locks_has_an_environment_of_its_own(checkout: Path) -> None:
    put_python(checkout)
    assert make(checkout, "sbom").returncode != 0  # there is only a Python that pretends
    assert (checkout / ".venv-tools/bin/python").exists()
    assert not (checkout / ".venv").exists()
    assert (checkout / "calls").read_text().splitlines() == ["made", *locked("build", "tools")]
