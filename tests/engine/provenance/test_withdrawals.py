"""Consent that is withdrawn: the avatar is refused here, and where the list is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, load_cover, save_avatar
from engine.cli import main
from engine.errors import PackageError
from engine.media.disclosure import MarkStyle
from engine.pipeline import PipelineConfig
from engine.provenance.keys import installation_key, key_line, keys_folder, public_text
from engine.provenance.withdrawals import own_list
from stream.render.avatars import served_file

At = Callable[[str], None]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> At:
    """Goes on at another installation."""

    def go(name: str) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))

    go("home")
    return go


@pytest.fixture
def copy(at: At, avatar_file: Path, tmp_path: Path) -> Path:
    """What somebody has of an avatar that was made at home and forgotten there."""
    save_avatar(avatar_file, load_avatar(avatar_file))
    kept = tmp_path / "copy.avatar"
    shutil.copy(avatar_file, kept)
    assert main(["forget", str(avatar_file)]) == 0
    return kept


def served(path: Path) -> bool:
    try:
        served_file(path, PipelineConfig("null"), MarkStyle())
    except PackageError:
        return False
    return True


def test_it_is_refused_where_it_was_forgotten_and_can_be_told_of_and_removed(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not served(copy)
    with pytest.raises(PackageError, match=r"was withdrawn on 20.*: it is not used any more"):
        load_avatar(copy)
    capsys.readouterr()
    assert main(["info", str(copy)]) == 0
    assert "withdrawn  on 20" in capsys.readouterr().out
    assert main(["forget", str(copy)]) == 0
    assert not copy.exists()


def test_what_is_packed_anew_of_it_is_refused_too(copy: Path) -> None:
    avatar = load_avatar(copy, even_withdrawn=True)
    save_avatar(copy, replace(avatar, name="another", stored=None))
    assert not served(copy)


def test_others_refuse_it_once_they_know_the_list(
    copy: Path, at: At, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "list.json"
    assert main(["keys", "withdrawals", "--out", str(written)]) == 0
    at("elsewhere")
    assert served(copy)
    capsys.readouterr()
    assert main(["keys", "learn", str(written)]) == 0
    assert capsys.readouterr().out.endswith(", 1 withdrawn\n")
    assert not served(copy)


def test_a_stranger_can_withdraw_nobody(copy: Path, at: At, tmp_path: Path) -> None:
    likeness = next(iter(json.loads(own_list())["withdrawn"]))
    at("stranger")
    keys_folder().mkdir(parents=True, mode=0o700)
    installation_key()
    forget_here = load_avatar(copy)
    assert forget_here.stored is not None
    assert forget_here.stored.likeness == likeness
    mine = tmp_path / "mine.avatar"
    shutil.copy(copy, mine)
    assert main(["forget", str(mine)]) == 0
    written, line = tmp_path / "list.json", tmp_path / "key"
    assert main(["keys", "withdrawals", "--out", str(written)]) == 0
    line.write_text(key_line(public_text(installation_key()), "the stranger"))
    at("elsewhere")
    assert main(["keys", "learn", str(written)]) == 0
    assert served(copy)  # its key had no hand in the avatar
    assert main(["keys", "trust", str(line)]) == 0
    assert not served(copy)  # but it is trusted now


@pytest.mark.parametrize("damage", ["word", "signature", "key", "json", "older"])
def test_a_list_that_was_changed_is_refused(
    copy: Path,
    at: At,
    tmp_path: Path,
    error_line: Callable[[], str],
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = tmp_path / "list.json"
    assert main(["keys", "withdrawals", "--out", str(written)]) == 0
    kept = json.loads(written.read_bytes())
    at("elsewhere")
    if damage == "older":
        assert main(["keys", "learn", str(written)]) == 0
        at("home")
        (keys_folder() / "withdrawn.json").unlink()
        assert main(["keys", "withdrawals", "--out", str(written)]) == 0
        at("elsewhere")
    elif damage == "json":
        written.write_bytes(b"[]")
    elif damage == "word":
        written.write_text(json.dumps(kept | {"withdrawn": {"0" * 64: "2026-01-01"}}))
    elif damage == "signature":
        written.write_text(json.dumps(kept | {"signature": "AAAA"}))
    else:
        written.write_text(json.dumps(kept | {"key": public_text(Ed25519PrivateKey.generate())}))
    capsys.readouterr()
    assert main(["keys", "learn", str(written)]) == 1
    line = error_line()
    assert (
        ("it is older" in line)
        if damage == "older"
        else ("is no list of withdrawals, or was changed" in line)
    )
    assert served(copy) == (damage != "older")


def test_a_damaged_own_list_is_not_written_over(copy: Path, noise: Avatar, tmp_path: Path) -> None:
    path = keys_folder() / "withdrawn.json"
    path.write_bytes(b"damaged")
    other = tmp_path / "other.avatar"
    save_avatar(other, replace(noise, support=replace(noise.support, high=noise.support.high + 1)))
    assert main(["forget", str(other)]) == 0
    assert [kept.read_bytes() for kept in keys_folder().glob("withdrawn.json.broken-*")] == [b"damaged"]
    assert load_cover(copy).standing.withdrawn == ""
