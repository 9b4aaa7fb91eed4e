"""Recordings of people who film themselves, on this machine's disk: taken in chunk by chunk.

A consent lies beside each. What is not whole yet has a hidden temporary name. Names on the disk are made here
and are never taken from a request. Event loop only; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, time
from typing import Any

from stream.negotiation import RequestRefused

logger = logging.getLogger(__name__)

MAX_CHUNK_BYTES = 16 * 1024**2
MAX_BYTES = 600 * 1024**2  # ten minutes at 8 Mbit/s
MAX_S = 600.0  # from the first word to the last chunk
SILENT_S = 60.0  # without a chunk, after which a recording is given up
LEAST_FREE_BYTES = 1024**3  # on the disk, before a recording begins
MAX_NAME_CHARACTERS, MAX_STATEMENT_CHARACTERS = 80, 600
ENDINGS = {"video/webm": ".webm", "video/mp4": ".mp4"}
_FILE_NAME_CHARACTERS = 40
_PART = ".part"


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


@dataclass(slots=True)
class OpenRecording:
    """A recording that is being made."""

    id: str  # whoever knows it may add to it
    session_id: str
    name: str
    kind: str  # content type
    consent: Consent
    part: Path
    began_s: float
    heard_s: float
    next: int = 0  # number of the chunk that comes next
    bytes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Recordings:
    """Those of one folder. It appears with the first one, and only its owner may read it."""

    def __init__(
        self, folder: Path, taken: Callable[[str], bool], now: Callable[[], float] = monotonic
    ) -> None:
        """taken: whether a name belongs to somebody else already. now: in seconds."""
        self.folder = folder
        self._taken = taken
        self._now = now
        self._open: dict[str, OpenRecording] = {}
        for left in folder.glob(f".*{_PART}"):
            if time() - left.stat().st_mtime > MAX_S:  # of a server that crashed, not of one beside this
                left.unlink()

    def begin(self, session_id: str, kind: Any, consent: Consent) -> OpenRecording:
        """A new recording of this session's presenter. Raises RequestRefused (400, 409, 503)."""
        if not isinstance(kind, str) or kind not in ENDINGS:
            raise RequestRefused(
                400, f"the recording is of kind {str(kind)[:40]!r}; one of {', '.join(ENDINGS)}"
            )
        self._give_up_silent()
        if any(recording.session_id == session_id for recording in self._open.values()):
            raise RequestRefused(409, "this session is being recorded already; end or delete that one first")
        with _disk():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES:
                raise RequestRefused(
                    503, f"less than 1 GB is free in {self.folder}; make room on the disk first"
                )
        number, now_s = secrets.token_urlsafe(16), self._now()
        part = self.folder / f".{secrets.token_hex(8)}{_PART}"
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
                self.discard(recording)
                raise RequestRefused(
                    413, f"the recording is larger than {MAX_BYTES // 1024**2} MB; it is deleted"
                )
            with _disk():
                await asyncio.to_thread(_append, recording.part, data)
            recording.next += 1
            recording.bytes += len(data)
            recording.heard_s = self._now()

    async def finish(self, recording: OpenRecording) -> Take:
        """The recording is whole. Raises RequestRefused (400 where it is empty, 503)."""
        async with recording.lock:
            self.find(recording.id)
            if not recording.bytes:
                raise RequestRefused(400, "the recording is empty; send its chunks before its end")
            path = self.folder / (recording.name + ENDINGS[recording.kind])
            with _disk():
                path.with_suffix(".json").write_text(json.dumps(asdict(recording.consent)), encoding="utf-8")
                recording.part.replace(path)
            self._open.pop(recording.id, None)
            return Take(recording.name, path, recording.bytes, recording.consent)

    def discard(self, recording: OpenRecording) -> None:
        """Delete what came of it."""
        self._open.pop(recording.id, None)
        with _disk():
            recording.part.unlink(missing_ok=True)

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
        """Picture, sound and consent of it."""
        with _disk():
            take.path.unlink(missing_ok=True)
            take.path.with_suffix(".json").unlink(missing_ok=True)

    def close(self) -> None:
        """Delete all that is not whole."""
        for recording in list(self._open.values()):
            self.discard(recording)

    def _read(self) -> Iterator[Take]:
        for path in sorted(self.folder.glob("*")):
            if path.suffix not in ENDINGS.values() or path.name.startswith("."):
                continue
            try:
                consent = Consent(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
                yield Take(path.stem, path, path.stat().st_size, consent)
            except (OSError, ValueError, TypeError) as error:  # somebody's own file, or deleted meanwhile
                logger.info("%s is passed over: it has no consent beside it (%s)", path.name, error)

    def _give_up_silent(self) -> None:
        now_s = self._now()
        for recording in list(self._open.values()):
            if now_s - recording.heard_s > SILENT_S or now_s - recording.began_s > MAX_S:
                logger.info("a recording is given up: nothing came for too long, or it took too long")
                self.discard(recording)

    def _free_name(self, who: str) -> str:
        """Of letters and digits of the person's name; with a number behind it where that is taken."""
        words = "".join(letter if letter.isalnum() else " " for letter in who.lower()).split()
        plain = "-".join(words)[:_FILE_NAME_CHARACTERS].strip("-") or "avatar"
        used = {recording.name for recording in self._open.values()} | {take.name for take in self._read()}
        names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, 10_000))
        return next(name for name in names if name not in used and not self._taken(name))


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@contextmanager
def _disk() -> Iterator[None]:
    """What the disk refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise RequestRefused(
            503, f"the studio's folder cannot be used ({error}); make room, or choose another with --studio"
        ) from error
