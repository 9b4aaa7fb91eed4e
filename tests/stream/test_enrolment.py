"""Enrolment beside the server: what is said of it, its failures, its end. A script stands in for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.studio_stage import CONSENT, Stage, studio_stage
from tests.support.waiting import WAIT_S


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with studio_stage(tmp_path / "studio") as one:
        yield one


async def test_an_avatar_is_made_and_served(stage: Stage) -> None:
    stage.enrol_by("time.sleep(1)")
    name = await stage.record()
    assert (await stage.ask("POST", "/job", {"take": name, "minutes": 0.5})) == (200, {})
    assert (await stage.ask("POST", "/job", {"take": name, "minutes": 0.5}))[0] == 409
    assert (await stage.ask("DELETE", f"/takes/{name}"))[0] == 409
    await stage.job("running", stage="training")
    await asyncio.sleep(0.2)
    job = await stage.job("running")
    assert (job["done"], job["total"], job["note"]) == (5.0, 20.0, "12 steps")
    assert job["warnings"] == ["only 9 s of usable footage"]
    assert 15 <= job["remaining_s"] <= 30
    assert (await stage.job("done"))["avatar"] == name
    assert name in [avatar.name for avatar in stage.avatars]
    async with stage.http.get(f"{stage.url}/api/config") as reply:
        assert [avatar["name"] for avatar in (await reply.json())["avatars"]] == ["echo", name]
    options = json.loads((stage.studio.config.folder / f"{name}.avatar").read_text())
    assert f"--consent={CONSENT['who']}, {CONSENT['statement']}" in options
    assert {"--minutes=0.5", "--progress=json", "--json"} <= set(options)
    assert (await stage.ask("POST", "/job", {"take": name, "minutes": 0.5}))[0] == 409  # it is there
    assert (await stage.ask("DELETE", f"/takes/{name}"))[0] == 200
    assert stage.files() == {f"{name}.avatar"}
    assert await stage.record() == f"{name}-2"


async def test_a_consent_clip_is_handed_on(stage: Stage) -> None:
    stage.enrol_by("")
    _, begun = await stage.begin()
    await stage.put(begun["id"], "clip", b"said")
    await stage.put(begun["id"], 0)
    _, take = await stage.ask("POST", f"/recordings/{begun['id']}/finish", {})
    await stage.ask("POST", "/job", {"take": take["name"], "minutes": 0.5})
    await stage.job("done")
    options = json.loads((stage.studio.config.folder / f"{take['name']}.avatar").read_text())
    assert f"--consent-clip={stage.studio.recordings.folder / take['name']}.consent" in options


async def test_an_error_is_told_in_its_line(stage: Stage) -> None:
    stage.enrol_by(
        "print('Warning: noise', file=sys.stderr)\n"
        "print('avatarcast: error: 3.0 s of usable footage, wanted 8 s', file=sys.stderr); sys.exit(1)",
    )
    await stage.ask("POST", "/job", {"take": await stage.record(), "minutes": 0.5})
    assert (await stage.job("failed"))["error"] == "3.0 s of usable footage, wanted 8 s"
    assert [avatar.name for avatar in stage.avatars] == ["echo"]


async def test_a_crash_and_an_unreadable_avatar_are_failures(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = await stage.record()
    stage.enrol_by("import os; os._exit(3)")
    await stage.ask("POST", "/job", {"take": name, "minutes": 0.5})
    assert "status 3" in (await stage.job("failed"))["error"]
    stage.enrol_by("pathlib.Path(out).write_text('damaged'); sys.exit(0)")
    await stage.ask("POST", "/job", {"take": name, "minutes": 0.5})
    assert "is damaged" in (await stage.job("failed"))["error"]


async def test_odd_lines_harm_nothing(stage: Stage) -> None:
    stage.enrol_by(
        "sys.stderr.buffer.write(b'\\xff\\n[1]\\n7\\nnull\\n{}\\n')\n"
        "tell(event='stage'); tell(event='progress', done='x'); tell(event=5); tell(event='later')\n"
        "[tell(event='warning', text='w' * 9999) for _ in range(50)]",
    )
    await stage.ask("POST", "/job", {"take": await stage.record(), "minutes": 0.5})
    warnings = (await stage.job("done"))["warnings"]
    assert len(warnings) == 20
    assert max(map(len, warnings)) == 500


async def test_cancelled_and_gone_on_with(stage: Stage) -> None:
    stage.enrol_by(
        "work = pathlib.Path(out + '.work')\n"
        "if not work.exists():\n"
        "  try: time.sleep(60)\n"
        "  except KeyboardInterrupt: work.mkdir(); (work / 'kept').write_text('x'); sys.exit(130)",
    )
    name = await stage.record()
    assert (await stage.ask("DELETE", "/job"))[0] == 404
    await stage.ask("POST", "/job", {"take": name, "minutes": 0.5})
    await stage.job("running", stage="training")
    assert (await stage.ask("DELETE", "/job")) == (200, {})
    await stage.job("cancelled")
    assert (await stage.ask("GET", ""))[1]["takes"][0]["unfinished"] is True
    assert (await stage.ask("DELETE", "/job"))[0] == 404
    await stage.ask("POST", "/job", {"take": name, "minutes": 0.5})
    await stage.job("done")


async def test_the_server_takes_it_along_when_it_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.enrol_by("time.sleep(60)")
    await stage.ask("POST", "/job", {"take": await stage.record(), "minutes": 0.5})
    await stage.job("running", stage="training")
    await asyncio.wait_for(stage.studio.close(), WAIT_S)
    assert stage.studio.status()["job"]["state"] == "cancelled"
    assert not list(stage.studio.config.folder.glob("*.avatar"))


async def test_one_that_does_not_stop_is_killed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stream.studio.enrolment.STOP_S", 0.3)
    stage.enrol_by(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "tell(event='stage', stage='stubborn', total=1)\ntime.sleep(60)",
    )
    await stage.ask("POST", "/job", {"take": await stage.record(), "minutes": 0.5})
    await stage.job("running", stage="stubborn")
    await asyncio.wait_for(stage.studio.cancel(), WAIT_S)
    assert "killed" in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"take": "none", "minutes": 0.5}, 404),
        ({"take": ["x"], "minutes": 0.5}, 404),
        ({"minutes": 0.5}, 404),
        ({"take": "ada-lovelace", "minutes": 10_000}, 400),
        ({"take": "ada-lovelace", "minutes": "5; rm"}, 400),
        ({"take": "ada-lovelace", "minutes": True}, 400),
        ({"take": "ada-lovelace"}, 400),
        ([], 400),
    ],
)
async def test_refusals(stage: Stage, body: Any, status: int) -> None:
    await stage.record()
    got, refusal = await stage.ask("POST", "/job", body)
    assert (got, list(refusal)) == (status, ["error"])
