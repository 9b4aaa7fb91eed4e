"""The Containerfile and what is written of it: each path, command and variable that they name exists."""

from __future__ import annotations

import json
import re
import shlex
from argparse import ArgumentParser
from fnmatch import fnmatch

import tomllib  # type: ignore[import-not-found]  # mypy looks at 3.10

from engine.user_folders import CACHE_VARIABLE, DATA_VARIABLE
from stream.commands import serve
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUP = (ROOT / ".ci/setup.sh").read_text(encoding="utf-8")
README = (ROOT / "stream/README.md").read_text(encoding="utf-8")
KNOWN = ("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD")


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what follows it, on one line."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined)]


def every(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in every("ENV") for word in shlex.split(rest))


def copied() -> list[str]:
    return [source for rest in every("COPY") for source in rest.split()[:-1]]


def test_only_known_instructions_stand_in_it() -> None:
    assert {name for name, _ in instructions()} == set(KNOWN)


def test_its_python_is_one_that_set_up_takes() -> None:
    (image,) = every("FROM")
    assert (found := re.fullmatch(r"python:(3\.\d+)-slim", image))
    assert f"{found[1]}.*" in SETUP
    assert f"Programming Language :: Python :: {found[1]}" in PROJECT["project"]["classifiers"]
    assert f"PYTHON=python{found[1]} " in " ".join(every("RUN"))


def test_all_that_set_up_reads_is_copied_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    assert {f"!{source}" for source in copied()} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied())
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) < set(copied())
    assert set(PROJECT["project"]["license-files"]) <= set(copied())
    assert {"pyproject.toml", ".ci"} <= set(copied())
    assert (ROOT / ".ci/lock/serve.txt").is_file()
    assert not any(fnmatch(source, "*.avatar") for source in copied())


def test_set_up_is_the_one_of_make() -> None:
    run = " ".join(every("RUN"))
    assert "sh .ci/setup.sh serve" in run
    assert "serve | dev)" in SETUP
    packages = re.findall(
        r"apt-get install (?:-y --no-install-recommends )?(lib[\w. -]+?)(?: &&|\")", run + SETUP
    )
    assert len({tuple(sorted(found.split())) for found in packages}) == 1 < len(packages)  # the same ones


def test_it_runs_as_somebody_who_may_write_what_it_names() -> None:
    (user,) = every("USER")
    number, group = user.split(":")
    assert int(number) > 0
    (volume,) = every("VOLUME")
    assert any(f"install -d -o {number} -g {group} -m 0770 {volume}" in run for run in every("RUN"))
    names = environment()
    assert names[DATA_VARIABLE] == volume
    assert names[CACHE_VARIABLE].startswith("/tmp/")
    assert names["PATH"].startswith(f"{every('WORKDIR')[0]}/.venv/bin:")
    for text in (volume, user.split(":")[0], DATA_VARIABLE, CACHE_VARIABLE, "TMPDIR"):
        assert text in README


def served(words: list[str]) -> str:
    """The address that the server then listens on. SystemExit for what it does not know."""
    assert words.pop(0) == "serve"
    parser = ArgumentParser()
    serve.add_arguments(parser)
    return str(parser.parse_args(words).host)


def test_it_starts_the_server_on_the_loopback_address() -> None:
    ((entry,), command) = (json.loads(every(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert entry in PROJECT["project"]["scripts"]
    assert command[0] in PROJECT["project"]["entry-points"]["avatarcast.commands"]
    assert served(command) == "127.0.0.1"


def test_what_the_documents_tell_to_type_is_understood() -> None:
    blocks = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    runs = [shlex.split(line, comments=True) for line in blocks.splitlines() if line.startswith("podman run")]
    assert len(runs) == 2
    hosts = []
    for words in runs:
        options, command = words[: words.index("avatarcast")], words[words.index("avatarcast") + 1 :]
        (volume,) = every("VOLUME")
        assert f"avatarcast:{volume}" in options
        assert {"--read-only", "--tmpfs", "/tmp"} <= set(options)
        hosts.append(served(command or ["serve"]))
    assert hosts == ["127.0.0.1", "0.0.0.0"]
