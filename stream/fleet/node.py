"""One server of a fleet, as a Ray actor: a whole `avatarcast serve` without its page's studio.

Its HTTP is the head's to call; media goes between it and the presenter, by its own candidates. It checks
every token itself: all nodes share the head's key. An async actor: everything runs on its event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from engine.files import write_file
from engine.user_folders import cache_folder
from stream.sessions.tokens import BadToken
from stream.webrtc.ice_servers import IceServers

HELD = "fleet"  # folder of the cache that avatars come to, each under its digest


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How every node serves."""

    host: str  # that the head reaches it by, and that it listens on
    token: str = field(repr=False)
    key: bytes = field(repr=False)  # of derived tokens
    runner: str
    renderer: str
    frame: str
    max_sessions: int
    least_fps: float
    loopback_only: bool
    media_ports: range | None = None  # UDP, on each machine; None: any that is free
    ice_servers: IceServers = field(default_factory=IceServers)
    only_own_voice: bool = False  # see RegistryConfig
    head: str = "127.0.0.1"  # whose word on who its clients are is believed


@dataclass(frozen=True, slots=True)
class SpreadAvatar:
    """An avatar for all nodes: the name of a bundled presenter, or a file's bytes."""

    name: str
    data: bytes | None = None


class FleetNode:
    """Use: url(), then whatever, then stop()."""

    def __init__(self, config: NodeConfig, avatars: Sequence[SpreadAvatar]) -> None:
        from engine.media.disclosure import DEFAULT_MARK
        from engine.pipeline import PipelineConfig
        from stream.http.client_address import THIS_MACHINE
        from stream.http.security import Access
        from stream.http.server import LiveServer
        from stream.render.avatars import Avatars, served_file
        from stream.sessions.registry import RegistryConfig, SessionRegistry

        pipeline = PipelineConfig(config.runner, frame=config.frame, renderer=config.renderer)
        served = [served_file(held(avatar), pipeline, DEFAULT_MARK) for avatar in avatars]
        self._config = config
        self._registry = SessionRegistry(
            Avatars(served),
            RegistryConfig(
                max_sessions=config.max_sessions,
                runner=config.runner,
                frame=config.frame,
                only_own_voice=config.only_own_voice,
                least_fps=config.least_fps,
                loopback_only=config.loopback_only,
                media_ports=config.media_ports,
                ice_servers=config.ice_servers,
            ),
        )
        head = ipaddress.ip_network(config.head)
        access = Access(config.token, loopback_only=config.loopback_only, proxies=(*THIS_MACHINE, head))
        self._live = LiveServer(self._registry, access)
        self._live.tokens.share_key(config.key)
        self._runner: Any = None
        self._starting = asyncio.Lock()
        self._told: dict[str, Any] = {}  # session: its neutral, as the head was last told
        self._kept: dict[str, Any] = {}  # what the head wants to find again when it has been restarted

    async def url(self) -> str:
        """Its address; loads the first avatar and listens, the first time it is asked."""
        async with self._starting:
            if self._runner is None:
                self._runner = await self._started()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def _started(self) -> Any:
        from aiohttp import web

        await self._registry.warm()
        runner = web.AppRunner(self._live.app(), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        await web.TCPSite(runner, self._config.host, 0).start()
        return runner

    async def state(self, whole: bool = True) -> dict[str, Any]:
        """How many sessions fit, and of each that runs what it takes to begin it elsewhere.

        whole: neutrals that were told before too, not only new ones: each is as large as all the rest.
        """
        registry = self._registry
        told, self._told = {} if whole else self._told, {}
        room = registry.capacity.sessions(registry.config.least_fps, registry.config.max_sessions)
        sessions = []
        for session in registry:
            if session.end_reason is not None:
                continue
            neutral = self._told[session.id] = session.performer.neutral
            facts = {
                "id": session.id,
                "view_id": session.view_id,
                "name": session.name,
                "avatar": session.performer.avatar.name,
                "neutral": None if neutral is told.get(session.id) else neutral,
                "secret": session.claim.secret,
            }
            sessions.append(facts)
        return {
            "pid": os.getpid(),
            "fits": room,
            "picture_ms": registry.capacity.picture_ms,
            "sessions": sessions,
            "kept": self._kept,
        }

    async def keep(self, kept: dict[str, Any]) -> None:
        """What all nodes hold, told back to another head: the key of tokens, those made, those revoked."""
        tokens, registry = self._live.tokens, self._registry
        if kept["key"] != self._kept.get("key", self._config.key):
            tokens.share_key(kept["key"])
            registry.cut_off(lambda grant: grant.id != "", "was revoked")
        for text in kept["tokens"]:
            with suppress(BadToken):  # it has expired
                tokens.adopt(text, time())
        for number in kept["revoked"]:
            tokens.revoke(number)
        revoked = set(kept["revoked"])
        registry.cut_off(lambda grant: grant.id in revoked, "was revoked")
        self._kept = kept

    async def calibrate(self, session: str, neutral: Any) -> None:
        """The presenter of that session is known already."""
        self._registry.session(session).performer.drive_by(neutral)

    async def stop(self) -> None:
        """Ends all sessions."""
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.sleep(0)


def held(avatar: SpreadAvatar) -> str | Path:
    """What to load: the presenter's name, or the file in this machine's cache, written if it is not there."""
    if avatar.data is None:
        return avatar.name
    digest = hashlib.sha256(avatar.data).hexdigest()
    path = cache_folder() / HELD / f"{digest}.avatar"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(path, avatar.data, cure="make room there")
    return path
