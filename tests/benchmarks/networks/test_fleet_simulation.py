"""The simulated fleet: its small case is the real one's (tests/stream/test_fleet.py), its large adds up."""

from __future__ import annotations

from benchmarks.networks.fleet import main, simulated, small


def test_six_sessions_go_where_the_real_fleet_puts_them() -> None:
    args = main.options([])
    fleet = small(args)
    assert fleet.placed == [2, 2, 2]
    assert fleet.spread() == [3, 3]
    assert len(fleet.back_s) == fleet.lost == 2
    assert all(args.notice_s < one < args.notice_s + 1.1 for one in fleet.back_s)


def test_nobody_is_lost_on_the_way() -> None:
    args = main.options(["--quick"])
    found = simulated(300, 12, args)
    assert found["lost"] > 0
    assert found["refused"] == 0
    assert found["placed_within_1_s"] == 1.0
    assert found["imbalance"]["p50"] < 6
    full = simulated(300, 12, main.options(["--quick", "--fits", "20"]))
    assert full["full"] > 1
    assert full["refused"] > 0
