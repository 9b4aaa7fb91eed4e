"""A fleet on Ray: where sessions go, what a lost node costs, and that the head is a server like any other."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from benchmarks.live.browser_stage import CHROMIUM
from benchmarks.live.echo_server import EchoPipeline, echo_avatar
from benchmarks.live.peer import AiortcPeer
from benchmarks.networks import real_fleet
from engine.errors import SettingsError
from engine.user_folders import CACHE_VARIABLE
from stream.fleet.cluster import Cluster, Member
from stream.fleet.head import FleetHead
from stream.fleet.node import FleetNode, NodeConfig, SpreadAvatar, held
from stream.fleet.placement import Room, Rooms
from stream.webrtc.ice_servers import IceServers
from tests.support.grey_camera import grey_camera

TOKEN = "a token of sixteen and more".replace(" ", "-")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
BACK_S = 5.0


def rooms_of(*rooms: Room) -> Rooms:
    found = Rooms()
    for room in rooms:
        found.put(room)
    return found


def test_a_session_goes_where_most_room_is() -> None:
    rooms = rooms_of(Room("a", 4, 2), Room("b", 6, 2), Room("c", 9, 0, drains=True))
    order = [rooms.best(but) for but in ((), {"b"}, {"b", "a"})]
    assert [room and room.node for room in order] == ["b", "a", None]
    rooms.drop("b")
    best = rooms.best()
    assert best is not None
    assert best.node == "a"
    assert rooms_of(Room("a", 2, 2), Room("b", 0, 0)).best() is None


def test_equal_machines_fill_evenly() -> None:
    nodes = [Room(name, 8, 0) for name in "abc"]
    rooms = rooms_of(*nodes)
    for _ in range(12):
        best = rooms.best()
        assert best is not None
        best.running += 1
        rooms.put(best)
    assert [room.running for room in nodes] == [4, 4, 4]


def test_the_best_of_many_is_the_best_of_all() -> None:
    lot = random.Random(1)
    nodes = {str(number): Room(str(number), lot.randint(0, 9), 0) for number in range(40)}
    rooms = rooms_of(*nodes.values())
    for _ in range(2000):
        changed = lot.choice(list(nodes.values()))
        changed.running, changed.drains = lot.randint(0, 9), lot.random() < 0.1
        rooms.put(changed)
        fitting = [room for room in nodes.values() if room.free]
        best = rooms.best()
        assert best is not None
        assert best.rank == min(room.rank for room in fitting)


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


async def test_an_agent_converses_through_the_head(local: tuple[Here, str]) -> None:
    """With rights and refusals as at one machine, until its node is lost."""
    cluster, url = local
    agent = f"{url}/api/agent?name="
    status, told = await asked(url, "/api/agent")
    assert (status, "asks for no upgrade" in told["error"]) == (400, True)
    _, watcher = await asked(url, "/api/tokens", "POST", {"rights": ["watch"], "hours": 1})
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def begin(name: str, token: str = TOKEN) -> Any:
            headers = {"Authorization": f"Bearer {token}"}
            return await stack.enter_async_context(http.ws_connect(agent + name, headers=headers))

        for token, refusal in (("wrong", 401), (watcher["token"], 403)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await begin("bot", token)
            assert refused.value.status == refusal
        sockets = [await begin("bot"), await begin("other")]
        begun = [json.loads((await socket.receive()).data) for socket in sockets]
        assert [member.room.running for member in cluster.members.values()] == [1, 1]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await begin("bot")  # taken, whichever node has more room
        assert refused.value.status == 409
        sessions = [f"/api/sessions/{one['id']}" for one in begun]
        for session in sessions:
            assert (await asked(url, f"{session}/emotion", "POST", {"text": "happy"}))[0] == 200
        await sockets[0].send_str('{"type": "turn", "who": "other", "text": "I feel miserable."}')
        assert json.loads((await sockets[0].receive()).data)["feeling"]["sad"] > 0.4
        await sockets[0].send_bytes(b"\x07sound")
        assert "first byte" in json.loads((await sockets[0].receive()).data)["error"]
        await sockets[0].close()

        async def gone() -> bool:
            return bool((await asked(url, sessions[0]))[0] == 404)

        await until(gone)
        lost = next(name for name, one in cluster.members.items() if begun[1]["id"] in str(one.sessions))
        node = cluster.nodes.pop(lost)
        for connection in node._runner.server.connections:
            connection.transport.abort()  # as where the machine falls
        ended = json.loads((await sockets[1].receive()).data)
        assert (ended["type"], "machine of this session was lost" in ended["reason"]) == ("ended", True)
        await node.stop()
        assert (await sockets[1].receive()).type is aiohttp.WSMsgType.CLOSE
        cluster.forget(lost)

        async def noted() -> bool:
            return all(member.room.running == 0 for member in cluster.members.values())

        await until(noted)
        for name in ("third", "fourth"):
            sockets.append(await begin(name))
        status, told = await asked(url, "/api/agent?name=fifth", headers=HEADERS | UPGRADE)
        assert (status, "none of 1 nodes has room" in told["error"]) == (503, True)


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


async def test_machines_for_more_are_asked_of_rays_autoscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is a stand-in for one call here; the real one is asked below."""
    asked: list[int] = []
    for name in ("ray", "ray.autoscaler", "ray.autoscaler.sdk"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sdk: Any = sys.modules["ray.autoscaler.sdk"]
    sdk.request_resources = lambda num_cpus: asked.append(num_cpus)
    config = NodeConfig("127.0.0.1", TOKEN, b"k" * 32, "null", "steps", "square", 2, 1.0, True)
    cluster = Cluster(config, [], spare=10)
    await cluster.scale()
    assert not asked  # nothing is measured yet
    rooms = Room("a", 8, 6), Room("b", 4, 1)
    cluster.members = {room.node: Member(room, None, "", "") for room in rooms}
    cluster._cpus = {"a": 16.0, "b": 8.0}
    await cluster.scale()
    await cluster.scale()
    assert asked == [34]  # 7 run and 10 are to fit, where two cores carry one
    rooms[1].running = 0
    await cluster.scale()
    assert asked == [34, 32]


async def test_a_neutral_is_told_once(local: tuple[Here, str], peers: list[AiortcPeer]) -> None:
    cluster, url = local
    peers.append(AiortcPeer(f"{url}/#token={TOKEN}", grey_camera(5.0), measure=False))
    await peers[0].connect()
    name, member = next((name, one) for name, one in cluster.members.items() if one.sessions)
    node = cluster.nodes.pop(name)  # the head no longer asks it
    performer = node._registry.session(peers[0].session["id"]).performer

    async def told(whole: bool) -> list[Any]:
        state = await node.state(whole)
        cluster._told(member.room.node, {**state, "sessions": [{**one} for one in state["sessions"]]})
        return [one["neutral"] for one in state["sessions"]]

    for neutral in ("at rest", "at rest anew"):
        performer.drive_by(neutral)  # type: ignore[arg-type]  # an echo takes anything
        known = f"{neutral}, from elsewhere"

        async def takes(known: str = known) -> bool:
            return str(performer.neutral) == known

        await until(takes)
        assert [await told(whole) for whole in (False, False, True, False)] == [
            [known],
            [None],
            [known],
            [None],
        ]
        assert [one["neutral"] for one in member.sessions] == [known]  # though it was not told again


def test_an_avatar_is_kept_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    path = Path(held(SpreadAvatar("me", b"an avatar")))
    assert path.read_bytes() == b"an avatar"
    path.write_bytes(b"damaged")
    assert Path(held(SpreadAvatar("me", b"an avatar"))).read_bytes() == b"an avatar"
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert held(SpreadAvatar("theo")) == "theo"


# The real thing


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray leaves pipes open
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.long
async def test_a_fleet_of_three() -> None:
    """On Ray, all on the loopback address; one presenter is the page in a browser."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'avatarcast[fleet]'")
    found = await real_fleet.run()
    gc.collect()  # what Ray leaves open, see above
    assert found["placed"] == [2, 2, 2]
    assert found["lost"] == 2
    assert found["after_loss"] == [3, 3]
    assert found["page_back_s"] < BACK_S
    assert found["peers_back_s"] < BACK_S
    assert found["still_calibrated"]
    assert found["drained_took"] == 0
    assert sorted(found["after_new_head"]) == [3, 4]
