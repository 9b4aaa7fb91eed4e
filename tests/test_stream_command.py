"""The serve command's edges: ports, hosts, a second server, Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from engine.errors import BusyError, SettingsError
from stream.command import add_arguments, listen, run

START_LIMIT_S = 40  # on a machine that is busy with other tests


@pytest.fixture
def echo_server() -> Iterator[tuple[subprocess.Popen[str], dict[str, str | int]]]:
    """The real server loop in a process of its own, with a pipeline that needs no avatar."""
    command = [sys.executable, "-m", "benchmarks.echo_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        process.kill()


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_cleanly(
    echo_server: tuple[subprocess.Popen[str], dict[str, str | int]], stop: signal.Signals
) -> None:
    process, facts = echo_server
    with urlopen(f"{facts['url']}/healthz", timeout=START_LIMIT_S) as reply:
        assert json.load(reply)["status"] == "ok"
    process.send_signal(stop)
    _, errors = process.communicate(timeout=START_LIMIT_S)
    assert process.returncode == 0
    assert errors.splitlines() == ["avatarcast: stopped, 0 open session(s) closed"]


def test_start_up_facts(echo_server: tuple[subprocess.Popen[str], dict[str, str | int]]) -> None:
    process, facts = echo_server
    assert facts["pid"] == process.pid
    assert facts["url"] == f"http://127.0.0.1:{facts['port']}"
    assert {"avatar", "runner", "runner_reason", "max_sessions"} <= set(facts)


def test_second_server_on_the_same_port() -> None:
    with listen("127.0.0.1", 0, allow_remote=False) as first:
        port = first.getsockname()[1]
        with pytest.raises(BusyError, match=rf"^port {port} is in use .*--port") as error:
            listen("127.0.0.1", port, allow_remote=False)
        assert "\n" not in str(error.value)
    listen("127.0.0.1", port, allow_remote=False).close()  # and free again


@pytest.mark.parametrize("port", ["x", "-1", "65536", "80.5", "", "99999999999999"])
def test_port_out_of_range(port: str) -> None:
    with pytest.raises(SettingsError, match=r"--port .* whole number from 0 to 65535"):
        run(parse(f"--port={port}"))


@pytest.mark.parametrize("count", ["0", "many", "65"])
def test_session_limit_out_of_range(count: str) -> None:
    with pytest.raises(SettingsError, match=r"--max-sessions .* whole number from 1 to 64"):
        run(parse("--max-sessions", count))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_other_hosts_need_a_word_of_consent(host: str) -> None:
    with pytest.raises(SettingsError, match=r"without TLS.*--allow-remote"):
        listen(host, 0, allow_remote=False)


def test_remote_host_on_request() -> None:
    with listen("0.0.0.0", 0, allow_remote=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.250 port 0 .*127\.0\.0\.1"):
        listen("192.0.2.250", 0, allow_remote=True)


def test_a_taken_port_is_told_before_any_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.avatar", None)  # an import would raise
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BusyError):
        run(parse("--port", str(taken.getsockname()[1])))
