"""What do viewers cost the server, each by itself, and through a media server that it feeds once?

    avatarcast bench audience [--direct 1 10 16] [--janus 1 10 30] [--seconds 8]

A server without an avatar (echo), one headless presenter, and viewers that decode nothing, on a network of
their own: it needs root, and Janus (Debian package janus) for --janus. Shares of one core are of the server,
of `stream.forward_rtp`, and of Janus; the viewers and the presenter, which are slow, are on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from benchmarks.live.janus import JanusViewer, janus_with_mountpoint, own_network
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.live.server_link import at, bearer
from benchmarks.live.server_process import Serving, server_process
from benchmarks.records.instrument import DEFAULT_DRIVER, Instrument, add_common, counted
from benchmarks.records.machine import cpu_seconds
from benchmarks.records.record import Record
from engine.errors import SettingsError
from engine.media.video import read_frames
from stream.forward_rtp import decode_nothing
from stream.media.tracks import i420_from_rgb

FPS = 10.0
SETTLE_S = 3.0


class WhepViewer:
    """One viewer of the server itself. Use: connect(), close()."""

    def __init__(self, link: str, view: str) -> None:
        self._link, self._view = link, view
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def connect(self) -> None:
        """Raises ConnectionError where it is refused."""
        self.connection.addTransceiver("video", "recvonly")
        await self.connection.setLocalDescription()
        headers = {**bearer(self._link), "Content-Type": "application/sdp"}
        where, offer = at(self._link, f"/whep/{self._view}"), self.connection.localDescription.sdp
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(where, data=offer) as reply,
        ):
            answer = await reply.text()
            if reply.status != 201:
                raise ConnectionError(answer)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        """Goes."""
        await self.connection.close()


async def received(connection: RTCPeerConnection) -> int:
    """Packets so far."""
    report = await connection.getTransceivers()[0].receiver.getStats()
    return sum(one.packetsReceived for one in report.values() if one.type == "inbound-rtp")


async def watched(
    viewers: list[Any], processes: Mapping[str, int], seconds: float, stack: AsyncExitStack
) -> Record:
    """Shares of a core with these viewers, and the fewest packets that one of them had in a second."""
    for viewer in viewers:
        stack.push_async_callback(viewer.close)
        await viewer.connect()
    await asyncio.sleep(SETTLE_S)
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    counts, began = [await received(viewer.connection) for viewer in viewers], monotonic()
    await asyncio.sleep(seconds)
    took = monotonic() - began
    more = [await received(viewer.connection) - count for viewer, count in zip(viewers, counts, strict=True)]
    spent = {name: ((cpu_seconds(pid) or 0) - (before[name] or 0)) / took for name, pid in processes.items()}
    return {
        "viewers": len(viewers),
        "packets_per_s": round(min(more) / took, 1),
        "cores": {name: round(share, 3) for name, share in spent.items()},
    }


@contextmanager
def forwarding(link: str, view: str, port: int) -> Iterator[int]:
    """The process that passes the view on."""
    with TemporaryDirectory() as folder:
        token = Path(folder, "token")
        token.write_text(bearer(link).get("Authorization", "none").rpartition(" ")[2])
        command = [sys.executable, "-m", "stream.forward_rtp", at(link, f"/whep/{view}")]
        command += ["--token-file", str(token), "--to", f"127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
            process.terminate()


async def run(args: argparse.Namespace, way: str, count: int) -> Record:
    """One number of viewers: a server and a presenter of their own."""
    frames = islice(read_frames(DEFAULT_DRIVER), 40)
    planes = [i420_from_rgb(np.ascontiguousarray(one.rgb)) for one in frames]
    camera = StampedCamera(lambda elapsed_s: planes[int(elapsed_s * 25) % len(planes)], FPS)
    async with AsyncExitStack() as stack:
        server, facts = stack.enter_context(server_process(Serving("echo")))
        link = str(facts["link"])
        presenter = AiortcPeer(link, camera, measure=False)
        stack.push_async_callback(presenter.close)
        await presenter.connect()
        view, processes = presenter.session["view_id"], {"server": server}
        if way == "direct":
            viewers: list[Any] = [WhepViewer(link, view) for _ in range(count)]
        else:
            url, janus, port = stack.enter_context(janus_with_mountpoint())
            forwarder = stack.enter_context(forwarding(link, view, port))
            viewers = [JanusViewer(url) for _ in range(count)]
            processes |= {"forwarder": forwarder, "janus": janus}
        return {"way": way, **await watched(viewers, processes, args.seconds, stack)}


def measure(args: argparse.Namespace) -> Record:
    """Each number of viewers. Raises SettingsError where there can be no network of its own."""
    decode_nothing()
    try:
        with own_network():
            ways = [("direct", count) for count in args.direct] + [("janus", count) for count in args.janus]
            return {"rows": [asyncio.run(run(args, *way)) for way in ways]}
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingsError(f"no network of its own: {error}; wanted root on Linux, with iproute2") from error


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many, how long."""
    add_common(parser, seconds=8.0)
    parser.add_argument("--direct", type=counted, nargs="*", default=[1, 10, 16], help="viewers by WHEP")
    parser.add_argument("--janus", type=counted, nargs="*", default=[1, 10, 30], help="viewers through Janus")


main = Instrument(
    "audience", __doc__, add_options, measure, quick={"direct": [1], "janus": [], "seconds": 1.0}
)
