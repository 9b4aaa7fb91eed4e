"""The end of every measurement: its figures with machine, commit and config, as the last line of stdout.

Knows nothing of what was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.records.machine import commit
from engine.errors import SettingsError


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option that every instrument has."""
    parser.add_argument("--out", type=Path, help="also write the JSON here")


def check_writable(option: str, path: Path | None, suffix: str) -> None:
    """Before minutes are spent. Raises SettingsError unless it is a NAME.suffix in a folder that is there."""
    if path is not None and (path.suffix != suffix or not path.parent.is_dir()):
        raise SettingsError(f"{option} {path}: wanted NAME{suffix} in a folder that is there")


def record(
    benchmark: str, figures: Mapping[str, Any], config: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures at the top level, and what they need to be judged. machine: as described before the start."""
    return {
        "benchmark": benchmark,
        **figures,
        "machine": dict(machine),
        "commit": commit(),
        "config": dict(config),
    }


def finish(written: Mapping[str, Any], text: str, out: Path | None) -> None:
    """Prints the text for people, then the record as one line of JSON; writes it to `out` too."""
    if out is not None:
        out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(text)
    print(json.dumps(written), flush=True)
