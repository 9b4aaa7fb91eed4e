"""A fleet on Ray: where sessions go, what a lost node costs, and that the head is a server like any other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from benchmarks.live.echo_server import EchoPipeline, echo_avatar
from benchmarks.live.peer import AiortcPeer, StampedCamera
from engine.errors import SettingsError
from engine.media.video import read_frames
from engine.user_folders import CACHE_VARIABLE
from stream.fleet.cluster import Cluster, Member
from stream.fleet.head import FleetHead
from stream.fleet.node import FleetNode, NodeConfig, SpreadAvatar, held
from stream.fleet.placement import Room, placed
from stream.media.tracks import i420_from_rgb
from stream.webrtc.ice_servers import IceServers
from tests.support.grey_camera import grey_camera
from tests.support.places import PRESENTER

TOKEN = "a token of sixteen and more".replace(" ", "-")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BACK_S = 5.0


def test_a_session_goes_where_most_room_is() -> None:
    rooms = [Room("a", 4, 2), Room("b", 6, 2), Room("c", 9, 0, drains=True)]
    best = placed(rooms)
    assert best is not None
    assert best.node == "b"
    assert placed([Room("a", 2, 2), Room("b", 0, 0)]) is None


def test_equal_machines_fill_evenly() -> None:
    rooms = [Room(name, 8, 0) for name in "abc"]
    for _ in range(12):
        best = placed(rooms)
        assert best is not None
        best.running += 1
    assert [room.running for room in rooms] == [4, 4, 4]


async def asked(url: str, path: str, method: str = "GET", body: Any = None, **more: Any) -> Any:
    headers = more.pop("headers", HEADERS)
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.request(method, url + path, json=body) as reply,
    ):
        text = await reply.text()
        return reply.status, json.loads(text) if text.startswith("{") else text


@pytest.fixture
async def peers() -> AsyncIterator[list[AiortcPeer]]:
    made: list[AiortcPeer] = []
    yield made
    await asyncio.gather(*(peer.close() for peer in made))


async def until(condition: Any, limit_s: float = 30.0) -> float:
    began = monotonic()
    while not await condition():
        assert monotonic() - began < limit_s
        await asyncio.sleep(0.1)
    return monotonic() - began


# The head, over two servers in this process


class KnownPipeline(EchoPipeline):
    """An echo whose presenter is known from the start; remembers what was asked of it."""

    calibrating = False

    def __init__(self) -> None:
        super().__init__()
        self.driver: Any = "somebody at rest"
        self.mirrored = False
        MADE.append(self)

    def drive_by(self, neutral: Any) -> None:
        self.driver = f"{neutral}, from elsewhere"

    def set_mirror(self, on: bool) -> None:
        self.mirrored = on


MADE: list[KnownPipeline] = []


class Called:
    """As Ray calls a method of an actor."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._node, name))


class Here(Cluster):
    """Servers in this process, which answer as long as they are among `nodes`."""

    def __init__(self, config: NodeConfig, nodes: dict[str, FleetNode]) -> None:
        super().__init__(config, [])
        self.nodes = nodes

    async def look(self) -> None:
        for name, node in self.nodes.items():
            if name not in self.members:
                self.members[name] = Member(Room(name, 0, 0), Called(node), await node.url(), "127.0.0.1")
            self._told(name, await node.state())

    async def tell_all(self, method: str, *arguments: Any) -> None:
        for node in self.nodes.values():
            await getattr(node, method)(*arguments)


@pytest.fixture
async def local(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Here, str]]:
    """The cluster, and the head's address."""
    MADE.clear()
    monkeypatch.setattr("stream.render.avatars.served_file", lambda *_: echo_avatar(KnownPipeline, "echo"))
    config = NodeConfig("127.0.0.1", TOKEN, b"k" * 32, "null", "steps", "square", 2, 1.0, True)
    nodes = {name: FleetNode(config, [SpreadAvatar("echo")]) for name in "ab"}
    cluster = Here(config, dict(nodes))
    runner = web.AppRunner(FleetHead(cluster).app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    while len(cluster.members) < 2:  # noqa: ASYNC110  the head looks twice a second
        await asyncio.sleep(0.05)
    yield cluster, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
    for node in nodes.values():
        await node.stop()


async def test_a_lost_node_costs_pictures_and_nothing_else(
    local: tuple[Here, str], peers: list[AiortcPeer]
) -> None:
    cluster, url = local
    for _ in range(2):
        peers.append(AiortcPeer(f"{url}/#token={TOKEN}", grey_camera(5.0), measure=False))
        await peers[-1].connect()

    async def pictures() -> bool:
        return all(peer.arrivals for peer in peers)

    await until(pictures)
    assert [member.room.running for member in cluster.members.values()] == [1, 1]
    session = peers[0].session
    where = f"/api/sessions/{session['id']}"
    assert (await asked(url, f"{where}/mirror", "POST", {"on": True}))[0] == 200
    await cluster.look()
    await asyncio.sleep(0.6)  # the head notes it

    lost = next(name for name, one in cluster.members.items() if session["id"] in str(one.sessions))
    gone = cluster.nodes.pop(lost)
    await gone.stop()
    again = AiortcPeer(f"{url}/#token={TOKEN}", grey_camera(5.0), measure=False)
    peers.append(again)
    offer = await again.offer()
    status, told = await asked(url, f"{where}/resume", "POST", {**offer, "secret": "another"})
    assert (status, "secret is another" in told["error"]) == (403, True)
    status, answer = await asked(url, f"{where}/resume", "POST", {**offer, "secret": session["secret"]})
    assert status == 200
    assert answer["id"] != session["id"]
    await again.take_answer(answer["sdp"])
    await until(pictures)
    assert list(cluster.members) != [lost]
    assert any(one.mirrored and one.driver == "somebody at rest, from elsewhere" for one in MADE)
    assert (await asked(url, "/api/fleet"))[1]["placed_anew"] == 1
    # full: one refuses as a server alone does
    other = AiortcPeer(f"{url}/#token={TOKEN}", grey_camera(5.0), measure=False)
    peers.append(other)
    with pytest.raises(ConnectionError, match="status 503: none of 1 nodes has room"):
        await other.connect()


async def test_tokens_hold_at_every_node(local: tuple[Here, str]) -> None:
    cluster, url = local
    status, made = await asked(url, "/api/tokens", "POST", {"rights": ["present"], "hours": 1})
    assert status == 200
    mine = {"Authorization": f"Bearer {made['token']}"}
    for member in cluster.members.values():
        assert (await asked(member.url, "/api/config", headers=mine))[0] == 200
    assert (await asked(url, "/api/fleet", headers=mine))[0] == 403
    assert (await asked(url, f"/api/tokens/{made['id']}", "DELETE", headers=mine))[0] == 403
    assert (await asked(url, "/api/config", headers=mine))[0] == 200
    assert (await asked(url, f"/api/tokens/{made['id']}", "DELETE"))[0] == 200
    for member in cluster.members.values():
        assert (await asked(member.url, "/api/config", headers=mine))[0] == 401
    _, other = await asked(url, "/api/tokens", "POST", {"rights": ["watch"], "hours": 1})
    assert (await asked(url, "/api/tokens", "DELETE"))[0] == 200
    for member in cluster.members.values():
        assert not (await asked(member.url, "/api/tokens"))[1]["tokens"]
        theirs = {"Authorization": f"Bearer {other['token']}"}
        assert (await asked(member.url, "/api/config", headers=theirs))[0] == 401


async def test_a_head_says_how_all_of_them_do(local: tuple[Here, str]) -> None:
    cluster, url = local
    status, health = await asked(url, "/healthz", headers={})
    assert (status, health["nodes"], health["capacity"]) == (200, 2, 4)
    assert (await asked(url, "/metrics", headers={}))[0] == 401
    lines = (await asked(url, "/metrics"))[1].splitlines()
    assert "avatarcast_fleet_nodes 2" in lines
    assert {'node="a"', 'node="b"'} <= {
        line.partition("{")[2].partition("}")[0].split(",")[-1] for line in lines
    }
    for path in ("/", "/fleet", "/fleet/fleet.js", "/page.css"):
        assert (await asked(url, path, headers={}))[0] == 200
    for node in "ab":
        drain = f"/api/fleet/nodes/{node}/drain"
        assert (await asked(url, drain, "POST", {"on": True}, headers={}))[0] == 401
        assert (await asked(url, drain, "POST", {"on": "yes"}))[0] == 400
        assert (await asked(url, drain, "POST", {"on": True}))[0] == 200
    assert all(node["drains"] for node in (await asked(url, "/api/fleet"))[1]["nodes"])
    assert (await asked(url, "/api/sessions", "POST", {"sdp": "", "type": "offer"}))[0] == 503
    cluster.nodes.clear()
    cluster.members.clear()
    assert (await asked(url, "/healthz"))[0] == 503
    assert (await asked(url, "/"))[0] == 503


def test_a_node_serves_as_the_fleet_was_told() -> None:
    servers = IceServers(("stun:stun.example:3478",))
    told = NodeConfig(
        *("127.0.0.1", TOKEN, b"k" * 32, "null", "steps", "square", 2, 1.0, True),
        media_ports=range(50_000, 50_010),
        ice_servers=servers,
    )
    config = FleetNode(told, [SpreadAvatar("theo")])._registry.config
    assert (config.media_ports, config.ice_servers) == (range(50_000, 50_010), servers)
    assert (config.max_sessions, config.least_fps, config.frame) == (2, 1.0, "square")


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    config = NodeConfig("127.0.0.1", TOKEN, b"k" * 32, "null", "steps", "square", 2, 1.0, True)
    for address in ("127.0.0.1:1", "nowhere"):
        with pytest.raises(SettingsError, match=f"--address {address}: no Ray cluster answers there"):
            Cluster(config, []).connect(address)


def test_an_avatar_is_kept_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    path = Path(held(SpreadAvatar("me", b"an avatar")))
    assert path.read_bytes() == b"an avatar"
    path.write_bytes(b"damaged")
    assert Path(held(SpreadAvatar("me", b"an avatar"))).read_bytes() == b"an avatar"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert held(SpreadAvatar("theo")) == "theo"


# The real thing


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A Ray cluster of three machines on this one."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'avatarcast[fleet]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20, "num_cpus": 1, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**small)
    yield cluster
    cluster.shutdown()


class Head:
    """`avatarcast fleet` in a process of its own."""

    def __init__(self, address: str, folder: Path) -> None:
        token = folder / "token"
        token.write_text(TOKEN)
        command = [sys.executable, "-m", "engine.cli", "fleet", "--address", address, "--port", "0", "--json"]
        command += ["--avatar", "theo", "--runner", "null", "--token-file", str(token), "--max-sessions", "8"]
        command += ["--least-fps", "1"]  # three servers share this machine, and each measures it as its own
        self.process = subprocess.Popen([*command, "--keep"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.facts = json.loads(self.process.stdout.readline())
        self.link, self.url = self.facts["link"], self.facts["url"]

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0


async def table(head: Head) -> list[dict[str, Any]]:
    status, found = await asked(head.url, "/api/fleet")
    assert status == 200
    return list(found["nodes"])


def camera() -> StampedCamera:
    """A presenter, two pictures a second."""
    frames = [
        i420_from_rgb(np.ascontiguousarray(one.rgb))
        for one, _ in zip(read_frames(PRESENTER), range(40), strict=False)
    ]
    return StampedCamera(lambda elapsed_s: frames[int(elapsed_s * 25) % len(frames)], 2.0)


async def called(head: Head) -> AiortcPeer:
    peer = AiortcPeer(head.link, camera(), measure=False)
    await peer.connect()
    return peer


async def resumed(head: Head, peer: AiortcPeer) -> AiortcPeer:
    """As the page does: again and again, until somebody answers."""
    again = AiortcPeer(head.link, camera(), measure=False)
    body = {**await again.offer(), "secret": peer.session["secret"]}
    while True:
        status, answer = await asked(head.url, f"/api/sessions/{peer.session['id']}/resume", "POST", body)
        if status == 200:
            break
        assert status == 503, answer
        await asyncio.sleep(0.1)
    again.session = answer
    await again.take_answer(answer["sdp"])
    return again


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray leaves pipes open
@pytest.mark.long
async def test_a_fleet_of_three(
    machines: Any, tmp_path: Path, peers: list[AiortcPeer], capsys: pytest.CaptureFixture[str]
) -> None:
    head = await asyncio.to_thread(Head, machines.address, tmp_path)
    try:

        async def all_there() -> bool:
            return len(await table(head)) == 3

        await until(all_there, 120.0)
        # placed evenly
        for _ in range(6):
            peers.append(await called(head))

        async def pictures() -> bool:
            return all(len(peer.arrivals) > 3 for peer in peers)

        await until(pictures)
        assert sorted(node["sessions"] for node in await table(head)) == [2, 2, 2]
        # a page of it, rights as on one machine
        assert (await asked(head.url, "/", headers={}))[0] == 200
        assert (await asked(head.url, "/api/fleet", headers={}))[0] == 401
        _, made = await asked(head.url, "/api/tokens", "POST", {"rights": ["watch"], "hours": 1})
        for _ in range(3):
            watch = {"Authorization": f"Bearer {made['token']}"}
            assert (await asked(head.url, "/api/fleet", headers=watch))[0] == 403
        text = (await asked(head.url, "/metrics"))[1]
        assert "avatarcast_fleet_nodes 3" in text
        assert (
            len({line.partition('node="')[2][:56] for line in text.splitlines() if "build_info" in line}) == 3
        )
        # settings and neutral are known when a machine goes
        for peer in peers:
            status, _ = await asked(
                head.url, f"/api/sessions/{peer.session['id']}/mirror", "POST", {"on": True}
            )
            assert status == 200
        await asyncio.sleep(1.5)
        victim = machines.worker_nodes.copy().pop()
        server = next(node for node in await table(head) if node["node"] == victim.node_id)
        count_before = [len(peer.arrivals) for peer in peers]
        os.kill(server["pid"], signal.SIGKILL)  # a machine that dies takes its processes along
        machines.remove_node(victim, allow_graceful=False)
        killed_s = monotonic()
        quiet = await asyncio.gather(*(silent(peer) for peer in peers))
        lost = [peer for peer, is_silent in zip(peers, quiet, strict=True) if is_silent]
        assert len(lost) == 2, count_before
        noticed_s = monotonic()
        found = await asyncio.gather(*(resumed(head, peer) for peer in lost))
        peers += found

        async def shown() -> bool:
            return all(peer.arrivals for peer in found)

        await until(shown)
        took_s = monotonic() - noticed_s
        assert took_s < BACK_S
        assert all(not json["calibrating"] for peer in found for _, json in peer.stats[:1])
        with capsys.disabled():
            print(f"\nnoticed after {noticed_s - killed_s:.2f} s; then to pictures {took_s:.2f} s")
        status, state = await asked(head.url, "/api/fleet")
        assert state["placed_anew"] == 2
        assert sorted(node["sessions"] for node in state["nodes"]) == [3, 3]
        # one that drains takes no new ones
        first = state["nodes"][0]["node"]
        assert (await asked(head.url, f"/api/fleet/nodes/{first}/drain", "POST", {"on": True}))[0] == 200
        peers.append(await called(head))
        counts = {node["node"]: node["sessions"] for node in await table(head)}
        assert Counter(counts)[first] == 3
        assert sum(counts.values()) == 7
        # a head that is restarted finds them all
        count = len(peers[-1].arrivals)
        await asyncio.to_thread(head.stop)
        head = await asyncio.to_thread(Head, machines.address, tmp_path)

        async def found_again() -> bool:
            return bool(sum(node["sessions"] for node in await table(head)) == 7)

        await until(found_again)

        async def went_on() -> bool:
            return bool(len(peers[-1].arrivals) > count + 2)

        await until(went_on)
    finally:
        await asyncio.to_thread(head.stop)


async def silent(peer: AiortcPeer) -> bool:
    """Whether no picture comes for as long as it takes to believe that; two a second are due."""
    seen = len(peer.arrivals)
    began = monotonic()
    while monotonic() - began < 2.0:
        await asyncio.sleep(0.1)
        if len(peer.arrivals) > seen:
            return False
    return True
