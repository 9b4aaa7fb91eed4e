"""Janus, a media server of its own (Debian package janus), on a network of its own, and viewers of it.

Janus never uses the loopback address for media, so that network has one other, which nothing else reaches.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from stream.webrtc.aiortc_tuning import gather_on_loopback

JANUS = shutil.which("janus")
LIMIT_S = 20.0
ADDRESS = "198.18.0.1"  # of the range that is for measurements (RFC 2544)
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of Linux
_GENERAL = """general: {{
	configs_folder = "{folder}"
	plugins_folder = "{library}/plugins"
	transports_folder = "{library}/transports"
	events_folder = "{library}/events"
	loggers_folder = "{library}/loggers"
	debug_level = 4
	interface = "127.0.0.1"
}}
nat: {{ ice_enforce_list = "{address}" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
_HTTP = 'general: {{ base_path = "/janus", http = true, port = {port}, ip = "127.0.0.1", https = false }}\n'
_STREAMING = """view: {{
	type = "rtp"
	id = 1
	video = true
	videoiface = "127.0.0.1"
	videoport = {rtp}
	videortcpport = {rtcp}
	videopt = 96
	videocodec = "h264"
	videofmtp = "profile-level-id=42e01f;packetization-mode=1"
}}
"""


def free_ports(count: int) -> list[int]:
    """So many in a row, of UDP."""
    for first in range(41_000, 60_000, count):
        found = range(first, first + count)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in found]
        try:
            for one, port in zip(sockets, found, strict=True):
                one.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return list(found)
    raise RuntimeError("no ports are free")


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and what it begins, in a network namespace of its own. Raises OSError where it may not."""
    kernel = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *numbers: int) -> None:
        if getattr(kernel, name)(*numbers):
            raise OSError(ctypes.get_errno(), f"{name} is refused")

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        call("unshare", _NEW_NETWORK)
        try:
            for words in (
                "link set lo up",
                "link add only type veth peer name other",
                f"addr add {ADDRESS}/32 dev only",
                "link set only up",
                "link set other up",
            ):
                subprocess.run(["ip", *words.split()], check=True)
            yield
        finally:
            call("setns", before, _NEW_NETWORK)
    finally:
        os.close(before)


@contextmanager
def janus_with_mountpoint() -> Iterator[tuple[str, int, int]]:
    """Its address, its process, and the port where its one mountpoint, 1, takes H.264 as payload type 96."""
    assert JANUS is not None
    (library,) = map(str, Path("/usr/lib").glob("*/janus"))
    rtp, rtcp = free_ports(2)
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    names = {
        kind: sorted(path.name for path in Path(library, kind).glob("*.so*"))
        for kind in ("plugins", "transports")
    }
    left_out = {
        kind: ",".join({name.partition(".so")[0] + ".so" for name in found if wanted not in name})
        for (kind, found), wanted in zip(names.items(), ("streaming", "http"), strict=True)
    }
    with TemporaryDirectory() as folder:
        texts = {
            "janus.jcfg": _GENERAL.format(folder=folder, library=library, address=ADDRESS, **left_out),
            "janus.transport.http.jcfg": _HTTP.format(port=port),
            "janus.plugin.streaming.jcfg": _STREAMING.format(rtp=rtp, rtcp=rtcp),
        }
        for name, text in texts.items():
            Path(folder, name).write_text(text)
        command = [JANUS, "-C", f"{folder}/janus.jcfg", "-F", folder, "--disable-colors"]
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
            try:
                began = monotonic()
                while True:
                    with closing(socket.socket()) as one:
                        if one.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    if process.poll() is not None or monotonic() - began > LIMIT_S:
                        raise RuntimeError(Path(folder, "log").read_text()[-2000:])
                yield f"http://127.0.0.1:{port}/janus", process.pid, rtp
            finally:
                process.terminate()


class JanusViewer:
    """One viewer of the mountpoint. Use: connect(), track, close()."""

    def __init__(self, url: str) -> None:
        gather_on_loopback()
        self._url, self._numbers = url, itertools.count()
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    @property
    def track(self) -> MediaStreamTrack:
        """Its pictures."""
        return self.connection.getTransceivers()[0].receiver.track

    async def connect(self) -> None:
        """Watches. Raises RuntimeError where Janus refuses, TimeoutError where it says nothing."""
        self._http = aiohttp.ClientSession()
        session = (await self._post("", {"janus": "create"}))["data"]["id"]
        plugin = {"janus": "attach", "plugin": "janus.plugin.streaming"}
        handle = (await self._post(f"/{session}", plugin))["data"]["id"]
        where = f"/{session}/{handle}"
        await self._post(where, {"janus": "message", "body": {"request": "watch", "id": 1}})
        offer = await asyncio.wait_for(self._offer(session), LIMIT_S)
        await self.connection.setRemoteDescription(RTCSessionDescription(**offer))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        local = self.connection.localDescription
        answer = {"type": local.type, "sdp": local.sdp}
        await self._post(where, {"janus": "message", "body": {"request": "start"}, "jsep": answer})

    async def _offer(self, session: int) -> dict[str, str]:
        while True:
            async with self._http.get(f"{self._url}/{session}") as reply:
                event = await reply.json(content_type=None)
            if "jsep" in event:
                return {name: event["jsep"][name] for name in ("type", "sdp")}

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        body = {**body, "transaction": str(next(self._numbers))}
        async with self._http.post(self._url + path, json=body) as reply:
            found: dict[str, Any] = await reply.json(content_type=None)
        if found["janus"] == "error":
            raise RuntimeError(found["error"]["reason"])
        return found

    async def close(self) -> None:
        """Goes."""
        await self.connection.close()
        await self._http.close()
