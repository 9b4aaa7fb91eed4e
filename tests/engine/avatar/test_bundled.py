"""The bundled presenters: whichever files lie in the assets are there by name, and load when chosen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.avatar import bundled
from engine.avatar.avatar_file import load_avatar, load_cover
from engine.avatar.bundled import bundled_name, bundled_names
from engine.cli import main
from engine.commands.doctor import run_checks
from engine.errors import PackageError
from engine.media.disclosure import MarkStyle
from engine.pipeline import PipelineConfig
from engine.provenance.chain import BY_PRESENTERS
from stream.render.avatars import served_file


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of assets with a second presenter and something else in it."""
    folder = tmp_path / "assets"
    folder.mkdir()
    with bundled.bundled_file(bundled_names()[0]) as file:
        for name in ("bo", "theo"):
            shutil.copy(file, folder / f"{name}.avatar")
    (folder / "face_mesh.npz").touch()
    monkeypatch.setattr(bundled, "FOLDER", folder)
    return folder


def test_what_comes_with_avatarcast_is_synthetic() -> None:
    """So it needs no mark; and each has a name of its own, the first of them two."""
    assert bundled_names()[0] == "theo"
    for name in bundled_names():
        cover = load_cover(name)
        assert cover.name == name
        assert not cover.wants_mark
        assert cover.standing.state == BY_PRESENTERS
    assert load_avatar("bundled").name == "theo"


def test_a_file_more_is_a_presenter_more(assets: Path) -> None:
    assert bundled_names() == ["theo", "bo"]
    assert load_avatar("bo").name == "bo"
    assert {check.name for check in run_checks()} >= {"presenter theo", "presenter bo"}
    (assets / "theo.avatar").unlink()
    assert bundled_name("bundled") == "bo"
    assert bundled_name("theo") is None


def test_a_cover_says_what_the_avatar_says(avatar_file: Path) -> None:
    avatar, cover = load_avatar(avatar_file), load_cover(avatar_file)
    assert (cover.name, cover.size) == (avatar.name, avatar.size)
    assert (cover.consent, cover.preview_jpeg) == (avatar.consent, avatar.preview_jpeg)


def test_a_cover_of_a_damaged_file_is_refused(avatar_file: Path) -> None:
    data = bytearray(avatar_file.read_bytes())
    data[len(data) // 2] ^= 1
    avatar_file.write_bytes(data)
    with pytest.raises(PackageError, match=r"noise\.avatar"):
        load_cover(avatar_file)


def test_an_unknown_name_is_told_the_known_ones(assets: Path, error_line: Callable[[], str]) -> None:
    assert main(["info", "them"]) == 1
    line = error_line()
    assert "them: no such file; wanted an .avatar file" in line
    assert line.endswith("or a bundled presenter (theo, bo)")
    assert main(["export", "bo"]) == 1
    assert "bo: is part of avatarcast" in error_line()


def test_no_file_takes_the_mark_off_by_its_own_word(assets: Path, avatar_file: Path) -> None:
    """A copy of a presenter is one wherever it lies; what merely says that nobody is shown is marked."""
    assert served_file("bo", PipelineConfig("null"), MarkStyle()).mark_style is None
    assert served_file(assets / "bo.avatar", PipelineConfig("null"), MarkStyle()).mark_style is None
    assert load_cover(avatar_file).consent["person"] == "synthetic"
    assert served_file(avatar_file, PipelineConfig("null"), MarkStyle()).mark_style is not None


def test_the_page_writes_a_presenters_name_as_a_name(assets: Path, avatar_file: Path) -> None:
    """A file's own name stays as it is; nothing but the cover is read before the avatar is chosen."""
    presenter, own = (served_file(path, PipelineConfig("null"), MarkStyle()) for path in ("bo", avatar_file))
    assert (presenter.name, presenter.title) == ("bo", "Bo")
    assert (own.name, own.title) == ("noise", "")
    (assets / "bo.avatar").unlink()
    with pytest.raises(PackageError, match=r"bo: no such file"):
        presenter.build()
