"""Switches off what the libraries below report to their makers, before any of them is imported.

ONNX Runtime's official wheels send usage events and keep a device id from 1.29 on
(https://github.com/microsoft/onnxruntime/pull/27379): the variable counts only before the library starts, on
Windows its call counts too. Child processes inherit all of it. Knows no library but by its variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.user_folders import home, user_cache

VARIABLES: Mapping[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, below diffusers
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",  # whoever honours https://consoledonottrack.com
}
# What ONNX Runtime leaves where it runs without the variable: a device id, and events to be sent.
_QUEUE = Path("Microsoft", "DeveloperTools", ".onnxruntime")
_QUEUED = ("deviceid", "deviceid.lock", "onnxruntime.db", "onnxruntime.db-wal", "onnxruntime.db-shm")


def switch_off() -> None:
    """Sets the variables, whatever they were, and removes events that wait to be sent. Never raises."""
    os.environ.update(VARIABLES)
    try:
        _remove_queue(_user_data() / _QUEUE)
    except OSError:  # a home that cannot be written: nothing can wait there
        return


def _user_data() -> Path:
    if sys.platform == "darwin":
        return home() / "Library" / "Application Support"
    return user_cache()


def _remove_queue(folder: Path) -> None:
    if not folder.is_dir():
        return
    for name in _QUEUED:
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
