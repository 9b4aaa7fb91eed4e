"""The tables of a voice in a call: lips that it helps, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.records.table import Table

_DRIVER = "{%s[correlation]:.2f} ({%s[interval][0]:.2f} to {%s[interval][1]:.2f})"

VOICE_LIVE_TABLES: Mapping[str, Table] = {
    "lip_assist": Table(
        "lip_assist",
        {"the end of each film": "{name}"}
        | {name: _DRIVER % (name, name, name) for name in ("camera", "voice", "both")}
        | {"share of the voice in both": "{share:.0%}"},
        "lips",
    ),
    "voice_cost": Table(
        "voice_cost",
        {"what goes on": "{name}", "share of a core": "{share:.1%}"},
        lambda record: [{"name": name, "share": share} for name, share in record["core_share"].items()],
    ),
}
