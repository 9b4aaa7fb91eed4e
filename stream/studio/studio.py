"""The studio of a server: people film themselves in the page, and an avatar is made of it on this machine.

One folder holds it all: recordings with their consents, and the avatars, which are served from then on. Event
loop only; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.errors import AvatarcastError
from stream import tasks
from stream.render.avatars import Avatars, ServedAvatar
from stream.studio.enrolment import Enrolment
from stream.studio.prompts import SCRIPT, Script
from stream.studio.recordings import MAX_CHUNK_BYTES, Recordings
from stream.webrtc.negotiation import RequestRefused

logger = logging.getLogger(__name__)

AVATAR, UNFINISHED = ".avatar", ".avatar.work"  # as `avatarcast enroll` names them
NEEDED_TO_TRAIN = ("torch", "onnx", "onnxscript")
CURE = "pip install 'avatarcast[train]'"


def default_folder() -> Path:
    """Of this user: $XDG_DATA_HOME/avatarcast, or what that is by default."""
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".local" / "share") / "avatarcast"


@dataclass(frozen=True, slots=True)
class StudioConfig:
    """Where things lie and how avatars are made."""

    folder: Path
    local: bool = True  # only this machine reaches the server: what is recorded stays on it
    script: Script = SCRIPT
    minutes: tuple[float, ...] = (5.0, 15.0, 30.0)  # of training, to choose from
    usual_minutes: float = 15.0
    enroll: tuple[str, ...] = (sys.executable, "-m", "engine.cli", "enroll")
    options: tuple[str, ...] = ()  # for it, besides those below
    needs: tuple[str, ...] = NEEDED_TO_TRAIN


class Studio:
    """Use: offer_avatars() at the start, close() at the end."""

    def __init__(self, config: StudioConfig, avatars: Avatars, load: Callable[[Path], ServedAvatar]) -> None:
        """load: what to serve of an avatar file; called in worker threads."""
        self.config = config
        self.recordings = Recordings(config.folder / "recordings", self._taken)
        self._avatars = avatars
        self._load = load
        self._job: Enrolment | None = None
        self._running: asyncio.Task[None] | None = None

    def offer_avatars(self) -> None:
        """Serve the avatars that were made before; one that cannot be read is logged and left out."""
        for path in sorted(self.config.folder.glob(f"*{AVATAR}")):
            try:
                self._avatars.add(self._load(path))
            except AvatarcastError as error:
                logger.warning("an avatar of the studio is left out: %s", error)

    def missing(self) -> str | None:
        """What must be installed before an avatar can be made here, in one line."""
        missing = [name for name in self.config.needs if find_spec(name) is None]
        if not missing:
            return None
        return f"Making an avatar needs {' and '.join(missing)}, which this server does not have: {CURE}"

    def told(self) -> dict[str, Any]:
        """All that the page shows."""
        config = self.config
        return {
            "folder": str(self.recordings.folder),
            "local": config.local,
            "missing": self.missing(),
            "script": config.script.told(),
            "minutes": config.minutes,
            "usual_minutes": config.usual_minutes,
            "chunk_bytes": MAX_CHUNK_BYTES,
            "takes": [
                {
                    "name": take.name,
                    "path": str(take.path),
                    "bytes": take.bytes,
                    "date": take.consent.date,
                    "avatar": self._path(take.name, AVATAR).exists(),
                    "unfinished": self._path(take.name, UNFINISHED).exists(),
                }
                for take in self.recordings.takes()
            ],
            "job": None if self._job is None else self._job.told(),
        }

    def enrol(self, name: Any, minutes: Any) -> None:
        """Make an avatar of this take, or go on with it. Raises RequestRefused (400, 404, 409, 503)."""
        take = self.recordings.take(name)
        if minutes not in self.config.minutes or isinstance(minutes, bool):
            raise RequestRefused(400, f"minutes must be one of {', '.join(map(str, self.config.minutes))}")
        if (missing := self.missing()) is not None:
            raise RequestRefused(503, missing)
        if self._running is not None and not self._running.done():
            raise RequestRefused(409, "an avatar is being made already; wait for it, or cancel it first")
        out = self._path(take.name, AVATAR)
        if out.exists():
            raise RequestRefused(
                409, f"there is an avatar {take.name!r} already; record again for another one"
            )
        command = (
            *self.config.enroll,
            str(take.path),
            f"--out={out}",
            f"--consent={take.consent.words}",
            f"--minutes={minutes:g}",
            "--json",
            "--progress=json",
            *self.config.options,
        )
        self._job = Enrolment(command, take.name, out, minutes)
        self._running = tasks.start(self._job.run(self._serve), "enrolment")

    async def cancel(self) -> None:
        """Stop making the avatar; it can be gone on with. Raises RequestRefused (404) where none is made."""
        if self._job is None or self._running is None or self._running.done():
            raise RequestRefused(404, "no avatar is being made")
        await self._job.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def delete(self, name: Any) -> None:
        """A recording, its consent, and what was begun of it. Raises RequestRefused (404, 409, 503)."""
        take = self.recordings.take(name)
        if self._job is not None and self._job.take == take.name and self._job.state == "running":
            raise RequestRefused(409, "an avatar is being made of this recording; cancel that first")
        self.recordings.delete(take)
        shutil.rmtree(self._path(take.name, UNFINISHED), ignore_errors=True)

    async def close(self) -> None:
        """Stop what runs; what is not whole is deleted."""
        if self._job is not None and self._running is not None:
            await self._job.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.recordings.close()

    def _serve(self, path: Path) -> None:
        self._avatars.add(self._load(path))

    def _path(self, name: str, suffix: str) -> Path:
        """Of a take's name, which was made in stream/studio/recordings.py."""
        return self.config.folder / f"{name}{suffix}"

    def _taken(self, name: str) -> bool:
        files = (self._path(name, suffix) for suffix in (AVATAR, UNFINISHED))
        return any(avatar.name == name for avatar in self._avatars) or any(file.exists() for file in files)
