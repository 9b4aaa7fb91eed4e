"""What tests of the studio stand on: a server with one, and a stand-in for enrolment. No camera."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from benchmarks.live.echo_server import echo_avatar
from engine.errors import PackageError
from engine.files import LOCK
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars, ServedAvatar
from stream.sessions.registry import SessionRegistry
from stream.studio.studio import Studio, StudioConfig

WEBM = {"Content-Type": "video/webm"}
CONSENT = {"who": "Ada Lovelace", "statement": "to an avatar for her talks", "agreed": True}
# Stands in for `avatarcast enroll`: sys.argv is as that gets it.
FAKE = """
import json, pathlib, sys, time
out = next(word[6:] for word in sys.argv if word.startswith("--out="))
def tell(**event): print(json.dumps(event), file=sys.stderr, flush=True)
tell(event="stage", stage="tracking", total=1.0)
tell(event="progress", stage="tracking", done=0.5, total=1.0, note="")
tell(event="warning", text="only 9 s of usable footage")
tell(event="stage", stage="training", total=20.0)
tell(event="progress", stage="training", done=5.0, total=20.0, note="12 steps")
%s
pathlib.Path(out).write_text(json.dumps(sys.argv[1:]))
"""


def load(path: Path) -> ServedAvatar:
    """Every file is an avatar, but those that say that they are damaged."""
    if path.read_bytes() == b"damaged":
        raise PackageError(f"{path.name} is damaged")
    return echo_avatar(name=path.stem)


@dataclass
class Stage:
    """A server with a studio, and one session that is no more than an id."""

    url: str
    studio: Studio
    avatars: Avatars
    http: aiohttp.ClientSession
    session: str = "session-of-a-test"
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status, and the JSON of the answer."""
        options = {"headers": self.headers} | ({} if body is None else {"json": body}) | options
        async with self.http.request(method, f"{self.url}/api/studio{path}", **options) as reply:
            return reply.status, await reply.json()

    async def begin(self, **changes: Any) -> tuple[int, Any]:
        """A recording with consent, but for the changes."""
        return await self.ask(
            "POST", "/recordings", {"session": self.session, "kind": "video/webm", **CONSENT} | changes
        )

    async def put(
        self, recording: str, number: int | str, data: bytes | BytesIO = b"chunk", **options: Any
    ) -> int:
        """A chunk; gives the status."""
        options = {"headers": WEBM | self.headers} | options
        return (await self.ask("PUT", f"/recordings/{recording}/{number}", data=data, **options))[0]

    async def record(self, *chunks: bytes, **changes: Any) -> str:
        """A whole recording; gives its name."""
        status, begun = await self.begin(**changes)
        assert status == 200, begun
        for number, chunk in enumerate(chunks or (b"chunk",)):
            assert await self.put(begun["id"], number, chunk) == 200
        status, take = await self.ask("POST", f"/recordings/{begun['id']}/finish", {})
        assert status == 200, take
        return str(take["name"])

    async def job(self, *states: str, stage: str | None = None) -> dict[str, Any]:
        """How the job stands once it is in one of these states, and in this stage where one is named."""
        for _ in range(1200):
            job = (await self.ask("GET", ""))[1]["job"]
            if job["state"] in states and stage in (None, job["stage"]):
                return dict(job)
            await asyncio.sleep(0.03)
        raise AssertionError(f"the job is {job}, not {states}")

    def enrol_by(self, end: str) -> None:
        """Enrolment is the fake above with these lines at its end."""
        self.studio.config = replace(self.studio.config, enroll=(sys.executable, "-c", FAKE % end))

    def files(self) -> set[str]:
        """All of the studio's folder but its lock."""
        folder = self.studio.config.folder
        found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        return {str(path) for path in found if path.name != LOCK}


class Registry(SessionRegistry):
    """Every id that begins with "session" is one."""

    def session(self, session_id: str) -> Any:
        if not session_id.startswith("session"):
            raise RequestRefused(404, "there is no such session")
        return SimpleNamespace(id=session_id)


@asynccontextmanager
async def studio_stage(folder: Path, access: Access | None = None) -> AsyncIterator[Stage]:
    """A server whose studio is in this folder."""
    avatars = Avatars([echo_avatar()])
    studio = Studio(StudioConfig(folder, minutes=(0.5, 5.0), usual_minutes=0.5, needs=()), avatars, load)
    server = TestServer(LiveServer(Registry(avatars), access or Access(), studio).app())
    await server.start_server()
    async with aiohttp.ClientSession() as http:
        yield Stage(f"http://127.0.0.1:{server.port}", studio, avatars, http)
    await server.close()
