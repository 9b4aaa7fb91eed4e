"""Content Credentials of what the page saves: in the file or beside it, with the avatar that it shows."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc.mediastreams import VideoStreamTrack
from PIL import Image

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.peer import AiortcPeer
from benchmarks.pictures.invisible_mark import coded_file
from engine.avatar.avatar_file import load_cover
from engine.media.disclosure import DEFAULT_MARK, SOURCE_TYPE
from engine.media.invisible_mark import with_bits
from engine.provenance.credentials import SIDECAR_TYPE, TRUSTED, read_credentials, sidecar
from engine.provenance.mark_bits import bits_of
from engine.verification import verify
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry

LIMIT_S = 30.0


@pytest.fixture
async def url(avatar_file: Path) -> AsyncIterator[str]:
    """Of a server that has this avatar, and another."""
    told = load_cover(avatar_file).told()
    style = replace(DEFAULT_MARK, bits=bits_of(told["digest"]))
    shown = replace(echo_avatar(name="shown"), told=told, mark_style=style)
    server = TestServer(LiveServer(SessionRegistry(Avatars([echo_avatar(), shown])), Access()).app())
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}"
    await server.close()


async def credentialed(url: str, data: bytes, kind: str) -> tuple[str, bytes]:
    """Content type and body of the answer."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/api/credentials", data=data, headers={"Content-Type": kind}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return reply.content_type, await reply.read()


@asynccontextmanager
async def presenting(url: str, avatar: str) -> AsyncIterator[str]:
    """Where the session's snapshot is, once there is one."""
    peer = AiortcPeer("", VideoStreamTrack())
    try:
        async with aiohttp.ClientSession() as http:
            offer = {**await peer.offer(), "avatar": avatar}
            async with http.post(f"{url}/api/sessions", json=offer) as reply:
                answer = await reply.json()
            await peer.take_answer(answer["sdp"])
            snapshot = f"{url}/api/sessions/{answer['id']}/snapshot"

            for _ in range(int(LIMIT_S / 0.1)):
                async with http.get(snapshot) as reply:
                    assert reply.status in (200, 409)
                    if reply.status == 200:
                        break
                await asyncio.sleep(0.1)
            yield snapshot
    finally:
        await peer.close()


async def test_the_snapshot_of_a_session_is_what_was_rendered(
    url: str, avatar_file: Path, tmp_path: Path
) -> None:
    """However little of a mark the link's codec leaves: no codec is in between."""
    told, path = load_cover(avatar_file).told(), tmp_path / "snapshot.png"
    async with (
        presenting(url, "shown") as snapshot,
        aiohttp.ClientSession() as http,
        http.get(snapshot) as reply,
    ):
        assert reply.headers["Digital-Source-Type"] == SOURCE_TYPE
        path.write_bytes(await reply.read())
    found = read_credentials(io.BytesIO(path.read_bytes()), "image/png")
    assert found is not None
    assert found.state == TRUSTED
    assert {name: found.avatar[name] for name in told} == told
    layers = {layer.name: layer.state for layer in verify(path).layers}
    assert (layers["visible mark"], layers["Content Credentials"]) == ("found", "found")


async def test_where_no_avatar_is_shown_a_snapshot_says_nothing(url: str) -> None:
    """A camera's own picture is not called generated."""
    async with (
        presenting(url, "echo") as snapshot,
        aiohttp.ClientSession() as http,
        http.get(snapshot) as reply,
    ):
        assert "Digital-Source-Type" not in reply.headers
        picture = await reply.read()
    assert read_credentials(io.BytesIO(picture), "image/png") is None
    assert Image.open(io.BytesIO(picture)).size == (256, 256)


async def test_a_picture_carries_the_avatars_chain(url: str, avatar_file: Path) -> None:
    told = load_cover(avatar_file).told()
    picture, ground = io.BytesIO(), np.full((256, 256, 3), 120, np.uint8)
    Image.fromarray(with_bits(ground, bits_of(told["digest"])())).save(picture, "PNG")
    kind, data = await credentialed(url, picture.getvalue(), "image/png")
    found = read_credentials(io.BytesIO(data), kind)
    assert found is not None
    assert found.state == TRUSTED
    assert len(found.avatar["records"]) == 1
    assert {name: found.avatar[name] for name in told} == told


async def test_of_an_avatar_that_is_not_served_only_the_mark_is_said(url: str) -> None:
    picture, ground = io.BytesIO(), np.full((256, 256, 3), 120, np.uint8)
    Image.fromarray(with_bits(ground, bits_of("fff" * 20)())).save(picture, "PNG")
    kind, data = await credentialed(url, picture.getvalue(), "image/png")
    found = read_credentials(io.BytesIO(data), kind)
    assert found is not None
    assert set(found.avatar) == {"mark"}


async def test_of_webm_they_lie_beside_it(url: str, avatar_file: Path, tmp_path: Path) -> None:
    bits = bits_of(load_cover(avatar_file).digest)()
    rng = np.random.default_rng(0)
    ground = rng.integers(90, 130, (256, 256, 3), np.uint8)
    film = coded_file([with_bits(ground, bits)] * 12, "libvpx", "webm", 900)
    kind, manifest = await credentialed(url, film, "video/webm")
    assert kind == SIDECAR_TYPE
    path = tmp_path / "saved.webm"
    path.write_bytes(film)
    sidecar(path).write_bytes(manifest)
    layers = {layer.name: layer for layer in verify(path).layers}
    assert layers["Content Credentials"].state == "found"
    assert "in saved.c2pa beside it" in layers["Content Credentials"].words
