"""What a session held is given back when it ends, not whenever Python happens to look for circles."""

from __future__ import annotations

import gc
import weakref

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

import stream.sessions.registry
from benchmarks.live.echo_server import EchoPipeline, echo_avatar
from benchmarks.live.peer import AiortcPeer
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from tests.support.grey_camera import grey_camera
from tests.support.waiting import until


async def test_an_ended_session_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.sessions.registry, "_COLLECT_AFTER_S", 0.01)
    registry = SessionRegistry(Avatars([echo_avatar(EchoPipeline)]))
    await registry.warm()
    http = TestServer(LiveServer(registry, Access()).app())
    await http.start_server()
    url = f"http://127.0.0.1:{http.port}"
    peer = AiortcPeer(url, grey_camera())
    gc.disable()  # nobody looks for circles but the server
    try:
        await peer.connect()
        await until(lambda: len(peer.arrivals) > 2)
        session = weakref.ref(next(iter(registry)))
        async with aiohttp.ClientSession() as client:
            await client.delete(f"{url}/api/sessions/{peer.session['id']}")
        await peer.close()
        await until(lambda: session() is None)
    finally:
        gc.enable()
        await http.close()
