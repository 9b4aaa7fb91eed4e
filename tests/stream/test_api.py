"""The page's API: what it is told, how it steers a session, and what needs the token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from numpy.typing import NDArray
from PIL import Image

from benchmarks.live.echo_server import EchoedFrame, EchoPipeline, echo_avatar
from benchmarks.live.peer import AiortcPeer
from engine.errors import SettingsError
from engine.render.background import Background
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from tests.support.waiting import WAIT_S

TOKEN = "a-token-of-a-test"
ODD_NAME = "Ada & Zoë 100%?#.avatar"


class AttentivePipeline(EchoPipeline):
    """Remembers the backgrounds it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.backgrounds: list[Background] = []
        self.works, self.has_four = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        self._loop.call_soon_threadsafe(self.works.set)
        return super().process(rgb, time_ns)

    def set_background(self, background: Background) -> None:
        self.backgrounds.append(background)
        if len(self.backgrounds) == 4:
            self._loop.call_soon_threadsafe(self.has_four.set)


@asynccontextmanager
async def serving(
    access: Access | None = None, pipeline: EchoPipeline | None = None
) -> AsyncIterator[tuple[SessionRegistry, str]]:
    """A server of two avatars, and its address."""
    first = echo_avatar((lambda: pipeline) if pipeline else EchoPipeline, name="echo")
    second = replace(echo_avatar(name=ODD_NAME), person="real", size_px=512, preview_jpeg=b"\xff\xd8 a JPEG")
    registry = SessionRegistry(Avatars([first, second]), RegistryConfig(runner="null"))
    server = TestServer(LiveServer(registry, access or Access()).app())
    await server.start_server()
    try:
        yield registry, f"http://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def request(method: str, url: str, body: Any = None, **options: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, **({"json": body} if body is not None else {}), **options) as reply,
    ):
        data = await reply.read()
        return reply.status, json.loads(data) if data and reply.content_type == "application/json" else data


@asynccontextmanager
async def calling(url: str, sound: bool = False) -> AsyncIterator[AiortcPeer]:
    peer = AiortcPeer(url, VideoStreamTrack(), AudioStreamTrack() if sound else None)
    await peer.connect()
    try:
        yield peer
    finally:
        await peer.close()


def picture(kind: str, size: tuple[int, int] = (32, 24)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(buffer, kind)
    return buffer.getvalue()


async def test_what_the_page_is_told() -> None:
    async with serving() as (_, url):
        status, config = await request("GET", f"{url}/api/config")
        assert status == 200
        assert config["avatar"] == "echo"
        assert config["runner"] == "null"
        assert config["max_sessions"] == 2
        assert config["ice_servers"] == []
        assert config["frame"] == "auto"
        echo, odd = config["avatars"]
        assert (echo["name"], echo["person"], echo["size_px"]) == ("echo", "synthetic", 256)
        assert (echo["signed"], echo["signature"], echo["marked"]) == ("unsigned", "unsigned", False)
        assert (odd["name"], odd["person"], odd["size_px"]) == (ODD_NAME, "real", 512)
        assert await request("GET", url + odd["preview"]) == (200, b"\xff\xd8 a JPEG")
        assert (await request("GET", url + echo["preview"]))[0] == 404  # it has none


async def test_a_session_is_steered() -> None:
    async with serving() as (registry, url), calling(url, sound=True) as peer:
        assert {"id", "view_id", "avatar", "runner", "runner_reason"} <= set(peer.session)
        where = f"{url}/api/sessions/{peer.session['id']}"
        taken: list[tuple[str, Any]] = [
            ("calibrate", {}),
            ("mirror", {"on": True}),
            ("mute", {"on": True}),
            ("frame", {"frame": "1280x720"}),
            ("frame", {"frame": "auto"}),
            ("coach", {"lines": 720}),
            ("coach", {"lines": None}),
            ("avatar", {"name": ODD_NAME}),
        ]
        for action, body in taken:
            assert await request("POST", f"{where}/{action}", body) == (200, {}), action
        (session,) = registry
        assert session.performer.avatar.name == ODD_NAME
        refused: list[tuple[str, Any, int]] = [
            ("mirror", {"on": 1}, 400),
            ("mute", {}, 400),
            ("mute", [], 400),
            ("coach", {"lines": 0}, 400),
            ("coach", {"lines": True}, 400),
            ("coach", {"lines": "720"}, 400),
            ("coach", {"lines": 10**9}, 400),
            ("frame", {}, 400),
            ("frame", {"frame": 720}, 400),
            ("frame", {"frame": "1280x721"}, 400),
            ("frame", {"frame": "8192x8192"}, 400),
            ("avatar", {"name": "none"}, 404),
            ("avatar", {"name": "../../etc/passwd"}, 404),
            ("avatar", {"name": ["echo"]}, 400),
            ("avatar", {}, 400),
            ("background", {"kind": "color", "color": "green"}, 400),
            ("background", {"kind": "color", "color": 5}, 400),
            ("background", {"kind": "picture"}, 400),
            ("background", 7, 400),
        ]
        for action, body, status in refused:
            got, refusal = await request("POST", f"{where}/{action}", body)
            assert (got, list(refusal)) == (status, ["error"]), (action, body, refusal)
        assert await request("DELETE", where) == (200, {})
        for action in ("calibrate", "mute", "avatar", "background", "resume"):
            assert (await request("POST", f"{where}/{action}", {"on": True}))[0] in (400, 404)


async def test_the_same_session_by_a_new_offer() -> None:
    async with serving() as (registry, url), calling(url) as peer:
        again = AiortcPeer(url, VideoStreamTrack())
        where = f"{url}/api/sessions/{peer.session['id']}/resume"
        secret = {"secret": peer.session["secret"]}
        status, resumed = await request("POST", where, await again.offer() | secret)
        await again.close()
        assert status == 200, resumed
        assert {resumed[name] == peer.session[name] for name in ("id", "view_id", "avatar")} == {True}
        assert len(registry) == 1
        again = AiortcPeer(url, VideoStreamTrack())
        gone = f"{url}/api/sessions/none/resume"
        assert (await request("POST", gone, await again.offer()))[0] == 404
        await again.close()


async def test_backgrounds_reach_the_pipeline() -> None:
    pipeline = AttentivePipeline()
    async with serving(pipeline=pipeline) as (_, url), calling(url) as peer:
        await asyncio.wait_for(pipeline.works.wait(), WAIT_S)
        where = f"{url}/api/sessions/{peer.session['id']}/background"
        assert (await request("POST", where, {"kind": "color", "color": "#00b140"}))[0] == 200
        for kind in ("PNG", "JPEG"):
            options = {"data": picture(kind), "headers": {"Content-Type": f"image/{kind.lower()}"}}
            assert (await request("PUT", where, **options))[0] == 200
        assert (await request("POST", where, {"kind": "original"}))[0] == 200
        await asyncio.wait_for(pipeline.has_four.wait(), WAIT_S)
    shapes = [None if background.rgb is None else background.rgb.shape for background in pipeline.backgrounds]
    assert shapes == [(1, 1, 3), (24, 32, 3), (24, 32, 3), None]
    assert np.asarray(pipeline.backgrounds[0].rgb).ravel().tolist() == [0x00, 0xB1, 0x40]


PADDED = picture("PNG") + bytes(4 * 1024 * 1024)


@pytest.mark.parametrize(
    ("kind", "data", "status", "words"),
    [
        ("image/gif", picture("GIF"), 415, "image/png or image/jpeg"),
        ("application/json", b"{}", 415, "image/png or image/jpeg"),
        ("image/png", PADDED, 413, "larger than 4194304 bytes"),
        ("image/png", picture("GIF"), 400, "not a readable PNG or JPEG"),
        ("image/png", picture("PNG")[:60], 400, "not a readable PNG or JPEG"),
        ("image/jpeg", b"", 400, "not a readable PNG or JPEG"),
        ("image/png", picture("PNG", (4_097, 1)), 400, "at most"),
    ],
    ids=["gif", "json", "too large", "a gif by another name", "cut off", "empty", "too wide"],
)
async def test_pictures_that_are_refused(kind: str, data: bytes, status: int, words: str) -> None:
    async with serving() as (_, url), calling(url) as peer:
        where = f"{url}/api/sessions/{peer.session['id']}/background"
        got, refusal = await request("PUT", where, data=BytesIO(data), headers={"Content-Type": kind})
        assert got == status
        assert words in refusal["error"]
        assert (await request("PUT", f"{url}/api/sessions/none/background", data=b""))[0] == 404


@pytest.mark.parametrize("name", ["", "a/b", "../up", "line\nbreak", "\x00", 81 * "x"])
def test_forged_avatar_names(name: str) -> None:
    """A name comes from an avatar's file, which may come from anybody; it ends up in addresses and pages."""
    with pytest.raises(SettingsError, match="enrol it under another name"):
        Avatars([echo_avatar(name=name)])
    with pytest.raises(SettingsError, match="two avatars are named 'twin'"):
        Avatars([echo_avatar(name="twin"), echo_avatar(name="twin")])


async def test_stopping_and_metrics() -> None:
    async with serving() as (registry, url), calling(url):
        assert await request("GET", f"{url}/healthz") == (200, {"status": "ok", "sessions": 1, "capacity": 2})
        _, text = await request("GET", f"{url}/metrics")
        assert b"avatarcast_sessions_open 1.0" in text
        await registry.close()
        status, health = await request("GET", f"{url}/healthz")
        assert (status, health["status"], health["sessions"]) == (503, "stopping", 0)
        late = AiortcPeer(url, VideoStreamTrack())
        status, refusal = await request("POST", f"{url}/api/sessions", await late.offer())
        await late.close()
        assert status == 503
        assert "stopping" in refusal["error"]


async def test_a_failure_of_ours_is_told_without_ids(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has the usual form; the log has the traceback, and not what would steer a session."""

    def fail(_: SessionRegistry, __: str) -> None:
        raise ArithmeticError("meant to fail")

    monkeypatch.setattr(SessionRegistry, "session", fail)
    async with serving() as (_, url):
        status, refusal = await request("POST", f"{url}/api/sessions/an-id-of-a-session/calibrate", {})
    assert status == 500
    assert refusal == {"error": "the server failed here; its log says how"}
    assert "POST /api/sessions/{id}/calibrate failed" in caplog.text
    assert "ArithmeticError: meant to fail" in caplog.text
    assert "an-id-of-a-session" not in caplog.text
