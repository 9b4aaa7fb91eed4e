"""A client that holds a token and means harm: one kind of harm, as fast as it can, for some seconds.

Run as a process of its own, at the lowest priority: an attacker elsewhere would take nothing of this
machine's processor. It comes from an address of its own of the loopback network, so that a server counts it
as a client of its own. The order is one JSON object on standard input; "ready" is printed once the attack may
begin. Each further line is one attack, answered by a JSON object: how often the server answered what so far.
In between the process only takes as much of the processor as the attack took; it ends with standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import count, cycle
from time import monotonic, process_time
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from PIL import Image

from stream.webrtc.aiortc_tuning import gather_on_loopback

SOURCE = "127.0.0.2"
AT_ONCE = 24  # requests
SILENT = 300  # connections
CONNECT_LIMIT_S = 20.0
_FRAGMENT = "application/trickle-ice-sdpfrag"
_TROUBLE = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


@dataclass(frozen=True, slots=True)
class Order:
    """What to do to whom."""

    kind: str  # one of KINDS
    url: str  # without a path, ends in /
    headers: dict[str, str]  # of every request: the token
    view: str  # the session to watch
    seconds: float


class Attacker:
    """Use: one of the methods that KINDS names."""

    def __init__(self, order: Order, http: aiohttp.ClientSession) -> None:
        self.answers: Counter[str] = Counter()  # by status, or by what went wrong
        self._order = order
        self._http = http
        self._end_s = 0.0

    async def candidates(self) -> None:
        """64 late candidates with every PATCH."""
        numbers = count(0, 64)
        async with self._watching() as (where, tag):
            await self._all_at_once(lambda: self._patch(where, tag, _hosts(next(numbers), 64)))

    async def restarts(self) -> None:
        """ICE restarts that lead nowhere."""

        def restart() -> str:
            return f"a=ice-ufrag:{secrets.token_hex(8)}\r\na=ice-pwd:{secrets.token_hex(16)}\r\n"

        async with self._watching() as (where, _):
            await self._all_at_once(lambda: self._patch(where, "*", restart()))

    async def offers(self) -> None:
        """Offers, to present and to watch, that are never gone on with; each third is as long as allowed."""
        async with _connection(sends=True) as presenting, _connection(sends=False) as watching:
            to_watch, where = watching.localDescription.sdp, f"/whep/{self._order.view}"
            body = json.dumps({"sdp": presenting.localDescription.sdp, "type": "offer"})
            requests = cycle(
                [
                    (where, to_watch, "application/sdp"),
                    (where, to_watch + _hosts(0, 951), "application/sdp"),
                    ("/api/sessions", body, "application/json"),
                ]
            )
            await self._all_at_once(lambda: self._ask("POST", *next(requests)))

    async def connections(self) -> None:
        """Hundreds of connections that say nothing, or begin a request and do not go on."""
        await self._turns(self._connect)

    async def _connect(self) -> None:
        target, loop = urlsplit(self._order.url), asyncio.get_running_loop()
        held: list[socket.socket] = []
        while monotonic() < self._end_s:
            one = socket.socket()
            one.setblocking(False)
            one.bind((SOURCE, 0))
            try:
                await asyncio.wait_for(loop.sock_connect(one, (target.hostname, target.port)), 1)
                if len(held) % 2:
                    await loop.sock_sendall(one, b"POST /api/sessions HTTP/1.1\r\nHost: ")
                self.answers["connected"] += 1
            except _TROUBLE as error:
                self.answers[type(error).__name__] += 1
            held.append(one)
            if len(held) > SILENT:
                held.pop(0).close()
            await asyncio.sleep(0.005)
        for one in held:
            one.close()

    async def pictures(self) -> None:
        """Backgrounds of a few KB that are as large as is allowed, and larger."""
        pictures = cycle(
            [_picture(4096, 3072, "PNG"), _picture(4096, 3072, "JPEG"), _picture(4096, 4096, "PNG")]
        )
        where = "/api/sessions/none/background"
        async with _connection(sends=True) as presenting:
            body = json.dumps({"sdp": presenting.localDescription.sdp, "type": "offer"})

            async def send() -> None:
                nonlocal where
                kind, data = next(pictures)
                status, _ = await self._ask("PUT", where, data, kind)
                if status == 404:
                    _, text = await self._ask("POST", "/api/sessions", body, "application/json")
                    with suppress(ValueError, KeyError):
                        where = f"/api/sessions/{json.loads(text)['id']}/background"

            await self._all_at_once(send)

    async def _turns(self, attack: Callable[[], Awaitable[object]]) -> None:
        """One attack for each line; as busy in between, and doing nothing, until there are no more."""
        print("ready", flush=True)
        share = 0.0  # of a processor
        while await self._next_line(share):
            begun_s, cpu_s = monotonic(), process_time()
            self._end_s = begun_s + self._order.seconds
            await attack()
            share = (process_time() - cpu_s) / (monotonic() - begun_s)
            print(json.dumps(self.answers), flush=True)

    async def _next_line(self, share: float) -> str:
        begun_s, cpu_s = monotonic(), process_time()
        line: asyncio.Task[str] = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        while not line.done():
            while process_time() - cpu_s < share * (monotonic() - begun_s):
                pass
            await asyncio.sleep(0.002)
        return await line

    async def _all_at_once(self, send: Callable[[], Awaitable[object]]) -> None:
        async def go_on() -> None:
            while monotonic() < self._end_s:
                await send()
                await asyncio.sleep(0.001)

        await self._turns(lambda: asyncio.gather(*(go_on() for _ in range(AT_ONCE))))

    async def _patch(self, where: str, tag: str, fragment: str) -> None:
        await self._ask("PATCH", where, fragment, _FRAGMENT, {"If-Match": tag})

    async def _ask(
        self, method: str, path: str, data: str | bytes, kind: str, more: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text; 0 where there was no answer."""
        where, headers = urljoin(self._order.url, path), {"Content-Type": kind, **(more or {})}
        try:
            async with self._http.request(method, where, data=data, headers=headers) as reply:
                text = await reply.text()
        except _TROUBLE as error:
            self.answers[type(error).__name__] += 1
            await asyncio.sleep(0.02)
            return 0, ""
        self.answers[str(reply.status)] += 1
        return reply.status, text

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[tuple[str, str]]:
        """A viewer whose connection stands: its resource, its entity tag."""
        async with _connection(sends=False) as connection:
            sdp = connection.localDescription.sdp.replace("a=end-of-candidates\r\n", "")
            async with self._http.post(
                f"{self._order.url}whep/{self._order.view}",
                data=sdp,
                headers={"Content-Type": "application/sdp"},
            ) as reply:
                text, where, tag = await reply.text(), reply.headers["Location"], reply.headers["ETag"]
            await connection.setRemoteDescription(RTCSessionDescription(text, "answer"))
            connected = asyncio.Event()
            connection.on("connectionstatechange", connected.set)
            while connection.connectionState != "connected":
                await asyncio.wait_for(connected.wait(), CONNECT_LIMIT_S)
                connected.clear()
            yield where, tag


KINDS = ("candidates", "restarts", "offers", "connections", "pictures")


@asynccontextmanager
async def _connection(sends: bool) -> AsyncIterator[RTCPeerConnection]:
    gather_on_loopback()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver(VideoStreamTrack() if sends else "video", "sendrecv" if sends else "recvonly")
    await connection.setLocalDescription()
    yield connection
    await connection.close()


def _hosts(first: int, count: int) -> str:
    """So many candidates, each another address of the loopback network."""
    numbers = range(first, first + count)
    hosts = (f"127.{1 + (n >> 16) % 250}.{(n >> 8) % 256}.{n % 256}" for n in numbers)
    return "".join(f"a=candidate:1 1 udp 2113937151 {host} 9 typ host\r\n" for host in hosts)


def _picture(width: int, height: int, kind: str) -> tuple[str, bytes]:
    data = BytesIO()
    Image.new("P" if kind == "PNG" else "L", (width, height)).save(data, kind)
    return f"image/{kind.lower()}", data.getvalue()


async def attack(order: Order) -> None:
    """Obey, and tell."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(SOURCE, 0))
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, headers=order.headers, timeout=timeout) as http:
        await getattr(Attacker(order, http), order.kind)()


def as_text(order: Order) -> str:
    """One line, as `main` reads it."""
    return json.dumps(asdict(order)) + "\n"


def main() -> int:
    """Read the order, obey."""
    os.nice(19)
    asyncio.run(attack(Order(**json.loads(sys.stdin.readline()))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
