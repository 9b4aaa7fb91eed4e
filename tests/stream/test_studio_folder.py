"""The studio's folder: one server's at a time, tidied, private, and emptied of whoever withdraws consent."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.files import LOCK, FolderLock
from tests.support.studio_stage import Stage, studio_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with studio_stage(tmp_path / "studio") as one:
        yield one


class TestOneServerAtATime:
    async def test_another_server_says_who_has_the_folder_and_changes_nothing(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        name = await stage.record()
        folder = stage.studio.config.folder
        (folder / "bob.avatar").write_bytes(b"x")
        async with studio_stage(folder) as second:
            second.studio.offer_avatars()
            assert f"another server (process {os.getpid()}) keeps" in caplog.text
            assert "bob" in [avatar.name for avatar in second.avatars]  # to be driven
            answer = (await second.ask("GET", ""))[1]
            assert "another server" in answer["missing"]
            assert "--studio" in answer["missing"]
            for status, refusal in (
                await second.begin(),
                await second.ask("POST", "/job", {"take": name, "minutes": 0.5}),
                await second.ask("DELETE", f"/takes/{name}"),
                await second.ask("DELETE", "/avatars/bob"),
            ):
                assert (status, refusal["error"]) == (503, answer["missing"])
            assert stage.files() == {f"recordings/{name}.webm", f"recordings/{name}.json", "bob.avatar"}
            await stage.studio.close()
            assert (await second.begin())[0] == 200  # the folder is free
        assert not (folder / LOCK).exists()

    async def test_a_folder_that_others_can_read_is_closed(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = stage.studio.config.folder
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        stage.studio.offer_avatars()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert f"{folder} could be read by others" in caplog.text

    async def test_everybodys_folder_is_no_studio(self, stage: Stage) -> None:
        folder = stage.studio.config.folder
        folder.mkdir()
        folder.chmod(0o1777)
        stage.studio.offer_avatars()
        status, refusal = await stage.begin()
        assert status == 503
        assert "wanted a folder of this user alone" in refusal["error"]
        assert folder.stat().st_mode & 0o777 == 0o777


class TestTidying:
    async def test_the_server_tidies_by_itself(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stream.http.server.TIDY_PERIOD_S", 0.05)
        tidied: list[bool] = []

        def tidy() -> None:
            tidied.append(True)
            raise OSError("as a disk may")

        async with studio_stage(stage.studio.config.folder) as other:
            monkeypatch.setattr(other.studio, "tidy", tidy)
            for _ in range(200):
                await asyncio.sleep(0.02)
                if len(tidied) > 2:  # one that fails is not the last
                    break
        assert len(tidied) > 2

    async def test_work_that_nobody_needs_goes_and_other_work_stays(self, stage: Stage) -> None:
        name = await stage.record()
        folder = stage.studio.config.folder

        def work(name: str, footage: Path | None) -> Path:
            made = folder / f"{name}.avatar.work"
            made.mkdir(mode=0o700)
            if footage is not None:
                (made / "settings.json").write_text(json.dumps({"footage": [str(footage)]}))
            return made

        recordings = stage.studio.recordings.folder
        kept = [work(name, recordings / f"{name}.webm"), work("own", folder / "gone.mp4")]
        gone = [work("empty", None), work("gone", recordings / "gone.webm"), work("made", folder / "x.mp4")]
        (folder / "made.avatar").write_bytes(b"x")
        young, busy = work("young", None), work("busy", None)
        for path in (*kept, *gone, busy):
            os.utime(path, (0, 0))
        lock = FolderLock(busy)
        assert lock.acquire()
        os.utime(busy, (0, 0))
        stage.studio.tidy()
        assert sorted(folder.glob("*.work")) == sorted([*kept, young, busy])
        lock.release()

    async def test_an_avatar_that_was_removed_by_hand_is_not_offered_any_more(self, stage: Stage) -> None:
        path = stage.studio.config.folder / "ada.avatar"
        path.parent.mkdir(mode=0o700)
        path.write_bytes(b"x")
        stage.studio.offer_avatars()
        assert "ada" in [avatar.name for avatar in stage.avatars]
        path.unlink()
        stage.studio.tidy()
        assert [avatar.name for avatar in stage.avatars] == ["echo"]


class TestForgetting:
    async def test_an_avatar_goes_with_all_that_belongs_to_it(self, stage: Stage) -> None:
        name, other = await stage.record(), await stage.record()
        folder = stage.studio.config.folder
        (folder / f"{name}.avatar.work").mkdir()
        (folder / f"{name}.avatar.work" / "prepared.npz").write_bytes(b"x")
        (folder / f"{name}.avatar.distill.pt.broken-20240501T120000").write_bytes(b"x")
        (stage.studio.recordings.folder / f"{name}.json.broken-20240501T120000").write_bytes(b"x")
        for one in (name, other):
            (folder / f"{one}.avatar").write_bytes(b"x")
        stage.studio.offer_avatars()
        assert (await stage.ask("GET", ""))[1]["avatars"] == [name, other]
        status, answer = await stage.ask("DELETE", f"/avatars/{name}")
        assert status == 200
        assert [item["what"] for item in answer["removed"]] == [
            *("work", "work", "avatar", "consent", "consent", "recording")
        ]
        assert stage.files() == {
            f"recordings/{other}.webm",
            f"recordings/{other}.json",
            f"{other}.avatar",
        }
        assert [avatar.name for avatar in stage.avatars] == ["echo", other]
        assert (await stage.ask("GET", ""))[1]["avatars"] == [other]
        assert (await stage.ask("DELETE", f"/avatars/{name}"))[0] == 404
        assert await stage.record() == name  # the name is free again

    async def test_only_what_was_made_here_can_be_deleted(self, stage: Stage, tmp_path: Path) -> None:
        await stage.record()
        (tmp_path / "outside.avatar").write_bytes(b"x")
        for name in ("echo", "ada-lovelace", "none", "..%2foutside", "%2e%2e%2foutside", ".avatarcast"):
            assert (await stage.ask("DELETE", f"/avatars/{name}"))[0] == 404, name
        assert (tmp_path / "outside.avatar").exists()

    async def test_a_damaged_one_can_be_deleted_too(self, stage: Stage) -> None:
        path = stage.studio.config.folder / "bob.avatar"
        path.parent.mkdir(mode=0o700)
        path.write_bytes(b"damaged")
        stage.studio.offer_avatars()
        assert (await stage.ask("DELETE", "/avatars/bob"))[0] == 200
        assert not path.exists()

    async def test_one_that_is_being_made_is_left_alone(self, stage: Stage) -> None:
        name = await stage.record()
        path = stage.studio.config.folder / f"{name}.avatar"
        path.write_bytes(b"x")
        work = path.with_name(f"{path.name}.work")
        work.mkdir()
        lock = FolderLock(work)  # of `avatarcast enroll`, on the command line
        assert lock.acquire()
        status, refusal = await stage.ask("DELETE", f"/avatars/{name}")
        assert status == 503
        assert "is at work on it: wait for it, or stop it first" in refusal["error"]
        assert path.exists()
        lock.release()
        assert (await stage.ask("DELETE", f"/avatars/{name}"))[0] == 200
