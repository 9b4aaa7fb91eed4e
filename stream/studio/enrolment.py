"""One enrolment at work: `avatarcast enroll` as a process of its own, at the lowest priority.

It must not share a process with the live server, whose pictures come first, and needs packages that serving
does without. Event loop only; knows nothing of sessions or HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from stream import tasks

logger = logging.getLogger(__name__)

STOP_S = 10.0  # for it to put away what it has; then it is killed
MAX_LINE_BYTES = 256 * 1024
MAX_WARNINGS = 20
MAX_TEXT_CHARACTERS = 500
LOWEST_PRIORITY = 19
_ERROR = "avatarcast: error: "

State = Literal["running", "done", "failed", "cancelled"]


class Enrolment:
    """Use: run() as a task; cancel() ends it early, and the same command goes on later where it was."""

    def __init__(self, command: Sequence[str], take: str, out: Path, minutes: float) -> None:
        self.take = take
        self.out = out
        self.state: State = "running"
        self._command = command
        self._minutes = minutes
        self._began_s = monotonic()
        self._stage, self._done, self._total, self._note = "starting", 0.0, 1.0, ""
        self._warnings: list[str] = []
        self._said: deque[str] = deque(maxlen=3)  # the last lines that are not events
        self._error = ""
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, finish: Callable[[Path], object]) -> None:
        """Until it is over. finish: called in a worker thread with the avatar; what it raises is told."""
        try:
            await self._watch()
            if self.state == "running":
                await asyncio.to_thread(finish, self.out)
                self.state = "done"
        except Exception as error:  # whatever an avatar's loading raises is told on the page
            tasks.failed("enrolment", error)
            self._fail(str(error))
        finally:
            await self._end()
        logger.info("the enrolment of %r is over: %s", self.take, self.state)

    async def cancel(self) -> None:
        """Stop it; what it has so far is kept."""
        if self.state == "running":
            self.state = "cancelled"
            await self._end()

    def status(self) -> dict[str, Any]:
        """For the page. remaining_s is what is left of the time it was given, as far as that can be known."""
        elapsed_s = monotonic() - self._began_s
        of_stage_s = self._total - self._done if self._stage == "training" else 0.0
        return {
            "take": self.take,
            "avatar": self.out.stem,
            "state": self.state,
            "stage": self._stage,
            "done": round(self._done, 3),
            "total": round(self._total, 3),
            "note": self._note,
            "elapsed_s": round(elapsed_s),
            "remaining_s": round(max(self._minutes * 60 - elapsed_s, of_stage_s, 0.0)),
            "warnings": self._warnings,
            "error": self._error,
        }

    async def _watch(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server, which then asks here
            preexec_fn=_heed_interrupts,
        )
        _give_way(process.pid)
        if self.state != "running":  # cancelled while it started
            return
        assert process.stderr is not None
        while line := await process.stderr.readline():
            self._hear(line.decode("utf-8", "replace").strip())
        status = await process.wait()
        if status and self.state == "running":
            last = " ".join(self._said) or f"it ended with status {status}"
            self._fail(last.rpartition(_ERROR)[2])

    def _hear(self, line: str) -> None:
        """One line of standard error: an event as JSON, or words."""
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "stage":
                self._stage, self._note = str(event["stage"])[:40], ""
                self._done, self._total = 0.0, max(float(event["total"]), 1e-6)
            elif kind == "progress":
                self._done = min(max(float(event["done"]), 0.0), self._total)
                self._note = str(event.get("note", ""))[:MAX_TEXT_CHARACTERS]
            elif kind == "warning" and len(self._warnings) < MAX_WARNINGS:
                self._warnings.append(str(event["text"])[:MAX_TEXT_CHARACTERS])
        except (ValueError, KeyError, TypeError):
            self._said.append(line[:MAX_TEXT_CHARACTERS])

    def _fail(self, text: str) -> None:
        self.state, self._error = "failed", text[:MAX_TEXT_CHARACTERS]

    async def _end(self) -> None:
        """No process is left behind."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if sys.platform == "win32":
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)  # as Ctrl-C: it keeps what it has
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except asyncio.TimeoutError:
            logger.warning("the enrolment did not stop in %.0f s: it is killed", STOP_S)
            process.kill()
            await process.wait()


def _give_way(pid: int) -> None:
    """To everything else on this machine."""
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, pid, LOWEST_PRIORITY)
        except ProcessLookupError:
            return  # over already; its status says why


def _heed_interrupts() -> None:
    """In the new process: a server in the background of a shell ignores SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
