"""Sessions on one device: who goes with whom, who waits how long, who is dropped; the device is a fake whose
cost is set, and time is counted, not waited for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from engine.errors import RunnerError
from engine.network.contract import Array, NullRunner, ResidentRunner, TensorSpec
from engine.runners.together import (
    HOLD_S,
    PERIOD_S,
    Dropped,
    Job,
    Queue,
    Together,
    batches,
    each_by_itself,
)


class Runner(NullRunner):
    """Counts how often it ran."""

    def __init__(self) -> None:
        super().__init__({"x": TensorSpec((1,))}, {"y": TensorSpec((1,))})
        self.runs = 0

    def put(self, feed: Mapping[str, Array]) -> None:
        pass

    def infer(self) -> None:
        self.runs += 1

    def read(self, name: str) -> Array:
        return np.zeros(1)

    def carry(self, output: str, into: str) -> None:
        pass


def run(
    phases: Sequence[float],
    group_s: float,
    each_s: float,
    most: int,
    seconds: float = 3.0,
    batch_s: float = 0.0,
    persons: int = 1,
) -> tuple[list[tuple[float, int]], dict[int, list[float]], Counter[int]]:
    """Groups (start, size), how long each session's pictures waited, and how many of each were dropped.

    A session takes its newest frame when the picture before is done, as the server's render threads do.
    phases: when each session's camera starts, s; a group costs group_s, each of its batches batch_s, and each
    picture each_s. persons: session n is of person n modulo so many, whose weights it draws by.
    """
    queue, runners = Queue(most=most), [Runner() for _ in phases]
    free_s, now_s = 0.0, 0.0
    coming = list(phases)
    served = [0.0] * len(phases)
    groups: list[tuple[float, int]] = []
    waited: dict[int, list[float]] = {index: [] for index in range(len(phases))}
    dropped: Counter[int] = Counter()
    inside: dict[int, Job] = {}

    def newest(index: int, after_s: float) -> float:
        """When its next frame can be taken."""
        frames = np.ceil((after_s - phases[index]) / PERIOD_S - 1e-9)
        return float(max(phases[index] + max(frames, 0) * PERIOD_S, after_s))

    while now_s < seconds:
        for index, at_s in enumerate(coming):
            if index not in inside and at_s <= now_s:
                inside[index] = Job(runners[index], at_s, served[index], index % persons)
                queue.put(inside[index])
        due_s = queue.due_s(len(phases))
        if due_s is not None and max(due_s, free_s) <= now_s:
            group, late = queue.take(now_s)
            free_s = now_s + group_s + batch_s * len(batches(group)) + each_s * len(group)
            groups.append((now_s, len(group)))
            for index, job in list(inside.items()):
                if job in group:
                    waited[index].append(now_s - job.arrived_s)
                    served[index] = free_s
                    coming[index] = newest(index, free_s)
                    del inside[index]
                elif job in late:
                    dropped[index] += 1
                    coming[index] = now_s
                    del inside[index]
        now_s += 0.0005
    return groups, waited, dropped


def test_cameras_in_step_go_together_every_period() -> None:
    groups, waited, dropped = run([0.0, 0.001, 0.002, 0.003], 0.004, 0.001, 64)
    assert not dropped
    assert all(size == 4 for _, size in groups)
    assert np.median(np.diff([start for start, _ in groups])) == pytest.approx(PERIOD_S, abs=0.001)
    assert max(map(max, waited.values())) < 0.0045


def test_nobody_is_held_for_longer_than_the_hold() -> None:
    groups, waited, dropped = run([0.0, 0.004, 0.012, 0.020, 0.021], 0.001, 0.0002, 64)
    assert not dropped
    assert max(map(max, waited.values())) <= HOLD_S + 0.001
    assert {size for _, size in groups} == {1, 2}  # those within the hold, and the one alone


def test_where_too_many_come_everybody_has_their_turn_with_a_fresh_picture() -> None:
    """Eight sessions, and a device that draws two in 25 ms."""
    _, waited, dropped = run([0.004 * index for index in range(8)], 0.005, 0.010, 2)
    assert sum(dropped.values()) > 50
    turns = [len(one) for one in waited.values()]
    assert min(turns) >= 0.8 * max(turns)
    assert sum(turns) == pytest.approx(3.0 / 0.025 * 2, rel=0.1)  # the device never stands still
    assert max(map(max, waited.values())) < PERIOD_S + 0.025  # not one that has long been late


def test_sessions_of_one_person_share_what_a_batch_costs() -> None:
    """Twelve sessions on a device that takes 4 ms for each batch and 0.5 for each picture in it."""
    device = {"group_s": 0.0, "each_s": 0.0005, "most": 64, "batch_s": 0.004}
    phases = [0.0001 * index for index in range(12)]
    drawn = {}
    for persons in (2, 12):
        groups, _, dropped = run(phases, **device, persons=persons)  # type: ignore[arg-type]
        assert not dropped
        drawn[persons] = sum(size for _, size in groups)
    assert drawn[2] == pytest.approx(12 * 3.0 / PERIOD_S, rel=0.05)  # 14 ms a group: every picture
    assert drawn[12] < 0.6 * drawn[2]  # 54 ms


def test_a_batch_is_of_one_weights_and_loses_nobody() -> None:
    own = [Runner() for _ in range(5)]
    found = batches([Job(one, 0.0, 0.0, name) for one, name in zip(own, "abaca", strict=True)])
    assert found == [[own[0], own[2], own[4]], [own[1]], [own[3]]]
    seen: list[list[int]] = []

    def device(of_a_group: Sequence[Sequence[ResidentRunner]]) -> None:
        seen.append([len(batch) for batch in of_a_group])
        each_by_itself(of_a_group)

    together = Together(device)
    seats = [together.seat(one, name) for one, name in zip(own, ("a", "a", "b", None, None), strict=True)]
    threads = [threading.Thread(target=seat.infer) for seat in seats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.runs for one in own] == [1] * 5
    if len(seen) == 1:  # all came within the hold
        assert sorted(seen[0]) == [1, 1, 1, 2]  # who names no weights is drawn alone
    together.close()


def test_a_session_has_a_runner_like_any_other() -> None:
    most: list[int] = []
    gate = threading.Event()

    def device(batches: Sequence[Sequence[ResidentRunner]]) -> None:
        most.append(sum(map(len, batches)))
        gate.wait(5)
        each_by_itself(batches)

    together = Together(device, most=2)
    own = [Runner() for _ in range(4)]
    seats = [together.seat(runner) for runner in own]
    failed: list[Exception] = []

    def draw(index: int) -> None:
        try:
            seats[index].run({"x": np.zeros(1, np.float32)})
        except Dropped as error:
            failed.append(error)

    threads = [threading.Thread(target=draw, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    threading.Event().wait(2 * PERIOD_S)  # by now those that wait are late, but there is room for two
    gate.set()
    for thread in threads:
        thread.join()
    assert max(most) <= 2
    assert sum(most) == sum(runner.runs for runner in own) == 4 - len(failed)
    assert len(failed) <= 1  # one, where the first group was one alone
    for seat in seats:
        seat.close()
        seat.close()
    together.close()


def test_what_a_device_raises_reaches_the_sessions() -> None:
    def device(_: Sequence[Sequence[ResidentRunner]]) -> None:
        raise ValueError("no memory")

    together = Together(device)
    seat = together.seat(Runner())
    with pytest.raises(ValueError, match="no memory"):
        seat.infer()
    together.close()
    with pytest.raises(RunnerError, match="the device is closed"):
        seat.infer()
