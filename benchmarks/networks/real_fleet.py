"""A real fleet of three of Ray's nodes on this machine: where six presenters go, and what a lost node costs.

Also what it costs a head to ask a node how it does, and whether Ray's autoscaler brings what is asked of it.
Everything is on the loopback address. One presenter is the page in Chromium, the others headless peers that
send two pictures a second and believe in a loss after two seconds of silence.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time
from typing import Any

import aiohttp
import numpy as np

from benchmarks.live.browser_stage import CAMERA_FLAGS, page_with
from benchmarks.live.peer import AiortcPeer, StampedCamera
from benchmarks.records.instrument import DEFAULT_DRIVER
from benchmarks.records.record import Record
from engine.avatar.avatar_file import load_avatar
from engine.media.video import read_frames
from stream.fleet.cluster import THIS_MACHINE, Cluster, Member
from stream.fleet.head import FleetHead
from stream.fleet.node import NodeConfig
from stream.fleet.placement import Room
from stream.media.tracks import i420_from_rgb

NODES, PEERS = 3, 5
TOKEN = "the-token-of-a-real-fleet"
SILENCE_S = 2.0
LIMIT_S = 120.0
SMALL = {"object_store_memory": 80 * 2**20, "num_cpus": 1, "node_ip_address": "127.0.0.1"}
# When each picture of the avatar was shown.
WATCH = """(() => {
  window.shown = [];
  const seen = () => { window.shown.push(performance.now()); watched.requestVideoFrameCallback(seen); };
  let watched = null;
  setInterval(() => {
    const found = document.querySelector("#avatar");
    if (found && found !== watched) { watched = found; found.requestVideoFrameCallback(seen); }
  }, 50);
})()"""


class Head:
    """`avatarcast fleet` in a process of its own, whose servers outlive it."""

    def __init__(self, address: str, folder: Path) -> None:
        token = folder / "token"
        token.write_text(TOKEN)
        command = [sys.executable, "-m", "engine.cli", "fleet", "--address", address, "--port", "0", "--json"]
        command += ["--avatar", "theo", "--runner", "null", "--token-file", str(token), "--max-sessions", "8"]
        command += ["--least-fps", "1"]  # three servers share this machine, and each measures it as its own
        self._process = subprocess.Popen([*command, "--keep"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.facts = json.loads(self._process.stdout.readline())
        self.link, self.url = self.facts["link"], self.facts["url"]

    def stop(self) -> None:
        """As Ctrl-C does. Raises RuntimeError where it does not end cleanly."""
        self._process.send_signal(signal.SIGINT)
        if (status := self._process.wait(30)) != 0:
            raise RuntimeError(f"the head ended with status {status}")
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def asked(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of the answer to a POST, of a GET where there is no body."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request("GET" if body is None else "POST", self.url + path, json=body) as reply,
        ):
            return reply.status, await reply.json()

    async def table(self) -> dict[str, dict[str, Any]]:
        """What it says of each node."""
        _, found = await self.asked("/api/fleet")
        return {node["node"]: node for node in found["nodes"]}

    async def spread(self) -> list[int]:
        """Sessions of each node, fewest first."""
        return sorted(node["sessions"] for node in (await self.table()).values())


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = LIMIT_S) -> None:
    """Raises TimeoutError."""
    began = monotonic()
    while not await condition():
        if monotonic() - began > limit_s:
            raise TimeoutError(f"not within {limit_s:g} s")
        await asyncio.sleep(0.1)


async def silent(peer: AiortcPeer) -> bool:
    """Whether no picture comes for as long as it takes to believe that."""
    seen, began = len(peer.arrivals), monotonic()
    while monotonic() - began < SILENCE_S:
        await asyncio.sleep(0.1)
        if len(peer.arrivals) > seen:
            return False
    return True


class Presenters:
    """Headless ones, all with the same film."""

    def __init__(self) -> None:
        frames = islice(read_frames(DEFAULT_DRIVER), 40)
        self._planes = [i420_from_rgb(np.ascontiguousarray(one.rgb)) for one in frames]
        self.peers: list[AiortcPeer] = []

    def _peer(self, head: Head) -> AiortcPeer:
        planes = self._planes
        camera = StampedCamera(lambda elapsed_s: planes[int(elapsed_s * 25) % len(planes)], 2.0)
        self.peers.append(AiortcPeer(head.link, camera, measure=False))
        return self.peers[-1]

    async def call(self, head: Head) -> AiortcPeer:
        """A new one."""
        peer = self._peer(head)
        await peer.connect()
        return peer

    async def resume(self, head: Head, lost: AiortcPeer) -> AiortcPeer:
        """As the page does: again and again, until somebody answers."""
        again = self._peer(head)
        body = {**await again.offer(), "secret": lost.session["secret"]}
        while True:
            status, answer = await head.asked(f"/api/sessions/{lost.session['id']}/resume", body)
            if status == 200:
                break
            if status != 503:
                raise ConnectionError(str(answer))
            await asyncio.sleep(0.1)
        again.session = answer
        await again.take_answer(answer["sdp"])
        await until(lambda: has_pictures(again))
        return again

    async def close(self) -> None:
        """All of them."""
        await asyncio.gather(*(peer.close() for peer in self.peers))


async def has_pictures(*peers: AiortcPeer) -> bool:
    """All of them."""
    return all(peer.arrivals for peer in peers)


@contextmanager
def ray_nodes() -> Iterator[Any]:
    """Ray's own test cluster, on the loopback address. Raises ImportError where Ray is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as RayCluster

    first = {**SMALL, "include_dashboard": False}
    cluster = RayCluster(initialize_head=True, head_node_args=first)  # it wants the main thread
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**SMALL)
        yield cluster
    finally:
        cluster.shutdown()


class Answering:
    """A node that answers as one with so many presenters does."""

    def __init__(self, sessions: int, neutral: Any) -> None:
        facts = {"name": None, "avatar": "theo"}
        names = [secrets.token_urlsafe(16) for _ in range(sessions)]
        self._sessions = [{"id": name, "view_id": name, "secret": name, **facts} for name in names]
        self._neutral = neutral

    async def state(self, whole: bool) -> dict[str, Any]:
        """See `FleetNode.state`."""
        neutral = self._neutral if whole else None
        told = {"pid": 0, "fits": len(self._sessions), "picture_ms": 9.0, "kept": {}}
        return told | {"sessions": [{**one, "neutral": neutral} for one in self._sessions]}


async def question_ms(sessions: int = 25, rounds: int = 50) -> dict[str, float]:
    """CPU ms of the head's process for one question to one node: with what is new, and with all it was told.

    All of the process counts, Ray's own threads too.
    """
    import ray

    config = NodeConfig(THIS_MACHINE, TOKEN, b"k" * 32, "null", "steps", "square", 1, 1.0, True)
    cluster = Cluster(config, [])
    cluster.connect(None)
    try:
        head, neutral = FleetHead(cluster), load_avatar("theo").neutral
        make = ray.remote(Answering).options(num_cpus=0)
        for number in range(2):
            room = Room(str(number), 0, 0)
            cluster.members[room.node] = Member(room, make.remote(sessions, neutral), "", THIS_MACHINE)

        async def ask(whole: bool) -> None:
            for member in cluster.members.values():
                member.heard = not whole
            await asyncio.gather(*(cluster.ask(node) for node in list(cluster.members)))
            head.note(monotonic())

        found = {}
        for what, whole in (("all", True), ("new", False)):
            for _ in range(5):
                await ask(whole)
            began_s = process_time()
            for _ in range(rounds):
                await ask(whole)
            found[what] = round(1e3 * (process_time() - began_s) / rounds / len(cluster.members), 3)
        if len(cluster.members) != 2 or len(head.sessions) != 2 * sessions:
            raise RuntimeError(f"{len(head.sessions)} sessions of {len(cluster.members)} nodes are known")
        return found
    finally:
        await cluster.leave(stop=False)


async def run() -> Record:
    """Six presenters, a killed node, one that drains, and another head. Raises TimeoutError, RuntimeError."""
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(ray_nodes())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        head = await asyncio.to_thread(Head, cluster.address, folder)
        heads = [head]
        stack.push_async_callback(lambda: asyncio.to_thread(heads[-1].stop))
        presenters = Presenters()
        stack.push_async_callback(presenters.close)

        async def all_there() -> bool:
            return len(await head.table()) == NODES

        await until(all_there)
        first = next(node for node in await head.table() if node == cluster.head_node.node_id)
        await head.asked(
            f"/api/fleet/nodes/{first}/drain", {"on": True}
        )  # Ray's own head is not to be killed
        page = await stack.enter_async_context(page_with(*CAMERA_FLAGS))
        await page.add_init_script(WATCH)
        await page.goto(head.link)
        await page.click("#start")

        async def shows(script: str) -> bool:
            return bool(await page.evaluate(script))

        await until(lambda: shows("shown.length > 10"))
        theirs = next(node for node, told in (await head.table()).items() if told["sessions"])
        await head.asked(f"/api/fleet/nodes/{first}/drain", {"on": False})
        for _ in range(PEERS):
            await presenters.call(head)
        await until(lambda: has_pictures(*presenters.peers))
        found: dict[str, Any] = {"placed": await head.spread()}
        for peer in presenters.peers:
            await head.asked(f"/api/sessions/{peer.session['id']}/mirror", {"on": True})
        await asyncio.sleep(1.5)  # the head notes it

        server = (await head.table())[theirs]
        os.kill(server["pid"], signal.SIGKILL)  # a machine that dies takes its processes along
        victim = next(node for node in cluster.worker_nodes if node.node_id == theirs)
        killed_page_ms = await page.evaluate("performance.now()")
        await asyncio.to_thread(cluster.remove_node, victim, allow_graceful=False)
        killed_s = monotonic()
        quiet = await asyncio.gather(*(silent(peer) for peer in presenters.peers))
        lost = [peer for peer, is_silent in zip(presenters.peers, quiet, strict=True) if is_silent]
        noticed_s = monotonic()
        again = await asyncio.gather(*(presenters.resume(head, peer) for peer in lost))
        back_s = monotonic()
        # The picture that ends the longest gap since then is the first of the new connection.
        gap = f"shown.some((at, index) => at > {killed_page_ms} && at - shown[index - 1] > 500)"
        await until(lambda: shows(gap))
        shown = np.array(await page.evaluate(f"shown.filter((at) => at > {killed_page_ms} - 1000)"))
        gap_s = float(np.diff(shown).max()) / 1e3
        found |= {
            "lost": len(lost) + 1,
            "page_back_s": round(gap_s, 2),
            "peers_noticed_s": round(noticed_s - killed_s, 2),
            "peers_back_s": round(back_s - killed_s, 2),
            "still_calibrated": all(not told["calibrating"] for peer in again for _, told in peer.stats[:1]),
            "after_loss": await head.spread(),
        }

        drained = next(iter(await head.table()))
        await head.asked(f"/api/fleet/nodes/{drained}/drain", {"on": True})
        before = (await head.table())[drained]["sessions"]
        last = await presenters.call(head)
        found["drained_took"] = (await head.table())[drained]["sessions"] - before

        count, shown_count = len(last.arrivals), await page.evaluate("shown.length")
        await asyncio.to_thread(heads.pop().stop)
        head = await asyncio.to_thread(Head, cluster.address, folder)
        heads.append(head)

        async def found_again() -> bool:
            return sum(await head.spread()) == NODES * 2 + 1

        await until(found_again)

        async def went_on() -> bool:
            return len(last.arrivals) > count + 2 and await page.evaluate("shown.length") > shown_count + 2

        await until(went_on)
        found["after_new_head"] = await head.spread()
        return found
