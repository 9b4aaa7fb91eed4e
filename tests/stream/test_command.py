"""The serve command's edges: ports, hosts, tokens, TLS, a second server, Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from engine.errors import BusyError, SettingsError
from stream.commands.serve import add_arguments, run
from stream.http.client_address import THIS_MACHINE
from stream.http.exposure import MEDIA_PORTS_VARIABLE, TOKEN_VARIABLE, Exposure, listen, read_exposure
from tests.support.certificate import certificate_for_this_machine

TOKEN = "a-token-of-a-test"
START_LIMIT_S = 40  # on a machine that is busy with other tests


@pytest.fixture
def echo_server() -> Iterator[tuple[subprocess.Popen[str], dict[str, str | int]]]:
    """The real server loop in a process of its own, with a pipeline that needs no avatar."""
    command = [sys.executable, "-m", "benchmarks.live.echo_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        process.kill()


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_sigterm_and_a_closed_terminal_end_it_cleanly(
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
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BusyError, match=rf"^port {port} is in use .*--port") as error:
            listen("127.0.0.1", port)
        assert "\n" not in str(error.value)
    listen("127.0.0.1", port).close()  # and free again


@pytest.mark.parametrize("port", ["x", "-1", "65536", "80.5", "", "99999999999999"])
def test_port_out_of_range(port: str) -> None:
    with pytest.raises(SettingsError, match=r"--port .* whole number from 0 to 65535"):
        run(parse(f"--port={port}"))


@pytest.mark.parametrize("count", ["0", "many", "65"])
def test_session_limit_out_of_range(count: str) -> None:
    with pytest.raises(SettingsError, match=r"--max-sessions .* whole number from 1 to 64"):
        run(parse("--max-sessions", count))


@pytest.mark.parametrize("fps", ["0", "31", "fast"])
def test_least_rate_out_of_range(fps: str) -> None:
    with pytest.raises(SettingsError, match=r"--least-fps .* whole number from 1 to 30"):
        run(parse("--least-fps", fps))


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    return written(tmp_path / "token", f"{TOKEN}\n")


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[str, str]:
    chain, key = certificate_for_this_machine(tmp_path)
    return str(chain), str(key)


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def exposure(*words: str) -> Exposure:
    return read_exposure(parse(*words))


@pytest.mark.parametrize(
    "text", ["x", "", "0", "65536", "50100-50000", "50000-", "1-2-3", "-5", "5 6", "9" * 5_000]
)
def test_media_ports_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "a UDP port from 1 to 65535 or a range as 50000-50100 is needed"
    with pytest.raises(SettingsError, match=rf"^--media-ports .*: {words}$"):
        exposure(f"--media-ports={text}")
    monkeypatch.setenv(MEDIA_PORTS_VARIABLE, text)
    with pytest.raises(SettingsError, match=rf"^{MEDIA_PORTS_VARIABLE} .*: {words}$"):
        exposure()


def test_media_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exposure().media_ports is None
    assert exposure("--media-ports", "50000").media_ports == range(50_000, 50_001)
    monkeypatch.setenv(MEDIA_PORTS_VARIABLE, "50000-50100")
    assert exposure().media_ports == range(50_000, 50_101)
    assert exposure("--media-ports", "1-65535").media_ports == range(1, 65_536)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_other_machines_need_tls_and_a_token(host: str, token_file: str, tls_files: tuple[str, str]) -> None:
    tls = ("--tls-cert", tls_files[0], "--tls-key", tls_files[1])
    token = ("--token-file", token_file)
    with pytest.raises(SettingsError, match=r"without TLS; use 127\.0\.0\.1, give --tls-cert"):
        exposure("--host", host)
    with pytest.raises(SettingsError, match=r"without TLS"):
        exposure("--host", host, *token)
    with pytest.raises(SettingsError, match=r"needs a token; .*--token-file"):
        exposure("--host", host, *tls)
    with pytest.raises(SettingsError, match=r"needs a token"):
        exposure("--host", host, "--trusted-proxy", "192.0.2.7")
    for words in (tls, ("--trusted-proxy", "192.0.2.7")):
        found = exposure("--host", host, *words, *token)
        assert not found.access.loopback_only
        assert found.access.token == TOKEN
    assert exposure("--host", host, *tls, *token).tls is not None


def test_this_machine_is_given_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs and users of it are not let in either."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    found, again = exposure(), exposure()
    assert found.access.loopback_only
    assert found.tls is None
    assert found.access.made_token
    assert found.access.token is not None
    assert len(found.access.token) >= 32
    assert found.access.token != again.access.token


def test_a_proxy_on_this_machine_brings_others(token_file: str) -> None:
    with pytest.raises(SettingsError, match="needs a token"):
        exposure("--behind-proxy")
    access = exposure("--behind-proxy", "--token-file", token_file).access
    assert access.proxies == THIS_MACHINE
    assert not access.loopback_only


def test_a_proxy_elsewhere_is_named(token_file: str) -> None:
    """Else anybody who reaches the port could say who they are."""
    reached = ("--host", "0.0.0.0", "--token-file", token_file)
    with pytest.raises(SettingsError, match="name yours with --trusted-proxy"):
        exposure(*reached, "--behind-proxy")
    access = exposure(*reached, "--trusted-proxy", "10.0.0.7", "--trusted-proxy", "10.1.0.0/16").access
    assert [str(network) for network in access.proxies] == ["10.0.0.7/32", "10.1.0.0/16"]
    assert not access.loopback_only
    with pytest.raises(SettingsError, match=r"--trusted-proxy '10\.1'"):
        exposure(*reached, "--trusted-proxy", "10.1")


def test_a_token_from_the_environment(token_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert exposure().access.token == TOKEN
    assert not exposure().access.made_token  # nor told to anybody
    with pytest.raises(SettingsError, match=f"--token-file and {TOKEN_VARIABLE} are both given"):
        exposure("--token-file", token_file)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "short", "fifteen-letters", "two lines\nof a token", "with a space in it", "ünïcödé" * 3],
)
def test_tokens_that_are_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(SettingsError, match=r"token.* needed") as refusal:
        exposure("--token-file", written(tmp_path / "token", text))
    assert not text.strip() or text not in str(refusal.value)  # not even a wrong one is shown
    with pytest.raises(SettingsError, match="cannot be read"):
        exposure("--token-file", str(tmp_path / "none"))


def test_tls_files_that_are_none(tls_files: tuple[str, str], tmp_path: Path, token_file: str) -> None:
    certificate, key = tls_files
    with pytest.raises(SettingsError, match="come together"):
        exposure("--tls-cert", certificate)
    for pair in ((key, certificate), (str(tmp_path / "none"), key), (certificate, token_file)):
        with pytest.raises(SettingsError, match=r"cannot be used .*PEM chain"):
            exposure("--tls-cert", pair[0], "--tls-key", pair[1])


def test_turn_servers(tmp_path: Path, token_file: str) -> None:
    user = written(tmp_path / "user", "ada:lovelace")
    proxied = ("--behind-proxy", "--token-file", token_file)
    turn = ("--ice-server", "stun:s.example", "--ice-server", "turn:t.example:3478")
    servers = exposure(*proxied, *turn, "--turn-user-file", user).ice_servers
    assert servers.for_page(0.0)[1] == {
        "urls": "turn:t.example:3478",
        "username": "ada",
        "credential": "lovelace",
    }
    assert exposure(*proxied, *turn, "--turn-secret-file", token_file).ice_servers.secret == TOKEN
    with pytest.raises(SettingsError, match="only this machine reaches"):
        exposure(*turn, "--turn-user-file", user)
    with pytest.raises(SettingsError, match="NAME:PASSWORD"):
        exposure(*proxied, *turn, "--turn-user-file", token_file)


def test_over_tls_with_a_token(tls_files: tuple[str, str], token_file: str) -> None:
    """The whole of it, in a process of its own: avatar, certificate, token; and what it says of itself."""
    words = ["serve", "--port", "0", "--json", "--runner", "null", "--token-file", token_file]
    words += ["--tls-cert", tls_files[0], "--tls-key", tls_files[1]]
    command = [sys.executable, "-m", "engine.cli", *words]
    tls = ssl.create_default_context(cafile=tls_files[0])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        assert facts["url"].startswith("https://127.0.0.1:")
        assert facts["link"] == facts["url"]  # a token that was given is known already
        assert facts["token"] is True
        with urlopen(f"{facts['url']}/", timeout=START_LIMIT_S, context=tls) as reply:
            assert b"avatarcast" in reply.read()
        asked = Request(f"{facts['url']}/api/config")
        with pytest.raises(HTTPError, match="401"):
            urlopen(asked, timeout=START_LIMIT_S, context=tls)
        asked.add_header("Authorization", f"Bearer {TOKEN}")
        with urlopen(asked, timeout=START_LIMIT_S, context=tls) as reply:
            assert json.load(reply)["avatar"] == facts["avatar"]
        with pytest.raises((URLError, ConnectionError)):  # not a word without TLS
            urlopen(f"http://127.0.0.1:{facts['port']}/healthz", timeout=START_LIMIT_S)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=START_LIMIT_S)
    assert process.returncode == 0
    assert TOKEN not in json.dumps(facts) + errors


@pytest.mark.parametrize("as_json", [True, False])
def test_a_local_server_prints_a_link_with_its_token(as_json: bool, tmp_path: Path) -> None:
    """As it is, the link opens the page; without its token nothing of the studio is told or deleted."""
    words = ["serve", "--port", "0", "--runner", "null", "--studio", str(tmp_path)]
    command = [sys.executable, "-m", "engine.cli", *words, *(["--json"] if as_json else [])]
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        if as_json:
            link = str(json.loads(process.stdout.readline())["link"])
        else:
            assert process.stdout.readline() == "avatarcast is ready\n"
            link = process.stdout.readline().split()[1]
        page, token = link.split("#token=")
        assert page.startswith("http://127.0.0.1:")
        for path, method in (("api/studio", "GET"), ("api/studio/takes/me", "DELETE"), ("metrics", "GET")):
            with pytest.raises(HTTPError, match="401"):
                urlopen(Request(f"{page}{path}", method=method), timeout=START_LIMIT_S)
        asked = Request(f"{page}api/studio", headers={"Authorization": f"Bearer {token}"})
        with urlopen(asked, timeout=START_LIMIT_S) as reply:
            assert json.load(reply)["takes"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_LIMIT_S) == 0


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.250 port 0 .*127\.0\.0\.1"):
        listen("192.0.2.250", 0)


def test_a_taken_port_is_told_before_any_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.avatar.avatar_file", None)  # an import would raise
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BusyError):
        run(parse("--port", str(taken.getsockname()[1])))
