"""The installation's key, those it trusts, and `avatarcast keys`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.cli import main
from engine.errors import FileError
from engine.provenance.keys import (
    KNOWN,
    OWN,
    fingerprint,
    installation_key,
    is_key,
    key_line,
    key_ring,
    keys_folder,
    public_text,
    sign,
    verifies,
)

STRANGER = public_text(Ed25519PrivateKey.generate())


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_it_is_made_at_its_first_use_for_its_owner_alone() -> None:
    assert key_ring().own == ""
    assert not keys_folder().exists()  # asking makes nothing
    key = installation_key()
    assert (keys_folder() / OWN).stat().st_mode & 0o777 == 0o600
    assert keys_folder().stat().st_mode & 0o777 == 0o700
    assert public_text(installation_key()) == public_text(key) == key_ring().own
    assert verifies(public_text(key), sign(key, b"words"), b"words")
    assert not verifies(public_text(key), sign(key, b"words"), b"other words")


def test_of_two_who_make_it_at_once_both_have_the_same() -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(public_text(installation_key()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert [path.name for path in keys_folder().iterdir()] == [OWN]


def test_one_that_others_could_read_is_closed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    installation_key()
    path = keys_folder() / OWN
    path.chmod(0o644)
    assert key_ring().own
    assert path.stat().st_mode & 0o777 == 0o600
    assert "could be read by others" in caplog.text


def test_a_damaged_one_is_kept_and_another_made(caplog: pytest.LogCaptureFixture) -> None:
    before = public_text(installation_key())
    (keys_folder() / OWN).write_bytes(b"damaged")
    assert key_ring().own == ""
    assert public_text(installation_key()) != before
    assert "cannot be read as a key" in caplog.text
    assert [path.read_bytes() for path in keys_folder().glob(f"{OWN}.broken-*")] == [b"damaged"]


def test_where_none_can_be_kept_the_variable_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"no folder")
    with pytest.raises(FileError, match="name a folder that can be written with XDG_DATA_HOME"):
        installation_key()


@pytest.mark.parametrize(
    "text",
    ["", "x", STRANGER[:-1], STRANGER + "=", "\0" * 44, STRANGER.replace("=", "A"), None, 7],
    ids=["empty", "short", "cut", "longer", "zeros", "not padded", "none", "a number"],  # the key is random
)
def test_what_is_no_key(text: object) -> None:
    assert is_key(STRANGER)
    assert not is_key(text)
    assert not verifies(str(text), "AAAA", b"")


def test_a_damaged_list_trusts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["keys", "trust", key_line(STRANGER, "Studio B")]) == 0
    assert key_ring().name_of(STRANGER) == "Studio B"
    for damaged in (b"{", b"[]", b'{"name": 1, "trusted": {}}', b'{"name": "", "trusted": {"x": "y"}}'):
        (keys_folder() / KNOWN).write_bytes(damaged)
        assert key_ring().name_of(STRANGER) == ""
        assert "no key is trusted until" in caplog.text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert main(["keys", *words]) == 0
        return capsys.readouterr().out

    assert "own         none yet" in said()
    assert said("name", "Studio A") == "this installation is called Studio A\n"
    line = said("export")
    own = key_ring().own
    assert line == f"avatarcast-key {own} Studio A\n"
    given = tmp_path / "b.key"
    given.write_text(key_line(STRANGER, "Studio B") + "\n")
    assert said("trust", str(given)) == f"trusted: Studio B, {fingerprint(STRANGER)}\n"
    said("trust", STRANGER, "--name", "the others")  # the same key under another name
    assert set(key_ring().trusted.values()) == {"the others"}
    shown = said()
    assert f"own         {fingerprint(own)}  Studio A\n" in shown
    assert f"trusted     {fingerprint(STRANGER)}  the others\n" in shown
    assert "presenters  " in shown
    kinds = [key["kind"] for key in json.loads(said("--json"))["keys"]]
    assert kinds == ["own", "presenters", "trusted"]
    assert said("distrust", fingerprint(STRANGER)) == "not trusted any more: the others\n"
    assert not key_ring().trusted
    assert said("export", "--out", str(tmp_path / "a.key")) == f"written: {tmp_path / 'a.key'}\n"
    assert (tmp_path / "a.key").read_text() == line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("trust", "nonsense"), "'nonsense': is no public key; wanted the line"),
        (("trust", STRANGER), "a key's name is 1 to 60 printable characters: give --name"),
        (("trust", STRANGER, "--name", "a\x1b"), "a key's name is 1 to 60"),
        (("trust", STRANGER, "--name", "avatarcast"), "is the name of the bundled presenters' key"),
        (("distrust", "nobody"), "'nobody': no such key is trusted; trusted are: none"),
        (("name", ""), "a key's name is 1 to 60"),
        (("learn", "nowhere.json"), "nowhere.json: cannot be read (No such file or directory)"),
    ],
)
def test_refusals_are_one_line(words: tuple[str, ...], reason: str, error_line: Callable[[], str]) -> None:
    assert main(["keys", *words]) == 1
    assert reason in error_line()
    assert not (keys_folder() / KNOWN).exists()


def test_a_name_belongs_to_one_key(error_line: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> None:
    another = public_text(Ed25519PrivateKey.generate())
    assert main(["keys", "trust", STRANGER, "--name", "B"]) == 0
    capsys.readouterr()
    assert main(["keys", "trust", another, "--name", "B"]) == 1
    assert "B: another key has that name" in error_line()
    installation_key()
    for own in (key_ring().own, key_ring().presenters):
        assert main(["keys", "trust", own, "--name", "C"]) == 1
        assert "counts already" in error_line()
    assert key_ring().trusted == {STRANGER: "B"}
