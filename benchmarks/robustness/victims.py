"""Processes that are run to be killed: forked, so that what takes seconds to import is there at once.

Standard error comes by a pipe, which ends with the last process that was begun in there.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

LIMIT_S = 120.0  # then it counts as hung
_CRASHED = 70  # status of what raised


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    status: int  # of its exit; negative: the signal that ended it
    said: str  # on standard error
    seconds: float
    hung: bool = False


def run(
    work: Callable[[], int],
    kill: tuple[signal.Signals, float] | None = None,
    disk_bytes: int | None = None,
) -> Ended:
    """Does the work in a process of its own. kill: with what, and after how many seconds.

    disk_bytes: no file of it grows beyond that, as on a full disk.
    """
    begun_s = perf_counter()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_victim(work, writer, disk_bytes)
    os.close(writer)
    said, hung = bytearray(), False
    while True:
        now_s = perf_counter() - begun_s
        if kill is not None and now_s >= kill[1]:
            os.kill(pid, kill[0])  # not waited for yet: the number is still its own
            kill = None
        if now_s > LIMIT_S and not hung:
            os.kill(pid, signal.SIGKILL)
            hung = True
        wait_s = LIMIT_S if kill is None else max(kill[1] - now_s, 0.0)
        if select.select([reader], [], [], min(wait_s, LIMIT_S))[0]:
            piece = os.read(reader, 65_536)
            if not piece:
                break
            said += piece
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    text = said.decode("utf-8", "replace")
    return Ended(os.waitstatus_to_exitcode(status), text, perf_counter() - begun_s, hung)


def _be_victim(work: Callable[[], int], writer: int, disk_bytes: int | None) -> None:
    """Never comes back."""
    status = _CRASHED
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):  # `avatarcast bench` heeds them, as its commands do
            signal.signal(number, signal.SIG_DFL)
        os.dup2(writer, 2)
        os.close(writer)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if disk_bytes is not None:
            limit_disk(disk_bytes)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def limit_disk(size_bytes: int) -> None:
    """Of this process, from now on; RLIM_INFINITY ends it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
