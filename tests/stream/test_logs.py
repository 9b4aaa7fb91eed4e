"""Lines of the log: JSON that parses, the session they are about, and no secret."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import subprocess
import sys
import threading
from typing import Any

import pytest

from engine.errors import SettingsError
from stream.logs import (
    MOST_ALIKE,
    MOST_KEPT,
    WINDOW_S,
    JsonLines,
    Repeats,
    TextLines,
    about_session,
    configure_logging,
    without_secrets,
)

ID = "abcdefSECRETREST"


def record(text: str, *arguments: object, failed: BaseException | None = None) -> logging.LogRecord:
    info = None if failed is None else (type(failed), failed, failed.__traceback__)
    made = logging.LogRecord(
        "stream.sessions.session", logging.WARNING, "session.py", 1, text, arguments, info
    )
    made.created = 1_700_000_000.25
    return made


def logged(text: str = "hello", *arguments: object, failed: BaseException | None = None) -> dict[str, Any]:
    line = JsonLines().format(record(text, *arguments, failed=failed))
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_of_json() -> None:
    assert logged('%d frames of "Noé"\nlost', 3) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "stream.sessions.session",
        "message": '3 frames of "Noé"\nlost',
    }


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("bad frame, token=hunter2")
    except ValueError as error:
        found = logged(failed=error)
        text = TextLines().format(record("hello", failed=error))
    assert "test_logs.py" in found["exception"]
    assert "ValueError: bad frame" in found["exception"]
    assert "ValueError: bad frame" in text
    assert "hunter2" not in found["exception"] + text


def test_the_session_goes_with_tasks_and_copied_contexts() -> None:
    """And with nothing else: the line after the session's own has none."""
    seen: list[dict[str, Any]] = []

    async def session(name: str) -> None:
        with about_session(name):
            task = asyncio.create_task(inside())
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(lambda: seen.append(logged("thread")),))
        seen.append(logged("outside"))
        await task
        thread.start()
        thread.join()

    async def inside() -> None:
        await asyncio.sleep(0)
        seen.append(logged("task"))

    asyncio.run(session(ID))
    assert [(line["message"], line.get("session")) for line in seen] == [
        ("outside", None),
        ("task", "abcdef"),
        ("thread", "abcdef"),
    ]


def test_text_names_the_session_too() -> None:
    with about_session(ID):
        line = TextLines().format(record("%s ended", "it"))
    assert line == "WARNING stream.sessions.session [abcdef]: it ended"
    assert TextLines().format(record("hello")) == "WARNING stream.sessions.session: hello"


@pytest.mark.parametrize(
    "text",
    [
        "GET /view#token=hunter2&x=1",
        "Authorization: Bearer hunter2",
        "a=ice-pwd:hunter2\r\na=mid:0",
        'turn {"credential": hunter2}'.replace('"', ""),
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    hidden = without_secrets(text)
    assert "hunter2" not in hidden
    assert "(hidden)" in hidden
    assert "hunter2" not in logged("%s", text)["message"]
    assert re.sub(r"\W", "", without_secrets("a token of thanks")) == "atokenofthanks"


def test_another_format_is_refused() -> None:
    with pytest.raises(SettingsError, match="'xml': wanted text or json"):
        configure_logging("xml")


@pytest.mark.parametrize(("form", "lines"), [("json", 2), ("text", 1)])
def test_a_process_logs_to_standard_error(form: str, lines: int) -> None:
    """As JSON the server's own notices too; of libraries only warnings."""
    code = (
        "import logging; from stream.logs import configure_logging; "
        f"configure_logging({form!r}); logging.getLogger('stream.sessions.session').info('began'); "
        "logging.getLogger('aioice').info('chatter'); logging.getLogger('aioice').warning('lost')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert len(said) == lines
    assert "lost" in said[-1]
    if form == "json":
        assert [json.loads(line)["message"] for line in said] == ["began", "lost"]


def test_a_line_that_repeats_itself_is_counted() -> None:
    repeats = Repeats()
    written = [repeats.passes(record("datagram %d is odd", number), number * 0.01) for number in range(500)]
    assert written == [True] + 499 * [False]
    assert not repeats.sums(WINDOW_S - 0.01)
    assert [one.getMessage() for one in repeats.sums(WINDOW_S)] == [
        "repeated 499 times in 10 s: datagram 0 is odd"
    ]
    assert repeats.passes(record("datagram 500 is odd"), WINDOW_S)
    assert not repeats.sums(3 * WINDOW_S)  # nothing was left out meanwhile


def test_lines_that_differ_are_written_but_not_without_end() -> None:
    """Text from outside must not make each line one of its own."""
    repeats = Repeats()
    assert repeats.passes(record("the session ends: stopped"), 0)
    assert repeats.passes(record("the session ends: lost"), 0)
    assert repeats.passes(record("it failed", failed=ValueError("x")), 0)
    assert repeats.passes(record("it failed", failed=KeyError("x")), 0)
    names = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(5 * MOST_KEPT)]
    written = [repeats.passes(record("no avatar %r", name), 1) for name in names]
    assert sum(written) == MOST_ALIKE
    total = sum(int(one.getMessage().split()[1]) for one in repeats.sums(1) + repeats.sums(1, True))
    assert total == len(names) - MOST_ALIKE


def test_what_was_left_out_is_told_though_nothing_more_is_logged() -> None:
    code = (
        "import logging, stream.logs as logs; logs.WINDOW_S = 0.2; logs.configure_logging('text')\n"
        "for number in range(1000): logging.getLogger('aioice').warning('odd %d', number)\n"
        "import time; time.sleep(0.6); print('later', file=__import__('sys').stderr)\n"
        "for number in range(3): logging.getLogger('aioice').warning('end')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.splitlines() == [
        "WARNING aioice: odd 0",
        "WARNING aioice: repeated 999 times in 0 s: odd 0",
        "later",
        "WARNING aioice: end",
        "WARNING aioice: repeated 2 times in 0 s: end",
    ]
