"""The simulated fleet: its small case is the real one's (tests/stream/test_fleet.py), its large adds up."""

from __future__ import annotations

from benchmarks.networks.fleet import Fleet, main, measure


def test_six_sessions_go_where_the_real_fleet_puts_them() -> None:
    args = main.options(["--sessions", "6", "--nodes", "3", "--fits", "8"])
    fleet = Fleet(args)
    for session in range(6):
        fleet.at(0.1 * session, "offer", (session, 0.1 * session, None))
    fleet.run(1.0)
    assert fleet.spread() == [2, 2, 2]
    fleet.at(1.0, "lose", "1")
    fleet.run(1.0)
    assert fleet.spread() == [2, 2]
    fleet.run(1.0 + args.notice_s + 1.1)
    assert fleet.spread() == [3, 3]
    assert len(fleet.back_s) == fleet.lost == 2
    assert all(args.notice_s < one < args.notice_s + 1.1 for one in fleet.back_s)


def test_nobody_is_lost_on_the_way() -> None:
    found = measure(main.options(["--quick"]))
    assert found["lost"] > 0
    assert found["refused"] == 0
    assert found["placed_within_1_s"] == 1.0
    assert found["imbalance"]["p50"] < 6
    full = measure(main.options(["--quick", "--fits", "20"]))
    assert full["fleet_is_full"] > 1
    assert full["refused"] > 0
