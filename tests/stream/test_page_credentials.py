"""Content Credentials of what the page saves: in the file or beside it, with the avatar that it shows."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from PIL import Image

from benchmarks.live.echo_server import echo_avatar
from benchmarks.pictures.invisible_mark import coded_file
from engine.avatar.avatar_file import load_cover
from engine.media.invisible_mark import with_bits
from engine.provenance.credentials import SIDECAR_TYPE, TRUSTED, read_credentials, sidecar
from engine.provenance.mark_bits import bits_of
from engine.verification import verify
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry


@pytest.fixture
async def url(avatar_file: Path) -> AsyncIterator[str]:
    """Of a server that has this avatar, and another."""
    shown = replace(echo_avatar(name="shown"), told=load_cover(avatar_file).told())
    server = TestServer(LiveServer(SessionRegistry(Avatars([echo_avatar(), shown])), Access()).app())
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}/api/credentials"
    await server.close()


async def credentialed(url: str, data: bytes, kind: str) -> tuple[str, bytes]:
    """Content type and body of the answer."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=data, headers={"Content-Type": kind}) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return reply.content_type, await reply.read()


async def test_a_snapshot_carries_the_avatars_chain(url: str, avatar_file: Path) -> None:
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
