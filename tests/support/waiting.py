"""Waiting for something to come about, in tests of what runs beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

WAIT_S = 20.0  # a busy machine needs some


async def until(what: Callable[[], Any], limit_s: float = WAIT_S) -> None:
    """Returns once `what` is true; AssertionError where it is not within the limit."""
    for _ in range(int(limit_s / 0.02)):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")
