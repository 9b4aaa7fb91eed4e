"""Training state on disk: replaced only when the new one is whole. Knows nothing of what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from engine.errors import SettingsError
from engine.files import write_file


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """state: tensors, numbers, text, and lists and dictionaries of them. Raises FileError."""
    buffer = BytesIO()  # torch's own writer ends in more than an OSError where the disk is full
    torch.save(dict(state), buffer)
    write_file(path, buffer.getvalue())


def load_state(path: Path, shape: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """What was saved, None where nothing was. Never unpickles objects.

    shape: what the network must agree in, part of the state; SettingsError when it does not.
    """
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if state["shape"] != dict(shape):
        raise SettingsError(
            f"{path}: a training of another network {state['shape']}; "
            f"wanted {dict(shape)}: remove it to start afresh"
        )
    return state
