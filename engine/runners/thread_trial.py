"""How many threads a network is worth on this machine: a short trial says, where cores can only be counted.

Two processors may be siblings of one core, or share its vector units: then a second thread takes as much time
of a processor again and gains next to nothing, while tracking and encoding want that processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

from engine.network.contract import Runner, allocate

WARM_UP, RUNS = 2, 5
WORTH = 0.8  # of the time with the next fewer, at most: else the processors are better left to others

Start = Callable[[int], Runner]  # a runner with so many threads


def tried(
    start: Start, most: int, now: Callable[[], float] = perf_counter
) -> tuple[Runner, int, Mapping[int, float]]:
    """The runner with as many threads as are worth it, up to `most`; how many; milliseconds of all tried.

    Counts are tried by turns, since a machine's speed drifts; what counts is the quickest run of each, since
    other work only lengthens. The other runners are closed. now: seconds, of the wall.
    """
    runners = {count: start(count) for count in _counts(most)}
    feed = allocate(next(iter(runners.values())).inputs)
    took_ms = dict.fromkeys(runners, float("inf"))
    for run in range(WARM_UP + RUNS):
        for count, runner in runners.items():
            began = now()
            runner.run(feed)
            if run >= WARM_UP:
                took_ms[count] = min(took_ms[count], 1e3 * (now() - began))
    best, *more = runners
    for count in more:
        if took_ms[count] <= WORTH * took_ms[best]:
            best = count
    for count, runner in runners.items():
        if count != best:
            runner.close()
    return runners[best], best, took_ms


def _counts(most: int) -> list[int]:
    """1, 2, 4 and so on, and `most`."""
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})
