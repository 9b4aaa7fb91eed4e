"""The studio of a server: people film themselves in the page, and an avatar is made of it on this machine.

One folder holds it all: recordings with their consents, and the avatars, which are served from then on. Event
loop only; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.avatar.beside import AVATAR, work_path
from engine.errors import AvatarcastError, FileError
from engine.files import LOCK, FolderLock, in_one_line, is_left, private_folder, sweep, sweep_scratch
from engine.forgetting import Removed, remove
from engine.user_folders import DATA_VARIABLE, cache_folder
from stream import tasks
from stream.refusal import RequestRefused
from stream.render.avatars import Avatars, ServedAvatar
from stream.studio.enrolment import Enrolment
from stream.studio.folder import RECORDINGS, avatar_files, forget
from stream.studio.prompts import SCRIPT, Script
from stream.studio.recordings import MAX_CHUNK_BYTES, Recordings

logger = logging.getLogger(__name__)

NEEDED_TO_TRAIN = ("torch", "onnx", "onnxscript")
CURE = "pip install 'avatarcast[train]', then start the server again"
FOLDER_CURE = f"choose another with --studio or {DATA_VARIABLE}"


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
    """Use: offer_avatars() at the start, tidy() every minute, close() at the end.

    The folder is one server's at a time: another one offers the avatars too, but changes nothing.
    """

    def __init__(self, config: StudioConfig, avatars: Avatars, load: Callable[[Path], ServedAvatar]) -> None:
        """load: what to serve of an avatar file; called in worker threads."""
        self.config = config
        self.recordings = Recordings(config.folder / RECORDINGS, self._taken)
        self._avatars = avatars
        self._load = load
        self._served: dict[Path, ServedAvatar] = {}  # those made here, by file
        self._lock = FolderLock(config.folder)
        self._job: Enrolment | None = None
        self._running: asyncio.Task[None] | None = None

    def offer_avatars(self) -> None:
        """Serve the avatars that were made before; one that cannot be read is logged and left out."""
        if (reason := self._claim()) is not None:
            logger.warning("no avatar can be made here: %s", reason)
        self.tidy()
        for path in avatar_files(self.config.folder):
            try:
                self._serve(path)
            except AvatarcastError as error:
                logger.warning("an avatar of the studio is left out: %s", error)

    def missing(self) -> str | None:
        """Why no avatar can be made here, in one line; None where one can."""
        missing = [name for name in self.config.needs if find_spec(name) is None]
        if not missing:
            return self._claim()
        return f"Making an avatar needs {' and '.join(missing)}, which this server does not have: {CURE}"

    def status(self) -> dict[str, Any]:
        """All that the page shows."""
        config = self.config
        return {
            "folder": str(self.recordings.folder),
            "local": config.local,
            "missing": self.missing(),
            "script": asdict(config.script),
            "minutes": config.minutes,
            "usual_minutes": config.usual_minutes,
            "chunk_bytes": MAX_CHUNK_BYTES,
            "takes": [
                {
                    "name": take.name,
                    "path": str(take.path),
                    "bytes": take.bytes,
                    "date": take.consent.date,
                    "clip": take.clip is not None,
                    "avatar": self._avatar(take.name).exists(),
                    "unfinished": work_path(self._avatar(take.name)).exists(),
                }
                for take in self.recordings.takes()
            ],
            "avatars": [path.stem for path in avatar_files(config.folder)],
            "job": None if self._job is None else self._job.status(),
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
        out = self._avatar(take.name)
        if out.exists():
            raise RequestRefused(
                409, f"there is an avatar {take.name!r} already; record again for another one"
            )
        command = (
            *self.config.enroll,
            str(take.path),
            f"--out={out}",
            f"--consent={take.consent.words}",
            *([] if take.clip is None else [f"--consent-clip={take.clip}"]),
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
        self._check_free(take.name)
        self.recordings.delete(take)
        remove("work", work_path(self._avatar(take.name)))

    async def forget(self, name: Any) -> list[Removed]:
        """An avatar made here, with all that belongs to it; says what was removed.

        Sessions that show it end. Raises RequestRefused (404, 409, 503), BusyError, FileError.
        """
        path = next((path for path in avatar_files(self.config.folder) if path.stem == name), None)
        if path is None:
            raise RequestRefused(404, f"there is no avatar {str(name)[:40]!r} that was made here")
        self._check_free(path.stem)
        removed = await asyncio.to_thread(forget, self.config.folder, path.stem)
        self._withdraw(path)
        return removed

    def tidy(self) -> None:
        """Remove what nobody wants any more, and no longer offer what was removed by others."""
        self.recordings.tidy()
        for path in list(self._served):
            if not path.exists():
                self._withdraw(path)
        if self._claim() is None:
            sweep(self.config.folder)
            for work in self.config.folder.glob(f"*{AVATAR}.work"):
                sweep(work)
                self._sweep_work(work)
        sweep(cache_folder())
        sweep_scratch()

    async def close(self) -> None:
        """Stop what runs; what is not whole is deleted."""
        if self._job is not None and self._running is not None:
            await self._job.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.recordings.close()
        self._lock.release()

    def _serve(self, path: Path) -> None:
        avatar = self._load(path)
        self._avatars.add(avatar)
        self._served[path] = avatar

    def _withdraw(self, path: Path) -> None:
        avatar = self._served.pop(path, None)
        if avatar is not None:
            logger.info("the avatar %r was deleted and is not offered any more", avatar.name)
            self._avatars.remove(avatar)

    def _claim(self) -> str | None:
        """Keeps the folder for this server, as soon as it is free; else the reason why not."""
        folder = self.config.folder
        try:
            if private_folder(folder, FOLDER_CURE):
                logger.warning("%s could be read by others: it is closed to them now", folder)
            with in_one_line(folder, FOLDER_CURE):
                if self._lock.acquire():
                    return None
        except FileError as error:
            return str(error)
        return f"another server ({self._lock.holder()}) keeps {folder}: stop that one, or {FOLDER_CURE}"

    def _check_free(self, name: str) -> None:
        """Raises RequestRefused (409, 503) where this server may not remove what there is of this person."""
        if (reason := self._claim()) is not None:
            raise RequestRefused(503, reason)
        if self._job is not None and self._job.take == name and self._job.state == "running":
            raise RequestRefused(409, "an avatar is being made of this recording; cancel that first")

    def _sweep_work(self, work: Path) -> None:
        """What is of no use to anybody: nothing was kept in it, its avatar is made, its recording is gone."""
        with suppress(OSError):  # gone meanwhile
            kept = {path.name for path in work.iterdir()} - {LOCK}
            useless = not kept or work.with_suffix("").exists() or self._lost_its_recording(work)
            if useless and is_left(work, work / LOCK):
                logger.info("%s is removed: nothing can be made of it any more", work.name)
                shutil.rmtree(work)

    def _lost_its_recording(self, work: Path) -> bool:
        """Of films from elsewhere nothing is known here."""
        try:
            footage = [Path(path) for path in json.loads((work / "settings.json").read_bytes())["footage"]]
        except (OSError, ValueError, LookupError, TypeError):
            return False
        ours = all(path.parent == self.recordings.folder for path in footage)
        return bool(footage) and ours and not any(path.exists() for path in footage)

    def _avatar(self, name: str) -> Path:
        """Of a take's name, which was made in stream/studio/recordings.py."""
        return self.config.folder / f"{name}{AVATAR}"

    def _taken(self, name: str) -> bool:
        path = self._avatar(name)
        served = any(avatar.name == name for avatar in self._avatars)
        return served or path.exists() or work_path(path).exists()
