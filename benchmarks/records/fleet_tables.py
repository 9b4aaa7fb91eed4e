"""The tables of fleets: what many presenters' machines do, simulated, and six real ones beside."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.records.record import Record
from benchmarks.records.table import NONE, Table


def _share(row: Record, process: str) -> str:
    """Of a core; only where the process is."""
    return f"{row['cores'][process]:.2f}" if process in row["cores"] else NONE


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
            "head busy with offers": "{head_offers:.1%}",
            "with questions": "{head_questions:.1%}",
            "a node is asked every, s": "{asked_every_s:.1f}",
        },
        "fleets",
    ),
    "fleet_real": Table(
        "fleet",
        {"six presenters, three nodes": "{what}", "simulated": "{simulated}", "real": "{real}"},
        "beside",
        part="beside",
    ),
    "audience": Table(
        "audience",
        {
            "shares of a core": "{way}",
            "viewers": "{viewers}",
            "the server": "{cores[server]:.2f}",
            "forwarding": lambda row: _share(row, "forwarder"),
            "Janus": lambda row: _share(row, "janus"),
            "packets a second, fewest": "{packets_per_s:.0f}",
        },
        "rows",
    ),
}
