"""Whatever is sent, the server refuses it in words or serves it, within bounds, and nothing is left behind.

Real offers of Chromium and GStreamer are the seeds; requests go through the real app and real sessions.
AVATARCAST_FUZZ_EXAMPLES says how many are made, a few hundred without it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import numpy as np
from aiohttp.test_utils import TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from benchmarks.live.echo_server import echo_avatar
from benchmarks.live.offer_cases import CASES
from benchmarks.live.peer import StampedCamera
from stream.http.security import Access
from stream.http.server import CONNECTION_LIMITS, LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import RegistryConfig, SessionRegistry
from tests.support.places import DATA
from tests.support.waiting import WAIT_S

EXAMPLES = int(os.environ.get("AVATARCAST_FUZZ_EXAMPLES", "300"))
WATCHDOG_S = 60  # for one request; some take a second, while the machine is busy
MAX_CHARACTERS = 200_000  # of a mutated text: more than is read; the client warns about megabytes
OFFERS = [path.read_text().replace("\n", "\r\n") for path in sorted((DATA / "offers").iterdir())]
FRAGMENT = """a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96
a=mid:0
a=ice-ufrag:Cl6w
a=ice-pwd:T8wjQedHKsdSoseRBWu73qqe
a=candidate:5 1 udp 2122194687 127.0.0.1 9 typ host generation 0
a=end-of-candidates
""".replace("\n", "\r\n")
NO_CREDENTIALS = FRAGMENT.replace("a=ice-", "a=x-")  # of whatever generation there is
HUGE = ["9" * 400, "-1", "0", "2147483648", "1e308", "NaN", "\x00", "x" * 20_000, "á\u2028𐐷", "%s%n", "", " "]
Mutation = Callable[[str], str]


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    """One change of a text: of a line, of a number in it, of its bytes, or of its end."""
    kind = draw(st.sampled_from(["delete", "double", "repeat", "swap", "value", "number", "noise", "cut"]))
    first, second = draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))
    text = draw(st.sampled_from(HUGE) | st.text(max_size=20))

    def change(sdp: str) -> str:
        lines = sdp.split("\r\n")
        at, other, where = int(first * len(lines)), int(second * len(lines)), int(first * len(sdp))
        if kind == "delete":
            del lines[at]
        elif kind in ("double", "repeat"):
            lines[at:at] = [lines[at]] * (300 if kind == "repeat" else 1)
        elif kind == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "value":
            lines[at] = lines[at][: lines[at].find(":") + 1] + text
        elif kind == "number":
            words = lines[at].split(" ")
            words[int(second * len(words))] = text
            lines[at] = " ".join(words)
        else:
            return sdp[:where] + (text + sdp[where + 1 :] if kind == "noise" else "")
        return "\r\n".join(lines)

    return change


def mutated(seeds: list[str]) -> st.SearchStrategy[str]:
    def change(seed: str, changes: list[Mutation]) -> str:
        for one in changes:
            seed = one(seed)
        return seed[:MAX_CHARACTERS]

    return st.builds(change, st.sampled_from(seeds), st.lists(mutations(), max_size=3))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
steps = st.sampled_from(["mirror", "mute", "avatar", "background", "calibrate", "resume", "unknown"])
names = st.sampled_from(["", "?avatar=echo", "?name=a", "?avatar=%00", "?name=..%2f..", "?avatar=x&avatar=y"])
kinds = st.sampled_from(
    ["application/sdp", "application/json", "application/trickle-ice-sdpfrag", "image/png", "?", ""]
)
Request = tuple[str, str, str, bytes]  # method, path, content type, body


def page_offer(sdp: str, extra: Any) -> bytes:
    body = {"type": "offer", "sdp": sdp} | (extra if isinstance(extra, dict) else {"mirror": extra})
    return json.dumps(body).encode()


requests = st.one_of(
    st.tuples(
        st.just("POST"),
        st.sampled_from(["/api/sessions", "/api/sessions/LIVE/resume"]),
        st.just("application/json"),
        st.builds(page_offer, mutated(OFFERS), st.just(False) | json_values),
    ),
    st.tuples(
        st.just("POST"),
        st.builds("/whip{}".format, names) | st.just("/whep/live"),
        st.just("application/sdp"),
        mutated([*OFFERS, *(offer.replace("sendonly", "recvonly") for offer in OFFERS)]).map(str.encode),
    ),
    st.tuples(
        st.just("PATCH"),
        st.just("/whip/LIVE"),
        st.just("application/trickle-ice-sdpfrag"),
        mutated([FRAGMENT, NO_CREDENTIALS]).map(str.encode),
    ),
    st.tuples(
        st.just("POST"),
        st.builds("/api/sessions/LIVE/{}".format, steps),
        st.just("application/json"),
        json_values.map(lambda value: json.dumps(value).encode()),
    ),
    st.tuples(
        st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]),
        st.sampled_from(["/", "/whip", "/whep/live", "/whep/live/none", "/api/config", "/view/live",
                         "/metrics", "/api/avatars/%2e%2e/preview.jpg", "/api/sessions/LIVE/background"]),
        kinds,
        st.binary(max_size=300),
    ),
)  # fmt: skip
offers = st.one_of(
    *(
        st.tuples(
            st.just("POST"),
            st.just(path),
            st.just("application/sdp"),
            mutated([case.sdp for case in CASES if case.watches is watches]).map(str.encode),
        )
        for path, watches in (("/whip", False), ("/whep/live", True))
    )
)


class Hung(BaseException):
    """The watchdog's: nothing that handles errors may handle it."""


@contextmanager
def watchdog(limit_s: int) -> Iterator[None]:
    def bark(_: int, __: FrameType | None) -> None:
        raise Hung(f"no answer in {limit_s} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Target:
    """A server with one live session, published by a peer of its own, that requests are thrown at."""

    def __init__(self) -> None:
        config = RegistryConfig(max_sessions=4, least_fps=0.0)
        self.registry = SessionRegistry(Avatars([echo_avatar()]), config)
        access = Access(requests_per_s=1e6, burst=1e6)
        self.server = TestServer(LiveServer(self.registry, access).app())
        self.statuses: dict[int, int] = {}
        self._publisher: RTCPeerConnection | None = None
        self._live = ""

    async def start(self) -> None:
        await self.server.start_server(**CONNECTION_LIMITS)
        self._http = aiohttp.ClientSession(base_url=f"http://127.0.0.1:{self.server.port}")

    async def publish(self) -> None:
        """See to it that the live session is there, with its camera."""
        if any(session.id == self._live for session in self.registry):
            return
        if self._publisher is not None:
            await self._publisher.close()
        self._publisher = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        grey = np.full((144, 128), 128, np.uint8)
        self._publisher.addTransceiver(StampedCamera(lambda _: grey, fps=5.0), "sendonly")
        await self._publisher.setLocalDescription()
        offer = {"data": self._publisher.localDescription.sdp, "headers": {"Content-Type": "application/sdp"}}
        async with self._http.post("/whip?name=live", **offer) as reply:
            assert reply.status == 201, await reply.text()
            await self._publisher.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
            self._live = reply.headers["Location"].rpartition("/")[2].partition("?")[0]

    async def throw(self, method: str, path: str, kind: str, body: bytes) -> None:
        """One request, and what must hold of its answer; what it made is deleted."""
        await self.publish()
        url = URL(path.replace("LIVE", self._live), encoded=True)
        headers = {"Content-Type": kind, "If-Match": "*"}
        async with self._http.request(method, url, data=body, headers=headers) as reply:
            text = await reply.read()
            assert reply.status < 500 or reply.status == 503, (reply.status, text)
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            if reply.status >= 400:
                assert "\n" not in json.loads(text)["error"]
            self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
            where = reply.headers.get("Location", "")
        if where.startswith("/whep"):
            async with self._http.delete(where) as reply:
                assert reply.status == 200
        for session in self.registry:
            if session.id != self._live:
                await session.close("the example is over")

    async def stop(self) -> None:
        await self._http.close()
        if self._publisher is not None:
            await self._publisher.close()
        await self.server.close()


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_fuzzed_requests() -> None:
    statuses = thrown(requests)
    if EXAMPLES >= 200:
        assert {200, 201, 204} & set(statuses)  # both sides of the checks were seen
        assert {400, 404} & set(statuses)


def test_fuzzed_offers() -> None:
    """Every kind of client's offer is a seed; what came of it is refused in one line, or served."""
    statuses = thrown(offers)
    if EXAMPLES >= 200:
        assert {201, 400} <= set(statuses) <= {201, 400, 413}  # a line repeated makes some too long


def thrown(requests: st.SearchStrategy[Request]) -> dict[int, int]:
    """Never a 5xx but the 503 of a full server, never a hang, never a task, session or socket left.

    Gives how many were answered with each status.
    """
    loop = asyncio.new_event_loop()
    before = open_files()
    target = Target()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(request=requests)
    def throw(request: Request) -> None:
        with watchdog(WATCHDOG_S):
            loop.run_until_complete(target.throw(*request))

    try:
        loop.run_until_complete(target.start())
        throw()
    finally:
        loop.run_until_complete(target.stop())
        loop.run_until_complete(nothing_runs())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    print(f"\n{EXAMPLES} examples, answered with {dict(sorted(target.statuses.items()))}")
    assert not len(target.registry)
    assert open_files() <= before + 5  # of libraries that open a file once; a leak is one a session
    return target.statuses


async def nothing_runs() -> None:
    """Wait until every task but this one has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    _, left = await asyncio.wait(others, timeout=WAIT_S) if others else (None, set())
    assert not left
