"""A record: the figures of an instrument, with the machine, day, commit and options to judge them by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import SettingsError

Record = Mapping[str, Any]


def read_record(path: Path) -> dict[str, Any]:
    """Raises SettingsError for a file that is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; wanted what an instrument wrote with --out") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: not a readable record ({error}): record it again") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: holds a JSON {type(found).__name__}; wanted an object: record it again")
    return found
