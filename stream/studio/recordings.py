"""Recordings of people who film themselves, on this machine's disk: taken in chunk by chunk.

A consent lies beside each, and the clip in which it was said. What is not whole yet has a hidden temporary
name. Names on the disk are made here and are never taken from a request. Event loop only; knows nothing of
HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engine.errors import FileError
from engine.files import LEFT_S, Part, in_one_line, private_folder, set_aside, sweep, write_file
from stream.refusal import RequestRefused
from stream.studio.folder import CLIP, CONSENT, ENDINGS

logger = logging.getLogger(__name__)

MAX_CHUNK_BYTES = 16 * 1024**2
MAX_BYTES = 600 * 1024**2  # ten minutes at 8 Mbit/s
MAX_S = 600.0  # from the first word to the last chunk
SILENT_S = 60.0  # without a chunk, after which a recording is given up
LEAST_FREE_BYTES = 1024**3  # on the disk, before a recording begins
MAX_NAME_CHARACTERS, MAX_STATEMENT_CHARACTERS = 80, 600
_FILE_NAME_CHARACTERS = 40
_CURE = "make room there, or choose another folder with --studio"


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agreed to be recorded, to what, and when."""

    who: str
    statement: str
    date: str  # YYYY-MM-DD, UTC

    @classmethod
    def given(cls, who: Any, statement: Any, agreed: Any) -> Consent:
        """Of what a request says. Raises RequestRefused (400) where anything of it is missing."""
        if agreed is not True:
            raise RequestRefused(400, 'nothing is recorded without consent: "agreed" must be true')
        return cls(
            who=_line("who", who, MAX_NAME_CHARACTERS).replace(",", " "),  # the comma ends the name below
            statement=_line("statement", statement, MAX_STATEMENT_CHARACTERS),
            date=datetime.now(timezone.utc).date().isoformat(),
        )

    @classmethod
    def parsed(cls, text: bytes) -> Consent:
        """Of a file. Raises ValueError where it is not the whole of one."""
        kept = json.loads(text)
        names = [field.name for field in fields(cls)]
        if not isinstance(kept, dict) or not all(isinstance(kept.get(name), str) for name in names):
            raise ValueError(f"wanted {', '.join(names)}")
        return cls(**{name: kept[name] for name in names})

    @property
    def words(self) -> str:
        """As `avatarcast enroll --consent` wants it."""
        return f"{self.who}, {self.statement}"


def _line(name: str, text: Any, limit: int) -> str:
    found = " ".join(text.split()) if isinstance(text, str) else ""
    if not 0 < len(found) <= limit or not found.isprintable():
        raise RequestRefused(400, f"consent needs {name!r}: a line of 1 to {limit} printable characters")
    return found


@dataclass(frozen=True, slots=True)
class Take:
    """A whole recording."""

    name: str
    path: Path
    bytes: int
    consent: Consent

    @property
    def clip(self) -> Path | None:
        """In which the person says that they agree, where they did."""
        path = self.path.with_suffix(CLIP)
        return path if path.exists() else None


@dataclass(slots=True)
class OpenRecording:
    """A recording that is being made."""

    id: str  # whoever knows it may add to it
    session_id: str
    name: str
    kind: str  # content type
    consent: Consent
    part: Part
    began_s: float
    heard_s: float
    next: int = 0  # number of the chunk that comes next
    bytes: int = 0
    clip: Part | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Recordings:
    """Those of one folder. It appears with the first one, and only its owner may read it.

    What the disk refuses is a FileError.
    """

    def __init__(
        self, folder: Path, taken: Callable[[str], bool], now: Callable[[], float] = time.monotonic
    ) -> None:
        """taken: whether a name belongs to somebody else already. now: in seconds."""
        self.folder = folder
        self._taken = taken
        self._now = now
        self._open: dict[str, OpenRecording] = {}

    def begin(self, session_id: str, kind: Any, consent: Consent) -> OpenRecording:
        """A new recording of this session's presenter. Raises RequestRefused (400, 409, 503)."""
        if not isinstance(kind, str) or kind not in ENDINGS:
            raise RequestRefused(
                400, f"the recording is of kind {str(kind)[:40]!r}; one of {', '.join(ENDINGS)}"
            )
        self._give_up_silent()
        if any(recording.session_id == session_id for recording in self._open.values()):
            raise RequestRefused(409, "this session is being recorded already; end or delete that one first")
        if private_folder(self.folder, _CURE):
            logger.warning("%s could be read by others: it is closed to them now", self.folder)
        with in_one_line(self.folder, _CURE):
            if shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES:
                raise RequestRefused(
                    503, f"less than 1 GB is free in {self.folder}; make room on the disk first"
                )
            part = Part(self.folder)
        number, now_s = secrets.token_urlsafe(16), self._now()
        recording = OpenRecording(
            number, session_id, self._free_name(consent.who), kind, consent, part, now_s, now_s
        )
        self._open[recording.id] = recording
        return recording

    def find(self, recording_id: str) -> OpenRecording:
        """Raises RequestRefused (404)."""
        self._give_up_silent()
        recording = self._open.get(recording_id)
        if recording is None:
            raise RequestRefused(404, "there is no such recording: it ended, or nothing came for too long")
        return recording

    async def add(self, recording: OpenRecording, number: int, data: bytes) -> None:
        """The next chunk, or the last one once more, which is not kept twice. Raises RequestRefused."""
        async with recording.lock:
            self.find(recording.id)  # it may have been deleted while this waited
            if number == recording.next - 1:
                return  # its answer was lost on the way
            if number != recording.next:
                raise RequestRefused(409, f"chunk {number} came, chunk {recording.next} is the next")
            if recording.bytes + len(data) > MAX_BYTES:
                self._drop(recording)
                raise RequestRefused(
                    413, f"the recording is larger than {MAX_BYTES // 1024**2} MB; it is deleted"
                )
            with in_one_line(self.folder, _CURE):
                await asyncio.to_thread(recording.part.write_at, recording.bytes, data)
            recording.next += 1
            recording.bytes += len(data)
            recording.heard_s = self._now()

    async def set_clip(self, recording: OpenRecording, data: bytes) -> None:
        """The film in which the person says that they agree; a second one takes the first one's place."""
        async with recording.lock:
            self.find(recording.id)
            with in_one_line(self.folder, _CURE):
                part = Part(self.folder)
                await asyncio.to_thread(part.write_at, 0, data)
            if recording.clip is not None:
                recording.clip.discard()
            recording.clip, recording.heard_s = part, self._now()

    async def finish(self, recording: OpenRecording) -> Take:
        """The recording is whole. Raises RequestRefused (400 where it is empty, 503)."""
        async with recording.lock:
            self.find(recording.id)
            if not recording.bytes:
                raise RequestRefused(400, "the recording is empty; send its chunks before its end")
            self._open.pop(recording.id, None)
            name = recording.name if self._is_free(recording.name) else self._free_name(recording.consent.who)
            path = self.folder / (name + ENDINGS[recording.kind])
            try:  # the consent first: a film is never there without
                consent = json.dumps(asdict(recording.consent)).encode()
                write_file(path.with_suffix(CONSENT), consent, cure=_CURE)
                with in_one_line(path, _CURE):
                    if recording.clip is not None:
                        await asyncio.to_thread(recording.clip.commit, path.with_suffix(CLIP))
                        recording.clip = None
                    await asyncio.to_thread(recording.part.commit, path)
            except FileError:
                path.with_suffix(CONSENT).unlink(missing_ok=True)
                self._open[recording.id] = recording  # asked again, it may work
                raise
            return Take(name, path, recording.bytes, recording.consent)

    async def discard(self, recording: OpenRecording) -> None:
        """Delete what came of it."""
        async with recording.lock:
            self._drop(recording)

    def takes(self) -> list[Take]:
        """All whole ones, by name."""
        return list(self._read())

    def take(self, name: Any) -> Take:
        """Raises RequestRefused (404)."""
        for take in self._read():
            if take.name == name:
                return take
        raise RequestRefused(404, f"there is no recording {str(name)[:40]!r}: it may have been deleted")

    def delete(self, take: Take) -> None:
        """Picture and consent of it, and the clip."""
        with in_one_line(take.path):
            take.path.unlink(missing_ok=True)
            for beside in (CONSENT, CLIP):
                take.path.with_suffix(beside).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Give up what fell silent, and remove what processes that died have left."""
        self._give_up_silent()
        sweep(self.folder)
        for path in (*self.folder.glob(f"*{CONSENT}"), *self.folder.glob(f"*{CLIP}")):
            if not self._films(path.stem) and time.time() - path.stat().st_mtime > LEFT_S:
                logger.info("%s is removed: its recording is gone", path.name)
                path.unlink()

    async def close(self) -> None:
        """Delete all that is not whole."""
        for recording in list(self._open.values()):
            await self.discard(recording)

    def _read(self) -> Iterator[Take]:
        for path in sorted(self.folder.glob("*")):
            if path.suffix not in ENDINGS.values() or path.name.startswith("."):
                continue
            kept = path.with_suffix(CONSENT)
            try:
                yield Take(path.stem, path, path.stat().st_size, Consent.parsed(kept.read_bytes()))
            except OSError as error:  # somebody's own file, or deleted meanwhile
                logger.info("%s is passed over: it has no consent beside it (%s)", path.name, error)
            except ValueError as error:
                with in_one_line(kept):
                    aside = set_aside(kept)
                logger.warning(
                    "%s is not used: its consent cannot be read (%s) and is now %s",
                    *(path.name, error, aside.name),
                )

    def _give_up_silent(self) -> None:
        now_s = self._now()
        for recording in list(self._open.values()):
            silent = now_s - recording.heard_s > SILENT_S or now_s - recording.began_s > MAX_S
            if silent and not recording.lock.locked():
                logger.info("a recording is given up: nothing came for too long, or it took too long")
                self._drop(recording)

    def _drop(self, recording: OpenRecording) -> None:
        self._open.pop(recording.id, None)
        recording.part.discard()
        if recording.clip is not None:
            recording.clip.discard()

    def _free_name(self, who: str) -> str:
        """Of letters and digits of the person's name; with a number behind it where that is taken."""
        words = "".join(letter if letter.isalnum() else " " for letter in who.lower()).split()
        plain = "-".join(words)[:_FILE_NAME_CHARACTERS].strip("-") or "avatar"
        names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, 10_000))
        return next(name for name in names if self._is_free(name))

    def _is_free(self, name: str) -> bool:
        """Nothing that is there is ever written over, whoever put it there."""
        used = any(recording.name == name for recording in self._open.values())
        kept = (self.folder / f"{name}{CONSENT}").exists()
        return not (used or kept or self._films(name) or self._taken(name))

    def _films(self, name: str) -> list[Path]:
        paths = (self.folder / f"{name}{ending}" for ending in ENDINGS.values())
        return [path for path in paths if path.exists()]
