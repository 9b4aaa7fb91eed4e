"""The nodes of a fleet as Ray sees them: one server kept on each machine, asked how it does.

Ray has the machines, their health, the object store and the actors; its own reports to its makers are off.
The servers are detached: they go on while the head is away, and the next head finds them by their names.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.avatar.bundled import bundled_name
from engine.errors import SettingsError
from stream.fleet.node import FleetNode, NodeConfig, SpreadAvatar
from stream.fleet.placement import Room, Rooms, cpus_wanted

logger = logging.getLogger(__name__)

NAMESPACE = "avatarcast"
ASK_LIMIT_S = 2.0  # of a node that answers nothing it is not known that it lives
START_LIMIT_S = 120.0
CONNECT_LIMIT_S = 5.0
THIS_MACHINE = "127.0.0.1"
_CPUS = 0.01  # of Ray's own accounts: what a server takes is measured, not reserved


@dataclass(slots=True)
class Member:
    """One node's server."""

    room: Room
    actor: Any
    url: str
    host: str
    pid: int = 0
    heard: bool = False  # told us all; what it told since is what is new
    picture_ms: float | None = None
    sessions: list[dict[str, Any]] = field(default_factory=list)


class Cluster:
    """Use: connect(), look() again and again, leave()."""

    def __init__(self, config: NodeConfig, avatars: Sequence[str], spare: int = 0) -> None:
        """config: its host is for a node of this machine alone. avatars: as `avatarcast serve` has them.

        spare: presenters for whom machines are kept ready, by Ray's autoscaler; 0: it is asked for none.
        """
        self._config = config
        self._avatars = list(avatars)
        self._spread: list[Any] = []
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._spare = spare
        self._cpus: dict[str, float] = {}  # of each machine
        self._asked_cpus = 0
        self.members: dict[str, Member] = {}
        self.rooms = Rooms()  # of the members
        # Told to the nodes, and read back from them by another head.
        self.kept: dict[str, Any] = {"key": config.key, "tokens": [], "revoked": []}

    def connect(self, address: str | None) -> None:
        """Joins the Ray cluster there; None: one of this machine alone is begun. Raises SettingsError."""
        host = THIS_MACHINE if address is None else _answering(address)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        on_loopback = host == "localhost" or host.startswith("127.")
        if on_loopback:  # or Ray takes this machine's address in the network instead, where nobody listens
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        import ray

        if address is None:
            _start_no_dashboard()
        ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({"_node_ip_address": THIS_MACHINE} if on_loopback else {}),
        )
        for avatar in self._avatars:
            name = bundled_name(avatar)
            data = None if name else Path(avatar).read_bytes()
            self._spread.append(ray.put(SpreadAvatar(name or avatar, data)))  # by reference, once a machine

    async def look(self) -> None:
        """Begins a server on each machine that has none, asks the others how they do, forgets the dead."""
        import ray

        machines = await asyncio.to_thread(ray.nodes)
        alive = {one["NodeID"]: one["NodeManagerAddress"] for one in machines if one["Alive"]}
        self._cpus = {one["NodeID"]: one["Resources"].get("CPU", 0.0) for one in machines if one["Alive"]}
        for node, host in alive.items():
            if node not in self.members and node not in self._starting:
                self._starting[node] = asyncio.create_task(self._begin(node, host))
        for node in [node for node in self.members if node not in alive]:
            self.forget(node)
        await asyncio.gather(*(self.ask(node) for node in list(self.members)))
        if self._spare:
            await self.scale()

    async def scale(self) -> None:
        """Has Ray's autoscaler keep machines for all that run and the spare, where that has changed.

        Ray takes back a machine on which nothing runs; a server holds its own until it is stopped.
        """
        rooms = [member.room for member in self.members.values()]
        wanted = cpus_wanted(rooms, self._cpus, self._spare)
        if wanted and wanted != self._asked_cpus:
            from ray.autoscaler.sdk import request_resources

            await asyncio.to_thread(request_resources, num_cpus=wanted)
            self._asked_cpus = wanted

    def forget(self, node: str) -> None:
        """It is dead."""
        self.rooms.drop(node)
        if self.members.pop(node, None) is not None:
            logger.warning("node %s is gone", node[:8])

    async def tell_all(self, method: str, *arguments: Any) -> None:
        """Calls a method of every server; a dead one is found out when it is next asked."""
        calls = [_answer(getattr(one.actor, method).remote(*arguments)) for one in self.members.values()]
        await asyncio.gather(*calls, return_exceptions=True)

    async def keep(self, **changed: Any) -> None:
        """Changes what is told to all nodes: key, tokens, revoked."""
        self.kept = self.kept | changed
        self._config = replace(self._config, key=self.kept["key"])
        await self.tell_all("keep", self.kept)

    async def leave(self, stop: bool) -> None:
        """Lets go; stop: ends the servers too."""
        import ray

        for task in self._starting.values():
            task.cancel()
        if stop:
            await self.tell_all("stop")
            for member in self.members.values():
                ray.kill(member.actor)
        ray.shutdown()

    async def _begin(self, node: str, host: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        name = f"server-{node}"
        try:
            actor = await asyncio.to_thread(_found, name)
            if actor is None:
                where = NodeAffinitySchedulingStrategy(node, soft=False)
                make = ray.remote(FleetNode).options(
                    name=name,
                    lifetime="detached",
                    num_cpus=_CPUS,
                    scheduling_strategy=where,
                    max_concurrency=64,
                )
                avatars = await asyncio.to_thread(ray.get, self._spread)
                actor = make.remote(replace(self._config, host=host), avatars)
            url = await _answer(actor.url.remote(), START_LIMIT_S)
            state = await _answer(actor.state.remote(whole=True))
            if state["kept"]:  # it was begun by a head before this one
                self.kept = state["kept"]
                self._config = replace(self._config, key=self.kept["key"])
            await _answer(actor.keep.remote(self.kept))
        except Exception as error:  # Ray raises many kinds; the machine may be gone again
            logger.warning("node %s does not serve: %s", node[:8], " ".join(str(error).split())[:200])
        else:
            self.members[node] = Member(Room(node, 0, 0), actor, url, host)
            self._told(node, state)
        finally:
            del self._starting[node]

    async def ask(self, node: str) -> None:
        """How it does; forgets a dead one."""
        member = self.members[node]
        whole, member.heard = not member.heard, False
        try:
            state = await _answer(member.actor.state.remote(whole=whole))
        except asyncio.TimeoutError:
            logger.warning("node %s is slow to answer", node[:8])
        except Exception:  # its process or machine has ended
            self.forget(node)
        else:
            self._told(node, state)

    def _told(self, node: str, state: dict[str, Any]) -> None:
        if (member := self.members.get(node)) is not None:
            member.room.fits, member.picture_ms = state["fits"], state["picture_ms"]
            member.pid, member.heard = state["pid"], True
            neutrals = {one["id"]: one["neutral"] for one in member.sessions}
            for one in state["sessions"]:
                if one["neutral"] is None:  # or as it was told before
                    one["neutral"] = neutrals.get(one["id"])
            member.sessions = state["sessions"]
            member.room.running = len(member.sessions)
            self.rooms.put(member.room)


def _start_no_dashboard() -> None:
    """Ray's process for it asks three clouds' addresses where it runs, whether reports are off or not.

    It is begun without a dashboard too. Relies on one private name.
    """
    from ray._private import services

    if not callable(getattr(services, "start_api_server", None)):
        raise TypeError("this Ray starts its dashboard elsewhere than in services.start_api_server")
    services.start_api_server = lambda *_, **__: ("", None)


def _answering(address: str) -> str:
    """The host of HOST:PORT. Raises SettingsError where nobody listens: Ray itself would ask for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_LIMIT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"--address {address}: no Ray cluster answers there ({error}); "
            "give HOST:PORT as `ray start --head` says it"
        ) from error
    return host


async def _answer(reference: Any, limit_s: float = ASK_LIMIT_S) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(reference.future()), limit_s)


def _found(name: str) -> Any:
    """The server of that name that runs already; None where there is none."""
    import ray

    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError:
        return None
