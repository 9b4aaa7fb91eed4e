"""Training state on disk: replaced only when the new one is whole.

The file is the SHA-256 of what follows, then what torch writes: torch itself does not notice changed bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from engine.errors import SettingsError
from engine.files import in_one_line, set_aside, write_file
from export.progress import note

_DIGEST_BYTES = 32


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """state: tensors, numbers, text, and lists and dictionaries of them. Raises FileError."""
    buffer = BytesIO()  # torch's own writer ends in more than an OSError where the disk is full
    torch.save(dict(state), buffer)
    data = buffer.getvalue()
    write_file(path, hashlib.sha256(data).digest() + data)


def load_state(
    path: Path, shape: Mapping[str, Any], device: torch.device, warn: Callable[[str], None] = note
) -> dict[str, Any] | None:
    """What was saved, None where nothing was. A damaged file is set aside, with a word to `warn`, and counts
    as none.

    Never unpickles objects. shape: what the network must agree in, part of the state; SettingsError when it
    does not.
    """
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        with in_one_line(path):
            aside = set_aside(path)
        warn(f"{path} is damaged: training begins anew, and the file is now {aside.name}")
        return None
    state: dict[str, Any] = torch.load(BytesIO(data), map_location=device, weights_only=True)
    if state["shape"] != dict(shape):
        raise SettingsError(
            f"{path}: a training of another network {state['shape']}; "
            f"wanted {dict(shape)}: remove it to start afresh"
        )
    return state
