"""The tables of fleets: what many presenters' machines do, simulated, and six real ones beside."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.records.table import Table

FLEETS: Mapping[str, Table] = {
    "fleet": Table(
        "fleet",
        {
            "sessions": "{sessions:,}",
            "nodes (lost)": "{nodes:,} ({nodes_lost})",
            "full": "{full:.0%}",
            "offers": "{offers:,}",
            "placed in 1 s": "{placed_within_1_s:.1%}",
            "placed, p50 / p99 ms": "{placed_ms[p50]:.1f} / {placed_ms[p99]:.1f}",
            "lost their node": "{lost:,}",
            "back after, p50 / p99 s": "{back_s[p50]:.1f} / {back_s[p99]:.1f}",
            "refused": "{refused:,}",
            "fullest above the mean, p99": "{imbalance[p99]:.1f}",
            "head busy": "{head_busy:.1%}",
        },
        "fleets",
    ),
    "fleet_real": Table(
        "fleet",
        {"six presenters, three nodes": "{what}", "simulated": "{simulated}", "real": "{real}"},
        "beside",
        part="beside",
    ),
}
