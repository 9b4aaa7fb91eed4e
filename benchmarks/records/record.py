"""Runs an avatarcast command and records its JSON, machine and commit under benchmarks/results/.

    python -m benchmarks.records.record NAME evaluate bundled --driver clip.mp4

Adds --json by itself. Paths are recorded as file names only: where a clip lay is nobody's business.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.records.machine import commit, describe_machine
from benchmarks.records.options import instrument_parser

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Exit status of the command; nothing is written unless it succeeded."""
    parser = instrument_parser(__doc__, "record")
    parser.add_argument("name", help="results/NAME.json is written")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="an avatarcast command with its options")
    args = parser.parse_args()
    begun = perf_counter()
    try:
        result = result_of(args.command)
    except subprocess.CalledProcessError as failed:
        return failed.returncode
    record = {
        "command": ["avatarcast", *map(file_name, args.command)],
        "seconds": round(perf_counter() - begun, 1),
        "commit": commit(),
        "machine": describe_machine(),
        "result": _without_folders(result),
    }
    path = RESULTS / f"{args.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)
    return 0


def result_of(command: Sequence[str]) -> dict[str, Any]:
    """What an avatarcast command gives with --json. Raises CalledProcessError when it fails."""
    finished = subprocess.run(
        [sys.executable, "-m", "engine.cli", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def file_name(word: str) -> str:
    """A path less its folders; another word as it is."""
    return Path(word).name if "/" in word else word


def _without_folders(result: dict[str, object]) -> dict[str, object]:
    return {
        key: Path(value).name if isinstance(value, str) and "/" in value and " " not in value else value
        for key, value in result.items()
    }


if __name__ == "__main__":
    sys.exit(main())
