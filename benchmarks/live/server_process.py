"""The real server in a process of its own, and what the system says that process holds."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.records.machine import cpu_seconds, resident_mb

STOP_LIMIT_S = 60.0
ECHOES = {"echo": (), "sd-turbo": ("--sd-turbo",)}  # servers without an avatar


@dataclass(frozen=True, slots=True)
class Serving:
    """How to start the server. pipeline: "avatar", "echo" for transport alone, "sd-turbo" for that graph."""

    pipeline: str = "avatar"
    avatar: str = "bundled"
    runner: str = "auto"
    max_sessions: int = 2
    frame: str = "auto"

    @classmethod
    def of(cls, args: argparse.Namespace, **more: Any) -> Serving:
        """As the options of these names say."""
        return cls(args.pipeline, args.avatar, args.runner, **more)

    def command(self) -> list[str]:
        """Its command line; any free port."""
        if self.pipeline in ECHOES:
            command = ["-m", "benchmarks.live.echo_server", *ECHOES[self.pipeline]]
        else:
            command = ["-m", "engine.cli", "serve", "--avatar", self.avatar, "--runner", self.runner]
            command += ["--frame", self.frame, "--port", "0", "--json"]
        return [sys.executable, *command, "--max-sessions", str(self.max_sessions)]


@contextlib.contextmanager
def server_process(
    serving: Serving | Sequence[str],
    log: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The server's process id and start-up facts; stopped by SIGTERM as an operator would.

    serving: or a command line that says its facts as JSON. log: takes what it writes to standard error; None:
    that is shown. SystemExit where it does not start, or does not end cleanly.
    """
    with subprocess.Popen(
        serving.command() if isinstance(serving, Serving) else serving,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ | dict(environment or {}),
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start: status {process.wait()}, see its message above")
        try:
            yield process.pid, json.loads(line)
        finally:
            process.terminate()
            status = process.wait(STOP_LIMIT_S)
        if status:
            raise SystemExit(f"the server ended with status {status}, see its message above")


def without_token(facts: dict[str, Any]) -> dict[str, Any]:
    """The start-up facts, to be kept."""
    return {name: value for name, value in facts.items() if name != "link"}


@dataclass(frozen=True, slots=True)
class Holding:
    """What a process holds: things that must not grow from call to call."""

    resident_mb: float
    threads: int
    files: int  # descriptors that are not sockets
    sockets: int
    tasks: int  # of its event loop

    def as_json(self) -> dict[str, float]:
        """By name, rounded."""
        return {name: round(value, 1) for name, value in asdict(self).items()}


def holding(pid: int, tasks: int) -> Holding:
    """From Linux's /proc. tasks: as the process told. Raises FileNotFoundError when it is gone."""
    process = Path(f"/proc/{pid}")
    targets = []
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            targets.append(str(descriptor.readlink()))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Holding(
        resident_mb=resident_mb(pid) or 0.0,
        threads=len(list((process / "task").iterdir())),
        files=len(targets) - sockets,
        sockets=sockets,
        tasks=tasks,
    )


class ServerWatch:
    """Once a second: memory held and CPU time used. Use as an async context."""

    def __init__(self, pid: int) -> None:
        self.memory_mb: list[tuple[int, float]] = []  # (time ns, value)
        self.cpu_s: list[tuple[int, float]] = []
        self._pid = pid

    async def __aenter__(self) -> ServerWatch:
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _sample(self) -> None:
        while True:
            memory, cpu, now_ns = resident_mb(self._pid), cpu_seconds(self._pid), time.perf_counter_ns()
            if memory is not None:
                self.memory_mb.append((now_ns, memory))
            if cpu is not None:
                self.cpu_s.append((now_ns, cpu))
            await asyncio.sleep(1)
