"""Many sessions' networks on one device: pictures that are due go as a group; nobody waits long for others.

The first picture to come opens a group, which starts when all are there, when it is full, or after HOLD_S,
so nobody is held longer for the others' sake: the delayed batching of NVIDIA Triton's dynamic batcher
(`max_queue_delay_microseconds`). Cameras come once a PERIOD_S, and so do groups. Where more wait than a group
takes, those whose turn was longest ago go first, and what has waited a whole period is dropped: it would be
late, and its session draws a newer picture instead (the early drop of Nexus, Shen et al., SOSP 2019).
Of a group, pictures by the same weights are one batch: a device may draw them in one pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from engine.errors import RunnerError
from engine.network.contract import Array, ResidentRunner, TensorSpec

PERIOD_S = 1 / 30
HOLD_S = 0.005
MOST = 64  # pictures of a group


class Dropped(RunnerError):
    """The device had no time for this picture; what was drawn last still stands."""


@dataclass(slots=True, eq=False)
class Job:
    """One picture of a session."""

    runner: ResidentRunner
    arrived_s: float
    served_s: float  # when its session had its last turn
    weights: Hashable = None  # by which it is drawn
    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Queue:
    """Which pictures go together, and when: times alone, no threads."""

    def __init__(self, period_s: float = PERIOD_S, hold_s: float = HOLD_S, most: int = MOST) -> None:
        self._period_s, self._hold_s, self._most = period_s, hold_s, most
        self._waiting: list[Job] = []  # in the order in which they came

    def put(self, job: Job) -> None:
        """It has come."""
        self._waiting.append(job)

    def due_s(self, sessions: int) -> float | None:
        """When a group is to start, of so many sessions in all; None where nothing waits."""
        if not self._waiting:
            return None
        first_s = self._waiting[0].arrived_s
        return first_s if len(self._waiting) >= min(sessions, self._most) else first_s + self._hold_s

    def take(self, now_s: float) -> tuple[list[Job], list[Job]]:
        """The group, and what is dropped."""
        turns = sorted(self._waiting, key=lambda job: job.served_s)
        group, rest = turns[: self._most], turns[self._most :]
        late = [job for job in rest if now_s - job.arrived_s > self._period_s]
        self._waiting = [job for job in self._waiting if job not in group and job not in late]
        return group, late


def batches(group: Sequence[Job]) -> list[list[ResidentRunner]]:
    """A group's runners: those of the same weights together, in the order in which they first come."""
    found: dict[Hashable, list[ResidentRunner]] = {}
    for job in group:
        found.setdefault(job.weights, []).append(job.runner)
    return list(found.values())


# Runs the networks of a group's batches, each on what it was given; may go on when it returns.
Device = Callable[[Sequence[Sequence[ResidentRunner]]], None]


def each_by_itself(of_a_group: Sequence[Sequence[ResidentRunner]]) -> None:
    """A graph for each session, those of the same weights next to each other: begun one after the other.

    What runs on a GPU is begun without waiting, each on its own stream, and overlaps there.
    """
    for batch in of_a_group:
        for runner in batch:
            runner.infer()


class Together:
    """The one thread that uses a device. Use: seat(), close()."""

    def __init__(self, device: Device = each_by_itself, most: int = MOST) -> None:
        self._device, self._queue = device, Queue(most=most)
        self._changed = threading.Condition()
        self._sessions = 0
        self._closed = False
        self.groups = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def seat(self, runner: ResidentRunner, weights: Hashable = None) -> SharedRunner:
        """The runner, as a session among the others uses it; closed with that.

        weights: equal for sessions that may be drawn in one batch; None: of its own.
        """
        with self._changed:
            self._sessions += 1
        return SharedRunner(self, runner, id(runner) if weights is None else weights)

    def leave(self) -> None:
        """One session less."""
        with self._changed:
            self._sessions -= 1
            self._changed.notify()

    def infer(self, runner: ResidentRunner, served_s: float, weights: Hashable) -> None:
        """From a session's thread: waits until the runner ran. Raises Dropped, or what the device raised."""
        job = Job(runner, monotonic(), served_s, weights)
        with self._changed:
            if self._closed:
                raise RunnerError("the device is closed; make a new one")
            self._queue.put(job)
            self._changed.notify()
        job.over.wait()
        if job.error is not None:
            raise job.error

    def close(self) -> None:
        """Ends the thread, once what waits is drawn; who comes later gets a RunnerError."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            group, late = taken
            self.dropped += len(late)
            for job in late:
                job.error = Dropped("the device had no time for this picture")
                job.over.set()
            self.groups += 1
            error: Exception | None = None
            try:
                self._device(batches(group))
            except Exception as failed:  # it is the sessions' to tell
                error = failed
            for job in group:
                job.error = error
                job.over.set()

    def _next(self) -> tuple[list[Job], list[Job]] | None:
        """The next group, once it is due; None when this is closed and nobody waits."""
        with self._changed:
            while True:
                due_s, now_s = self._queue.due_s(self._sessions), monotonic()
                if due_s is not None and (due_s <= now_s or self._closed):
                    return self._queue.take(now_s)
                if self._closed:
                    return None
                self._changed.wait(None if due_s is None else due_s - now_s)


class SharedRunner:
    """A `ResidentRunner` that takes its turn: the others' pictures run beside its own."""

    def __init__(self, together: Together, runner: ResidentRunner, weights: Hashable) -> None:
        self._together, self._runner, self._served_s = together, runner, 0.0
        self._weights = weights
        self.inputs: Mapping[str, TensorSpec] = runner.inputs
        self.outputs: Mapping[str, TensorSpec] = runner.outputs
        self._closed = False

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs once. Raises Dropped."""
        self.put(feed)
        self.infer()
        return {name: self.read(name) for name in self.outputs}

    def put(self, feed: Mapping[str, Array]) -> None:
        """See `ResidentRunner`."""
        self._runner.put(feed)

    def infer(self) -> None:
        """See `ResidentRunner`. Raises Dropped."""
        self._together.infer(self._runner, self._served_s, self._weights)
        self._served_s = monotonic()

    def read(self, name: str) -> Array:
        """See `ResidentRunner`."""
        return self._runner.read(name)

    def carry(self, output: str, into: str) -> None:
        """See `ResidentRunner`."""
        self._runner.carry(output, into)

    def close(self) -> None:
        """Gives up its place."""
        if not self._closed:
            self._closed = True
            self._together.leave()
            self._runner.close()
