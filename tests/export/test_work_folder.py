"""The work folder of an enrolment: one process at a time, and nothing in it that cannot be read ends it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import save_avatar
from engine.avatar.beside import work_path
from engine.errors import BusyError, SettingsError
from export.enroll_options import EnrollOptions
from export.footage.prepared import Prepared
from export.footage.prepared_file import Origin, save_prepared
from export.work_folder import WorkFolder, remove_finished_work

ORIGIN = Origin(("ab" * 32,), ("0,0,128",), (), "0.1.0")


@pytest.fixture
def options(tmp_path: Path) -> EnrollOptions:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a film, for all that is asked here")
    return EnrollOptions(footage=(clip,), out=tmp_path / "a.avatar", statement="Nobody, for tests", size=128)


@pytest.fixture
def begun(options: EnrollOptions, prepared: Prepared) -> Path:
    """An enrolment that was interrupted."""
    with WorkFolder(options) as work:
        work.keep(training_s=12.5)
        save_prepared(work.prepared, prepared, ORIGIN)
        work.checkpoint.write_bytes(b"trained")
    return work.path


def broken(work: Path) -> list[str]:
    return sorted(path.name.partition(".broken-")[0] for path in work.glob("*.broken-*"))


def test_it_goes_on_with_what_was_kept(options: EnrollOptions, begun: Path, prepared: Prepared) -> None:
    told: list[str] = []
    with WorkFolder(options, told.append) as work:
        assert work.training_budget_s(1e6, 0.0) == 12.5
        kept = work.kept_footage()
        assert kept is not None
        assert (kept[0].rgb == prepared.rgb).all()
        assert kept[1] == ORIGIN
    assert told == []
    with pytest.raises(SettingsError, match="another size"):
        WorkFolder(replace(options, size=256))


def test_faces_are_for_their_owner_alone(options: EnrollOptions, begun: Path) -> None:
    assert begun.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in begun.iterdir() if path.name != "checkpoint.pt"} == {0}
    begun.chmod(0o755)
    told: list[str] = []
    with WorkFolder(options, told.append):
        assert begun.stat().st_mode & 0o777 == 0o700
    assert told == [f"{begun} could be read by others: it is closed to them now"]


def test_one_enrolment_at_a_time(options: EnrollOptions) -> None:
    with WorkFolder(options):
        second = WorkFolder(options)
        with pytest.raises(BusyError, match=r"a\.avatar\.work: process \d+ makes this avatar already: wait"):
            second.__enter__()
    with second:
        pass
    assert not work_path(options.out).exists()  # nothing was kept


@pytest.mark.parametrize("text", ["", '{"size": 256,', "[]", "5", '{"training_s": "long"}', "\0\0\0"])
def test_settings_that_cannot_be_read(options: EnrollOptions, begun: Path, text: str) -> None:
    """What the other files are of is not known then: none of them is used, none is lost."""
    (begun / "settings.json").write_text(text)
    told: list[str] = []
    with WorkFolder(options, told.append) as work:
        assert work.kept_footage() is None
        assert not work.checkpoint.exists()
        assert work.training_budget_s(100.0, 0.0) == 80.0
    (line,) = told
    assert "settings.json cannot be read" in line
    assert "begins anew" in line
    assert "\n" not in line
    assert broken(begun) == ["checkpoint.pt", "prepared.npz", "settings.json"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_prepared_footage_that_was_cut_short(options: EnrollOptions, begun: Path, share: float) -> None:
    whole = (begun / "prepared.npz").read_bytes()
    (begun / "prepared.npz").write_bytes(whole[: int(len(whole) * share)])
    told: list[str] = []
    with WorkFolder(options, told.append) as work:
        assert work.kept_footage() is None
        assert work.checkpoint.exists()  # the same footage will be prepared again
    (line,) = told
    assert "prepare the footage again, which is done now" in line
    assert "\n" not in line
    assert broken(begun) == ["prepared.npz"]


def test_work_that_was_finished_is_removed(options: EnrollOptions, begun: Path, noise: Avatar) -> None:
    """A process died between the avatar and the end of its work folder."""
    footage = json.loads((begun / "settings.json").read_text())["footage_sha256"]
    save_avatar(options.out, replace(noise, training={"footage_sha256": ["00"]}))
    remove_finished_work(options.out)
    assert begun.exists()  # of another avatar
    options.out.unlink()
    save_avatar(options.out, replace(noise, training={"footage_sha256": footage}))
    with WorkFolder(options):
        remove_finished_work(options.out)
        assert begun.exists()  # in use
    remove_finished_work(options.out)
    assert not begun.exists()
    remove_finished_work(options.out)
