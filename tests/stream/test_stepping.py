"""Rate first, then size, with patience on the way back; time and load are scripted."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.effort import USUAL
from stream.media.stepping import EFFORTS, FULL, LADDER, Efforts, Level, Load, RateGate, Rendering, Stepper

S = 1_000_000_000
QUICK = Rendering(fps_in=30, fps_out=30, render_ms=15)
EASY = Load(QUICK, encode_ms=1, sent_bps=400_000, link_bps=2_000_000)
NARROW = replace(EASY, link_bps=200_000)  # the receiver takes half of what is sent
LOSSY = replace(EASY, lost=0.2)
SLOW = replace(EASY, rendering=replace(QUICK, fps_out=8, render_ms=120))


class Script:
    """Feeds a stepper twice a second, and remembers when it moved."""

    def __init__(self) -> None:
        self.stepper = Stepper(start_ns=0)
        self.now_ns = 0
        self.moves: list[tuple[float, Level]] = []

    def run(self, load: Load, seconds: float) -> Level:
        for _ in range(round(2 * seconds)):
            before = self.stepper.level
            after = self.stepper.update(load, self.now_ns)
            if after != before:
                self.moves.append((self.now_ns / S, after))
            self.now_ns += S // 2
        return self.stepper.level


def test_a_narrow_link_takes_rate_first_and_then_size() -> None:
    for load in (NARROW, LOSSY):
        script = Script()
        assert script.run(load, 60) == LADDER[-1]
        assert [level for _, level in script.moves] == list(LADDER[1:])
        assert [(level.fps, level.scale) for level in LADDER[:4]] == [(30, 1), (20, 1), (15, 1), (15, 0.75)]


def test_a_slow_machine_takes_rate_and_never_size() -> None:
    """Smaller pictures do not make the renderer faster."""
    script = Script()
    assert script.run(SLOW, 120) == Level(15, 1.0)


def test_a_short_strain_moves_nothing() -> None:
    script = Script()
    for _ in range(20):
        script.run(NARROW, 1.5)
        script.run(EASY, 0.5)
    assert script.moves == []


def test_back_up_slowly_one_step_at_a_time() -> None:
    script = Script()
    script.run(LOSSY, 60)
    down_s = script.now_ns / S
    assert script.run(EASY, 90) == FULL
    ups = [(at_s, level) for at_s, level in script.moves if at_s >= down_s]
    assert [level for _, level in ups] == list(reversed(LADDER[:-1]))
    times = [at_s for at_s, _ in ups]
    assert all(after - before >= 10 for before, after in pairwise(times))


def test_a_step_up_that_was_a_mistake_makes_it_patient() -> None:
    """A link that carries the lower level and never the higher one: fewer and fewer tries."""
    script = Script()
    script.run(NARROW, 6)
    assert script.stepper.level == LADDER[1]
    for _ in range(2_000):
        script.run(NARROW if script.stepper.level == FULL else EASY, 0.5)
    ups = [at_s for at_s, level in script.moves if level == FULL]
    gaps = [after - before for before, after in pairwise(ups)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 80
    assert len(ups) <= 16


def test_no_higher_rate_than_the_renderer_has_time_for() -> None:
    """At 45 ms a picture 20 per second are well, 30 are not."""
    script = Script()
    script.run(SLOW, 10)
    busy = replace(EASY, rendering=replace(QUICK, fps_out=15, render_ms=42))
    assert script.run(busy, 120) == Level(20, 1.0)


def test_a_slow_machine_looks_and_paints_less_before_it_sends_fewer_pictures() -> None:
    efforts, stepper, order = Efforts(start_ns=0), Stepper(start_ns=0), []
    for step in range(120):
        effort = efforts.update(SLOW.rendering, stepper.level.fps, step * S // 2)
        load = replace(SLOW, rendering=replace(SLOW.rendering, relieved=efforts.least))
        order.append((effort.look_share, effort.paint_every, stepper.update(load, step * S // 2).fps))
    assert list(dict.fromkeys(order)) == [
        *((1.0, 1, 30), (0.5, 1, 30), (0.25, 1, 30), (0.25, 2, 30)),
        *((0.25, 2, 20), (0.25, 2, 15)),
    ]
    assert efforts.words == (
        "This machine is busy: body and hands are looked for 25% as often, "
        "and only every second picture is painted anew."
    )


def test_efforts_come_back_where_the_machine_has_time_again() -> None:
    efforts = Efforts(start_ns=0)
    late = replace(QUICK, fps_out=20)
    for step in range(60):
        efforts.update(late, 30, step * S // 2)
    assert efforts.effort == EFFORTS[-1]
    taken = [efforts.update(QUICK, 30, step * S // 2) for step in range(60, 200)]
    assert list(dict.fromkeys(taken)) == list(reversed(EFFORTS))
    assert efforts.words is None


def test_no_less_is_done_for_a_receiver_that_wants_few_pictures() -> None:
    efforts = Efforts(start_ns=0)
    for step in range(60):
        assert efforts.update(replace(QUICK, fps_out=15), 15, step * S // 2) == USUAL


def test_a_camera_of_15_per_second_is_no_strain() -> None:
    script = Script()
    script.run(replace(EASY, rendering=replace(QUICK, fps_in=15, fps_out=15)), 60)
    assert script.moves == []


def test_a_still_camera_is_no_strain() -> None:
    script = Script()
    script.run(
        replace(EASY, rendering=replace(QUICK, fps_in=0, fps_out=0), sent_bps=10_000, link_bps=None), 60
    )
    assert script.moves == []


@given(
    loads=st.lists(st.sampled_from([EASY, NARROW, LOSSY, SLOW]), max_size=60),
    pause_s=st.floats(0.1, 5),
)
def test_never_two_steps_at_once_and_never_off_the_ladder(loads: list[Load], pause_s: float) -> None:
    stepper, now_ns, index = Stepper(start_ns=0), 0, 0
    for load in loads:
        after = LADDER.index(stepper.update(load, now_ns))
        assert abs(after - index) <= 1
        index = after
        now_ns += round(pause_s * S)


@given(
    fps_in=st.integers(5, 120),
    fps=st.sampled_from([15, 20, 30]),
    jitter=st.lists(st.integers(-200, 200), min_size=600, max_size=600),
)
def test_the_gate_keeps_the_rate(fps_in: int, fps: int, jitter: list[int]) -> None:
    """At most the wanted rate, and no less than the source gives up to it; jitter of 2 ms either way."""
    gate = RateGate(90_000)
    ticks = [index * 90_000 // fps_in + jitter[index] for index in range(600)]
    passed = sum(gate.passes(at, fps) for at in ticks)
    seconds = 600 / fps_in
    assert passed <= fps * seconds + 2
    if fps_in <= fps:
        assert passed == 600
    else:
        assert passed >= 0.6 * fps * seconds


def test_the_gate_survives_a_pause_and_another_clock() -> None:
    gate = RateGate(90_000)
    assert gate.passes(10_000_000, 30)
    assert not gate.passes(10_000_100, 30)
    assert gate.passes(20_000_000, 30)
    assert gate.passes(0, 30)  # a new presenter's clock
    assert gate.passes(3_000, 30)
