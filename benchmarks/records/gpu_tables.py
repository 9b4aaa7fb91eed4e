"""The tables of the one graph of a picture."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.records.table import Table

GPU: Mapping[str, Table] = {
    "gpu_parity": Table(
        "gpu",
        {
            "presenter": "{name}",
            "graph": "{precision}",
            "pictures": "{pictures}",
            "dB of the pictures drawn in steps, least / mean": "{least_db:.1f} / {mean_db:.1f}",
        },
        "parity",
        part="parity",
    ),
    "gpu_cpu": Table(
        "gpu",
        {
            "left on the CPU, ms a picture, p50 / p95": "{size} px",
            "guidance": "{guidance[p50]:.2f} / {guidance[p95]:.2f}",
            "decisions": "{decide[p50]:.2f} / {decide[p95]:.2f}",
            "handing over": "{hand_over[p50]:.2f} / {hand_over[p95]:.2f}",
            "all": "{all[p50]:.2f} / {all[p95]:.2f}",
        },
        "cpu",
        part="cpu",
    ),
    "gpu": Table(
        "gpu",
        {
            "{config[device]}": "{runner}",
            "px": "{size}",
            "sessions at once": "{sessions}",
            "a round, p50 / p95 ms": "{round_ms[p50]:.2f} / {round_ms[p95]:.2f}",
            "sessions at 30 a second": "{sessions_at_30}",
            "times the floor": "{times_floor:.1f}",
        },
        "runners",
        part="runners",
    ),
    "gpu_beside": Table(
        "gpu",
        {"graph": "{name}", "GFLOP": "{gflop:,.0f}", "p50 / p95 ms": "{ms[p50]:,.0f} / {ms[p95]:,.0f}"},
        "beside",
        part="beside",
    ),
}
