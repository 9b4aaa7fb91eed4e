"""The trial of thread counts: what it chooses by the times it sees, and that it leaves one runner."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.avatar.avatar_file import load_avatar
from engine.network.contract import Array, NullRunner, denoiser_inputs, denoiser_outputs
from engine.runners import choice
from engine.runners.choice import choose_runner
from engine.runners.thread_trial import tried

SIZE = 64


class Machine:
    """Runners whose every third run takes as long as said, others longer, by a clock of its own."""

    def __init__(self, took_ms: Mapping[int, float]) -> None:
        self.took_ms = took_ms
        self.seconds = 0.0
        self.open: set[int] = set()

    def start(self, threads: int) -> NullRunner:
        return _Timed(self, threads)


class _Timed(NullRunner):
    def __init__(self, machine: Machine, threads: int) -> None:
        super().__init__(denoiser_inputs(SIZE), denoiser_outputs(SIZE))
        self._machine, self._threads, self._runs = machine, threads, 0
        machine.open.add(threads)

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        self._runs += 1
        disturbed = 1.0 if self._runs % 3 == 0 else 2.5
        self._machine.seconds += disturbed * self._machine.took_ms[self._threads] / 1e3
        return super().run(feed)

    def close(self) -> None:
        self._machine.open.remove(self._threads)
        super().close()


@pytest.mark.parametrize(
    ("took_ms", "best"),
    [
        ({1: 9.0}, 1),
        ({1: 14.0, 2: 7.4}, 2),
        ({1: 14.0, 2: 12.6}, 1),  # siblings of one core
        ({1: 14.0, 2: 30.0}, 1),  # less processor than was counted
        ({1: 14.0, 2: 7.4, 3: 6.9}, 2),
        ({1: 20.0, 2: 11.0, 4: 6.0, 6: 4.5}, 6),
    ],
)
def test_threads_are_taken_while_they_are_worth_it(took_ms: Mapping[int, float], best: int) -> None:
    machine = Machine(took_ms)
    runner, found, seen = tried(machine.start, max(took_ms), lambda: machine.seconds)
    assert found == best
    assert seen == pytest.approx(took_ms)
    assert machine.open == {best}
    runner.close()


def test_the_first_trial_serves_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    avatar = load_avatar("theo")
    monkeypatch.setattr(choice, "_FOUND", {})
    monkeypatch.setattr(choice, "default_threads", lambda: 2)
    reasons = []
    for threads in (0, 0, 1):
        runner, reason = choose_runner("onnx-cpu", avatar, threads)
        reasons.append(reason)
        runner.close()
    assert " ms, 2: " in reasons[0]
    (found,) = choice._FOUND.values()
    assert reasons[1].endswith(f", {found} threads")
    assert reasons[2].endswith(", 1 threads")
