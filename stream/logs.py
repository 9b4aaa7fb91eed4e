"""The server's log: lines for people, or one JSON object a line, each with the session that it is about.

The session is a context variable: a task inherits it from the task that starts it, a thread from
`contextvars.copy_context().run`. Of a session's id, which steers the session, the first characters appear;
tokens and ICE passwords never do. What repeats itself is counted, so that nobody fills the log from outside.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from time import monotonic

from engine.errors import SettingsError

FORMATS = ("text", "json")
SHOWN_OF_ID = 6  # characters
WINDOW_S = 10.0  # over which lines are compared
MOST_ALIKE = 20  # lines of one template in that time, whatever was filled in
MOST_KEPT = 512  # lines that are remembered
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
    handler = CountingHandler(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if form == "json":
        logging.getLogger("stream").setLevel(logging.INFO)


@dataclass
class _Window:
    """One line, or one template, and how often it came."""

    first: logging.LogRecord
    since_s: float
    passed: int = 0
    left_out: int = 0


class Repeats:
    """Which lines are written: the first of its kind in a window of time. Time comes in as an argument.

    Lines are alike that differ in their digits only, with an exception of the same type.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()  # by when each began

    def passes(self, record: logging.LogRecord, now_s: float) -> bool:
        """Whether to write it; where not, it is counted."""
        kind = "" if not record.exc_info or record.exc_info[0] is None else record.exc_info[0].__name__
        where = (record.name, record.levelname, kind)
        line, template = (*where, re.sub(r"\d+", "0", record.getMessage())), (*where, str(record.msg), "*")
        for key, most in ((line, 1), (template, MOST_ALIKE)):
            window = self._windows.setdefault(key, _Window(record, now_s))
            if window.passed >= most:
                window.left_out += 1
                return False
            window.passed += 1
        return True

    def sums(self, now_s: float, all_of_them: bool = False) -> list[logging.LogRecord]:
        """Forgets windows that are over; a line for each in which something was left out."""
        lines = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            lasted_s = now_s - window.since_s
            if lasted_s < WINDOW_S and len(self._windows) <= MOST_KEPT and not all_of_them:
                break
            del self._windows[key]
            if window.left_out:
                of, text = window.first, f"repeated {window.left_out} times in {lasted_s:.0f} s: "
                text += of.getMessage()
                lines.append(logging.LogRecord(of.name, of.levelno, of.pathname, of.lineno, text, None, None))
        return lines


class CountingHandler(logging.Handler):
    """Standard error, without repeats."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._out = logging.StreamHandler()
        self._out.setFormatter(form)
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        self._sum_up()
        try:
            passes = self._repeats.passes(record, monotonic())
        except Exception:  # arguments that do not fit the text, as in logging's own handlers
            self.handleError(record)
            return
        if passes:
            self._out.emit(record)
        elif self._timer is None:
            self._timer = threading.Timer(WINDOW_S, self._on_time)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Tell what was left out so far."""
        self.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
            self._sum_up(all_of_them=True)
        finally:
            self.release()
        super().close()

    def _on_time(self) -> None:
        """Also where nothing more is logged."""
        self.acquire()
        try:
            self._timer = None
            self._sum_up(all_of_them=True)
        finally:
            self.release()

    def _sum_up(self, all_of_them: bool = False) -> None:
        for line in self._repeats.sums(monotonic(), all_of_them):
            Context().run(self._out.emit, line)  # about no session


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
