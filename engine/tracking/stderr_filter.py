"""Leaves a library's own lines out of standard error, and nobody else's.

What C++ writes goes to descriptor 2, which the whole process shares: to switch that off, even for a second,
loses what other threads have to say.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()  # one filter at a time
_CHUNK_BYTES = 65_536
_CHILD_S = 0.5  # a process that was started meanwhile may hold the pipe open for ever: its lines still pass


@contextmanager
def without_lines(noise: re.Pattern[bytes]) -> Iterator[None]:
    """Inside, lines that `noise` matches whole are not written to descriptor 2; all others are, in order.

    Only what another thread writes while it ends may come before lines that are still on their way.

    A line ends with a line feed or a carriage return.
    """
    with _LOCK:
        if sys.stderr is not None:
            sys.stderr.flush()
        shown = os.dup(2)
        reader, writer = os.pipe()
        passing = threading.Thread(target=_pass_on, args=(reader, shown, noise), name="stderr", daemon=True)
        passing.start()
        os.dup2(writer, 2)
        os.close(writer)
        try:
            yield
        finally:
            os.dup2(shown, 2)  # and with it the pipe's last end for writing is closed
            passing.join(_CHILD_S)


def _pass_on(reader: int, shown: int, noise: re.Pattern[bytes]) -> None:
    """Until nobody can write to the pipe any more."""
    begun = b""
    try:
        while chunk := os.read(reader, _CHUNK_BYTES):
            *lines, begun = re.split(rb"(?<=[\r\n])", begun + chunk)
            _write(shown, b"".join(line for line in lines if not noise.fullmatch(line.rstrip(b"\r\n"))))
        if not noise.fullmatch(begun):
            _write(shown, begun)
    finally:
        os.close(reader)
        os.close(shown)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:  # nobody reads standard error any more
            return
