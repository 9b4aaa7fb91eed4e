"""Waiting for something to come about, in tests of what runs beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

WAIT_S = 30.0  # longest wait for anything; a second or two on an idle machine


async def until(what: Callable[[], Any], limit_s: float = WAIT_S) -> None:
    """Poll until `what()` is true; AssertionError with its last value where it is not within the limit."""
    end = perf_counter() + limit_s
    while not (value := what()):
        assert perf_counter() < end, f"still {value!r} after {limit_s} s"
        await asyncio.sleep(0.02)
