"""The server's log: lines for people, or one JSON object a line, each with the session that it is about.

The session is a context variable: a task inherits it from the task that starts it, a thread from
`contextvars.copy_context().run`. Of a session's id, which steers the session, the first characters appear;
tokens and ICE passwords never do.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone

from engine.errors import SettingsError

FORMATS = ("text", "json")
SHOWN_OF_ID = 6  # characters
_session: ContextVar[str | None] = ContextVar("session", default=None)
_SECRET = re.compile(r"(?i)(\bbearer\s+|\btoken[=:]\s*|\bice-pwd[=:]\s*|\bcredential[=:]\s*)[^\s&,;\"']+")


@contextmanager
def about_session(session_id: str) -> Iterator[None]:
    """What is logged inside, and in the tasks started inside, names this session."""
    before = _session.set(session_id[:SHOWN_OF_ID])
    try:
        yield
    finally:
        _session.reset(before)


def configure_logging(form: str) -> None:
    """Sets up the log on standard error. form: one of FORMATS; SettingsError otherwise.

    Warnings and errors of everything; as JSON also what the server's own modules tell of sessions.
    Does nothing where a program that embeds the server has set up its log.
    """
    if form not in FORMATS:
        raise SettingsError(f"log format {form!r}: wanted {' or '.join(FORMATS)}")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if form == "json":
        logging.getLogger("stream").setLevel(logging.INFO)


class TextLines(logging.Formatter):
    """LEVEL logger [session]: message"""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it where there is one."""
        session = _session.get()
        where = f"{record.name} [{session}]" if session else record.name
        line = f"{record.levelname} {where}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


class JsonLines(logging.Formatter):
    """{"time", "level", "logger", "message"} with "session" and "exception" where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; time is UTC, ISO 8601, in ms."""
        when = datetime.fromtimestamp(record.created, timezone.utc)
        fields = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if (session := _session.get()) is not None:
            fields["session"] = session
        if record.exc_info:
            fields["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def without_secrets(text: str) -> str:
    """The text with what follows token=, Bearer and ice-pwd: replaced."""
    return _SECRET.sub(r"\1(hidden)", text)
