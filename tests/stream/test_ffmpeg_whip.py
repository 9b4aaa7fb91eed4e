"""FFmpeg's own WHIP muxer, in PyAV's wheel, publishes: a second client beside aiortc."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest
from aiohttp.test_utils import TestServer
from aiortc import RTCCertificate
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stream.http.security import Access
from stream.http.server import LiveServer
from stream.sessions.registry import SessionRegistry
from stream.webrtc.peer import NO_DTLS
from tests.support.direct_call import avatars_of
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    "whip" not in av.formats_available, reason="this PyAV is built without FFmpeg's WHIP muxer"
)

# a process of its own: the muxer holds the interpreter while it waits for the answer
CLIENT = """
import sys, time
from fractions import Fraction
import av, numpy as np
out = av.open(sys.argv[1], "w", format="whip", options=dict(one.split("=") for one in sys.argv[2:]))
stream = out.add_stream("libx264", rate=20, options={"tune": "zerolatency", "profile": "baseline", "g": "20"})
stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
for index in range(400):
    frame = av.VideoFrame.from_ndarray(np.full((360, 320), index % 256, np.uint8), format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, 20)
    for packet in stream.encode(frame):
        out.mux(packet)
    time.sleep(0.05)
"""


@asynccontextmanager
async def publishing(options: list[str]) -> AsyncIterator[SessionRegistry]:
    registry = SessionRegistry(avatars_of())
    server = TestServer(LiveServer(registry, Access(burst=1e5)).app())
    await server.start_server()
    link = f"http://127.0.0.1:{server.port}/whip?name=ffmpeg"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, link, *options), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield registry
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await server.close()


async def test_with_a_certificate_on_p_256_it_publishes(tmp_path: Path) -> None:
    made = RTCCertificate.generateCertificate()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(made._cert.public_bytes(Encoding.PEM))
    key.write_bytes(made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    async with publishing([f"cert_file={certificate}", f"key_file={key}"]) as registry:
        await until(lambda: any(session.metrics.received > 5 for session in registry))


async def test_with_its_own_it_publishes_or_the_log_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which it is depends on what FFmpeg and OpenSSL were built with."""
    caplog.set_level("INFO", "stream")
    async with publishing([]) as registry:
        await until(
            lambda: NO_DTLS in caplog.text or any(session.metrics.received > 5 for session in registry)
        )
