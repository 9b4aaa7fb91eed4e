"""Which of the offers that people's clients send are served, and which are refused in words?

    avatarcast bench offers

Posts every offer of benchmarks.live.offer_cases to a real server, a viewer's to a view that is live, and
holds each reply against what is wanted of it: the sections that are served, those that are refused in the
answer, the payload types, the words of a refusal. Nothing is connected; that what is served flows is for the
tests.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from types import TracebackType

import aiohttp
import numpy as np
from aiohttp.test_utils import TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.offer_cases import CASES, Case
from benchmarks.live.peer import StampedCamera
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry

SDP = {"Content-Type": "application/sdp"}
PLACE_LIMIT_S = 20.0


class OfferServer:
    """A server without an avatar, and a publisher whose view viewers may ask for."""

    async def __aenter__(self) -> OfferServer:
        self.registry = SessionRegistry(
            Avatars([echo_avatar()]), RegistryConfig(max_sessions=4, least_fps=0.001)
        )
        self._server = TestServer(LiveServer(self.registry, Access(requests_per_s=1e6, burst=1e6)).app())
        await self._server.start_server()
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{self._server.port}")
        self._publisher = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        grey = np.full((144, 128), 128, np.uint8)
        self._publisher.addTransceiver(StampedCamera(lambda _: grey, fps=5.0), "sendonly")
        await self._publisher.setLocalDescription()
        _, answer, _ = await self._post("/whip?name=live", self._publisher.localDescription.sdp)
        await self._publisher.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        for _ in range(int(PLACE_LIMIT_S / 0.02)):
            if self.registry.by_view("live").has_place:
                break
            await asyncio.sleep(0.02)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        await self._publisher.close()
        await self._server.close()

    async def send(self, case: Case) -> tuple[int, str]:
        """Status and text of the reply; what it made is deleted."""
        status, text, where = await self._post("/whep/live" if case.watches else "/whip", case.sdp)
        if where is not None:
            async with self._http.delete(where):
                pass
        return status, text

    async def _post(self, path: str, sdp: str) -> tuple[int, str, str | None]:
        async with self._http.post(path, data=sdp, headers=SDP) as reply:
            return reply.status, await reply.text(), reply.headers.get("Location")


def measure(_: argparse.Namespace) -> Record:
    """Every case, in the order of the table."""
    rows = asyncio.run(_all())
    mistakes = [f"{name}: {row['mistake']}" for name, row in rows.items() if row["mistake"] is not None]
    return {"failures": mistakes, "offers": rows}


async def _all() -> dict[str, Record]:
    rows: dict[str, Record] = {}
    async with OfferServer() as server:
        for case in CASES:
            status, text = await server.send(case)
            outcome = ", ".join(re.findall(r"(?m)^m=\w+ \d+ \S+ \S+|^a=simulcast[^\r\n]*", text)) or text
            outcome = re.sub(r"(m=\w+) [1-9]\d* ", r"\1 PORT ", outcome)
            mistake = case.mistake(status, text)
            rows[case.name] = {"status": status, "outcome": outcome, "mistake": mistake}
    return rows


def add_options(_: argparse.ArgumentParser) -> None:
    """None."""


main = Instrument("offers", __doc__, add_options, measure, quick={})
