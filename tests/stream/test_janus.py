"""The avatar through a media server of its own: Janus takes it once, and its viewers see it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from queue import Queue
from threading import Event

import av
import pytest
from aiortc import rtcrtpreceiver

from benchmarks.live.janus import JANUS, JanusViewer, janus_with_mountpoint, own_network
from engine.errors import AvatarcastError
from stream.forward_rtp import Forwarder, decode_nothing, main
from tests.stream.test_whip import answered, camera, connection, serving

WAIT_S = 20.0


@pytest.fixture
def janus() -> Iterator[tuple[str, int]]:
    """Its address, and the port that it takes RTP on."""
    if JANUS is None:
        pytest.skip("Janus is not installed: apt install janus")
    with ExitStack() as stack:
        try:
            stack.enter_context(own_network())
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network of its own: {error}")
        url, _, port = stack.enter_context(janus_with_mountpoint())
        yield url, port


async def test_viewers_of_janus_see_the_avatar_that_the_server_sends_once(janus: tuple[str, int]) -> None:
    url, port = janus
    async with serving() as client, connection(camera()) as publisher:
        await answered(publisher, await client.offer("/whip?name=me", publisher.localDescription.sdp))
        forwarder = Forwarder(f"{client.url}/whep/me", "", "127.0.0.1", port)
        viewers = [JanusViewer(url) for _ in range(3)]
        try:
            await forwarder.start()
            for viewer in viewers:
                await viewer.connect()
                frame = await asyncio.wait_for(viewer.track.recv(), WAIT_S)
                assert isinstance(frame, av.VideoFrame)
                luma = frame.to_ndarray(format="gray")
                assert luma.shape == (256, 256)
                assert luma[:, :32].mean() < luma[:, -32:].mean() - 100  # the camera's ramp
            (session,) = client.registry
            assert len(session.audience) == 1
            assert forwarder.key_frames_asked >= 1  # else late viewers would wait for the next by itself
        finally:
            for viewer in viewers:
                await viewer.close()
            await forwarder.stop()
        assert len(session.audience) == 0


async def test_what_cannot_be_watched_is_told() -> None:
    async with serving() as client:
        forwarder = Forwarder(f"{client.url}/whep/nobody", "", "127.0.0.1", 9)
        with pytest.raises(AvatarcastError, match=r"/whep/nobody answered 404: .*nothing to watch"):
            await forwarder.start()
        await forwarder.stop()


@pytest.mark.parametrize("to", ["127.0.0.1", "127.0.0.1:0", ":5004"])
def test_bad_addresses_are_told(to: str, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1/whep/me", "--token-file", f"{tmp_path}/none", "--to", to]) == 1
    assert f"--to {to}: wanted HOST:PORT" in capsys.readouterr().err


async def test_nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtcrtpreceiver, "decoder_worker", rtcrtpreceiver.decoder_worker)
    decode_nothing()
    incoming: Queue[str | None] = Queue()
    outgoing: asyncio.Queue[str | None] = asyncio.Queue()
    for item in ("a picture", "another", None):
        incoming.put(item)
    worker, loop = rtcrtpreceiver.decoder_worker, asyncio.get_running_loop()
    await asyncio.to_thread(worker, loop, incoming, outgoing, Event())
    assert await outgoing.get() is None  # the end, and nothing before it
    assert incoming.empty()
