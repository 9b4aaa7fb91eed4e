"""The studio's API: consent, chunks, limits, names, and the avatars of before. No camera, no training."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from benchmarks.live.echo_server import echo_avatar
from engine.user_folders import data_folder
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from stream.studio.recordings import MAX_CHUNK_BYTES, SILENT_S, Consent, Recordings
from stream.studio.studio import Studio, StudioConfig
from tests.support.studio_stage import CONSENT, Stage, load, studio_stage

TOKEN = "a-token-of-a-test"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with studio_stage(tmp_path / "studio") as one:
        yield one


class TestRecording:
    async def test_a_recording_is_kept_with_its_consent(self, stage: Stage) -> None:
        assert stage.files() == set()
        name = await stage.record(b"one ", b"two ", b"three")
        assert name == "ada-lovelace"
        assert stage.files() == {"recordings/ada-lovelace.webm", "recordings/ada-lovelace.json"}
        folder = stage.studio.recordings.folder
        assert (folder / "ada-lovelace.webm").read_bytes() == b"one two three"
        consent = json.loads((folder / "ada-lovelace.json").read_text())
        assert (consent["who"], consent["statement"]) == (CONSENT["who"], CONSENT["statement"])
        assert len(consent["date"]) == 10
        assert folder.stat().st_mode & 0o077 == 0  # nobody else's business
        _, answer = await stage.ask("GET", "")
        (take,) = answer["takes"]
        assert (take["name"], take["bytes"], take["avatar"], take["unfinished"]) == (name, 13, False, False)
        assert take["path"] == str(folder / "ada-lovelace.webm")
        assert answer["local"] is True
        assert (await stage.ask("DELETE", f"/takes/{name}"))[0] == 200
        assert stage.files() == set()

    async def test_a_consent_clip_is_kept_with_it_and_goes_with_it(self, stage: Stage) -> None:
        _, begun = await stage.begin()
        said = f"I, {CONSENT['who']}, agree to an avatar of me. My word is "
        assert begun["sentence"].startswith(said)
        assert (await stage.begin(session="session-2"))[1]["sentence"] == begun["sentence"]
        assert await stage.put(begun["id"], "clip", b"") == 400
        assert await stage.put(begun["id"], "clip", headers={"Content-Type": "video/mp4"}) == 415
        assert await stage.put(begun["id"], "clip", b"not understood") == 200
        assert await stage.put(begun["id"], "clip", b"said well") == 200
        await stage.put(begun["id"], 0)
        _, take = await stage.ask("POST", f"/recordings/{begun['id']}/finish", {})
        name, folder = take["name"], stage.studio.recordings.folder
        assert (folder / f"{name}.consent").read_bytes() == b"said well"
        kept = {f"recordings/{name}{ending}" for ending in (".webm", ".json", ".consent")}
        assert {file for file in stage.files() if "/." not in file} == kept  # but for the second recording
        _, answer = await stage.ask("GET", "")
        assert [(one["name"], one["clip"]) for one in answer["takes"]] == [(name, True)]
        assert (await stage.ask("DELETE", f"/takes/{name}"))[0] == 200
        assert not [file for file in stage.files() if "/." not in file]

    async def test_what_is_not_whole_has_a_hidden_name_and_goes_with_the_server(self, stage: Stage) -> None:
        _, begun = await stage.begin()
        await stage.put(begun["id"], 0)
        (part,) = stage.files()
        assert part.startswith("recordings/.")
        assert part.endswith(".part")
        assert (await stage.ask("GET", ""))[1]["takes"] == []
        await stage.studio.close()
        assert stage.files() == set()

    @pytest.mark.parametrize(
        "changes",
        [
            {"agreed": False},
            {"agreed": "true"},
            {"agreed": 1},
            {"agreed": None},
            {"who": ""},
            {"who": "  \n "},
            {"who": 5},
            {"who": "x" * 81},
            {"who": "Ada\x00"},
            {"statement": ""},
            {"statement": ["to all"]},
            {"statement": "x" * 601},
            {"kind": "text/html"},
            {"kind": ["video/webm"]},
            {"session": "nobody's", "status": 404},
            {"session": None, "status": 404},
        ],
    )
    async def test_nothing_begins_without_consent_and_session(
        self, stage: Stage, changes: dict[str, Any]
    ) -> None:
        wanted = changes.pop("status", 400)
        status, refusal = await stage.begin(**changes)
        assert (status, list(refusal)) == (wanted, ["error"])
        assert stage.files() == set()

    @pytest.mark.parametrize(
        ("who", "name"),
        [
            ("../../etc/passwd", "etc-passwd"),
            ("..", "avatar"),
            ("/", "avatar"),
            ("C:\\Windows", "c-windows"),
            ("--out=/tmp/x", "out-tmp-x"),
            ("Zoë, Queen", "zoë-queen"),
            ("李小龙", "李小龙"),
            ("a" * 80, "a" * 40),
            ("echo", "echo-2"),  # an avatar that is served
        ],
    )
    async def test_file_names_are_made_here(self, stage: Stage, who: str, name: str) -> None:
        assert await stage.record(who=who) == name
        assert stage.files() == {f"recordings/{name}.webm", f"recordings/{name}.json"}

    async def test_a_name_that_is_taken_gets_a_number(self, stage: Stage) -> None:
        assert [await stage.record() for _ in range(3)] == [
            "ada-lovelace",
            "ada-lovelace-2",
            "ada-lovelace-3",
        ]

    async def test_chunks_come_in_order_and_a_repeated_one_is_kept_once(self, stage: Stage) -> None:
        _, begun = await stage.begin()
        one = begun["id"]
        assert await stage.put(one, 1) == 409
        assert await stage.put(one, 0, b"a") == 200
        assert await stage.put(one, 0, b"a") == 200  # its answer was lost
        assert await stage.put(one, 2, b"c") == 409
        assert await stage.put(one, 1, b"b") == 200
        assert await stage.put(one, 0, b"a") == 409
        assert (await stage.ask("POST", f"/recordings/{one}/finish", {}))[1]["bytes"] == 2
        assert await stage.put(one, 2, b"c") == 404
        assert (await stage.ask("POST", f"/recordings/{one}/finish", {}))[0] == 404

    async def test_one_recording_a_session(self, stage: Stage) -> None:
        _, begun = await stage.begin()
        assert (await stage.begin())[0] == 409
        assert (await stage.begin(session="session-2"))[0] == 200
        assert (await stage.ask("DELETE", f"/recordings/{begun['id']}"))[0] == 200
        assert (await stage.begin())[0] == 200

    async def test_hostile_chunks(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        _, begun = await stage.begin()
        one = begun["id"]
        assert await stage.put("none", 0) == 404
        assert await stage.put("..%2f..%2fpasswd", 0) == 404
        assert await stage.put(one, "-1") == 404
        assert await stage.put(one, "9999999") == 404
        assert await stage.put(one, "x") == 404
        assert await stage.put(one, 0, headers={"Content-Type": "text/html"}) == 415
        assert await stage.put(one, 0, BytesIO(bytes(MAX_CHUNK_BYTES + 1))) == 413
        assert (await stage.ask("POST", f"/recordings/{one}/finish", {}))[0] == 400  # still empty
        monkeypatch.setattr("stream.studio.recordings.MAX_BYTES", 10)
        assert await stage.put(one, 0, b"123456") == 200
        assert await stage.put(one, 1, b"789012") == 413
        assert await stage.put(one, 1, b"7") == 404
        assert stage.files() == set()

    async def test_a_recording_that_falls_silent_or_never_ends_is_deleted(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s = 0.0
        monkeypatch.setattr(stage.studio.recordings, "_now", lambda: now_s)
        for step_s in (SILENT_S + 1, SILENT_S - 1):
            _, begun = await stage.begin()
            for number in range(20):
                if await stage.put(begun["id"], number) == 404:
                    break
                now_s += step_s
            else:
                pytest.fail("it goes on for ever")
            assert stage.files() == set()

    async def test_a_chunk_that_meets_a_full_disk_half_way_is_taken_whole_later(
        self, stage: Stage, full_disk: Callable[[int], AbstractContextManager[None]]
    ) -> None:
        _, begun = await stage.begin()
        one = begun["id"]
        assert await stage.put(one, 0, b"1" * 1000) == 200
        with full_disk(1500):
            assert await stage.put(one, 1, b"2" * 1000) == 503
        assert await stage.put(one, 1, b"2" * 1000) == 200
        assert (await stage.ask("POST", f"/recordings/{one}/finish", {}))[1]["bytes"] == 2000
        (take,) = stage.studio.recordings.takes()
        assert take.path.read_bytes() == b"1" * 1000 + b"2" * 1000

    async def test_an_end_that_meets_a_full_disk_can_be_asked_for_again(
        self, stage: Stage, full_disk: Callable[[int], AbstractContextManager[None]]
    ) -> None:
        _, begun = await stage.begin()
        await stage.put(begun["id"], 0)
        with full_disk(10):
            status, refusal = await stage.ask("POST", f"/recordings/{begun['id']}/finish", {})
        assert status == 503
        assert "make room" in refusal["error"]
        status, take = await stage.ask("POST", f"/recordings/{begun['id']}/finish", {})
        assert (status, take["name"], take["bytes"]) == (200, "ada-lovelace", len(b"chunk"))
        assert stage.files() == {"recordings/ada-lovelace.webm", "recordings/ada-lovelace.json"}

    async def test_faces_are_for_their_owner_alone(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = stage.studio.recordings.folder
        folder.mkdir(parents=True, mode=0o755)
        folder.chmod(0o755)
        _, begun = await stage.begin()
        await stage.put(begun["id"], 0)
        await stage.record(session="session-2")
        assert "could be read by others" in caplog.text
        assert folder.stat().st_mode & 0o077 == 0
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert modes == {0o600}

    async def test_another_server_on_the_folder_loses_nothing_and_overwrites_nothing(
        self, tmp_path: Path
    ) -> None:
        """Each began before the other had ended: the name was free for both."""
        one, two = (Recordings(tmp_path, lambda _: False) for _ in range(2))
        begun = [
            (studio, studio.begin("session", "video/webm", Consent(who, "all of it", "2024-05-01")))
            for studio, who in ((one, "Ada"), (two, "ada"))
        ]
        for studio, recording in begun:
            await studio.add(recording, 0, recording.consent.who.encode())
        assert [(await studio.finish(recording)).name for studio, recording in begun] == ["ada", "ada-2"]
        takes = {take.name: (take.path.read_bytes(), take.consent.who) for take in one.takes()}
        assert takes == {"ada": (b"Ada", "Ada"), "ada-2": (b"ada", "ada")}

    async def test_somebodys_own_film_is_not_written_over(self, stage: Stage) -> None:
        folder = stage.studio.recordings.folder
        folder.mkdir(parents=True, mode=0o700)
        (folder / "ada-lovelace.mp4").write_bytes(b"their own")
        assert await stage.record() == "ada-lovelace-2"
        assert (folder / "ada-lovelace.mp4").read_bytes() == b"their own"

    @pytest.mark.parametrize("text", [b"", b'{"who": "Ada', b"[]", b'{"who": 5}', b"\xff"])
    async def test_a_consent_that_cannot_be_read_is_set_aside(
        self, stage: Stage, caplog: pytest.LogCaptureFixture, text: bytes
    ) -> None:
        name = await stage.record()
        folder = stage.studio.recordings.folder
        (folder / f"{name}.json").write_bytes(text)
        assert (await stage.ask("GET", ""))[1]["takes"] == []
        assert f"{name}.webm is not used: its consent cannot be read" in caplog.text
        (aside,) = folder.glob(f"{name}.json.broken-*")
        assert aside.read_bytes() == text
        assert await stage.record() == f"{name}-2"

    async def test_what_dead_servers_left_is_tidied(self, stage: Stage) -> None:
        name = await stage.record()
        _, begun = await stage.begin()
        folder = stage.studio.recordings.folder
        left = (folder / ".avatarcast-0123456789abcdef.part", folder / "gone.json")
        for path in left:
            path.write_text("{}")
        stage.studio.recordings.tidy()
        assert all(path.exists() for path in left)  # too young
        for path in folder.iterdir():
            os.utime(path, (0, 0))
        stage.studio.recordings.tidy()
        assert not any(path.exists() for path in left)
        await stage.put(begun["id"], 0)  # the one that is being made is there still
        assert [take.name for take in stage.studio.recordings.takes()] == [name]

    async def test_a_full_disk_is_told(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stream.studio.recordings.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
        status, refusal = await stage.begin()
        assert status == 503
        assert "make room" in refusal["error"]

    async def test_a_folder_that_cannot_be_made_is_told(self, stage: Stage) -> None:
        stage.studio.config.folder.write_text("a file")
        status, refusal = await stage.begin()
        assert status == 503
        assert "--studio" in refusal["error"]

    async def test_files_without_consent_and_odd_names_are_no_takes(self, stage: Stage) -> None:
        await stage.record()
        folder = stage.studio.recordings.folder
        (folder / "mine.webm").write_bytes(b"x")
        (folder / "odd.webm").write_bytes(b"x")
        (folder / "odd.json").write_text('{"who": "somebody"}')
        assert [take["name"] for take in (await stage.ask("GET", ""))[1]["takes"]] == ["ada-lovelace"]
        for name in ("mine", "..%2f..%2fx", "none", "%2e%2e"):
            assert (await stage.ask("DELETE", f"/takes/{name}"))[0] == 404


class TestAccess:
    async def test_all_of_it_needs_the_token_and_an_own_origin(self, tmp_path: Path) -> None:
        asked = [
            ("GET", ""),
            ("POST", "/recordings"),
            ("PUT", "/recordings/x/0"),
            ("POST", "/recordings/x/finish"),
            ("DELETE", "/recordings/x"),
            ("DELETE", "/takes/x"),
            ("DELETE", "/avatars/x"),
            ("POST", "/job"),
            ("DELETE", "/job"),
        ]
        async with studio_stage(tmp_path, Access(token=TOKEN)) as stage:
            for method, path in asked:
                assert (await stage.ask(method, path))[0] == 401, path
            stage.headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://elsewhere.example"}
            for method, path in asked[1:]:
                assert (await stage.ask(method, path))[0] == 403, path
            stage.headers = {"Authorization": f"Bearer {TOKEN}"}
            assert (await stage.ask("GET", ""))[0] == 200

    async def test_what_is_missing_is_said_before_anything_is_recorded(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage.studio.config = StudioConfig(stage.studio.config.folder, needs=("torch_that_is_not_here",))
        _, answer = await stage.ask("GET", "")
        assert "pip install 'avatarcast[train]'" in answer["missing"]
        status, refusal = await stage.begin()
        assert (status, refusal["error"]) == (503, answer["missing"])

    async def test_a_server_without_a_studio_has_none_of_it(self) -> None:
        server = TestServer(LiveServer(SessionRegistry(Avatars([echo_avatar()])), Access()).app())
        await server.start_server()
        async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{server.port}") as http:
            assert (await http.get("/api/studio")).status == 404
            assert (await (await http.get("/api/config")).json())["studio"] is False
        await server.close()


async def test_avatars_of_before_are_offered_again_and_a_damaged_one_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, data in (("ada", b"x"), ("bob", b"damaged"), ("echo", b"x")):
        (tmp_path / f"{name}.avatar").write_bytes(data)
    avatars = Avatars([echo_avatar()])
    studio = Studio(StudioConfig(tmp_path), avatars, load)
    studio.offer_avatars()
    await studio.close()
    assert [avatar.name for avatar in avatars] == ["echo", "ada"]
    assert avatars.first.name == "echo"
    assert "bob.avatar is damaged" in caplog.text
    assert "two avatars are named 'echo'" in caplog.text


def test_the_folder_is_this_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "avatarcast"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert data_folder() == Path.home() / ".local" / "share" / "avatarcast"
